//! Entries, descriptors, hits, lines to skip and times.

use super::{Line, mapping, of, query, told};
use crate::mapping::{At, DurationUnit, LineError, Mapped, Requests, Times};

#[test]
fn entries_keep_the_order_of_the_file_and_each_field_is_wanted_once() {
    let text = "{ descriptor: { b: $x, a: $y, c: { from: [$y, $z] } }, hits: $n, skip: { $x: '1', $w: '2' } }";
    assert_eq!(mapping(text).fields(), ["x", "y", "z", "n", "w"]);
    let line: Line<'_> = &[("x", b"X"), ("y", b"Y"), ("z", b"Z"), ("n", b"3")];
    assert_eq!(of(text, line), "b=X a=Y c=Y *3");
}

#[test]
fn a_line_without_a_value_has_no_such_entry_or_if_that_is_required_no_descriptor() {
    let text =
        "descriptor: { a: $x, b: { from: $y, required: true }, c: { from: $z, default: '' } }";
    assert_eq!(of(text, &[("x", b"1"), ("y", b"2"), ("z", b"3")]), "a=1 b=2 c=3");
    assert_eq!(of(text, &[("y", b"2")]), "b=2 c=");
    assert_eq!(of(text, &[("x", b"1"), ("z", b"3")]), "none");
    assert_eq!(of("descriptor: { a: $x, b: $y }", &[]), "none");
}

#[test]
fn hits_are_a_whole_number_and_everything_else_is_an_error_of_the_line() {
    let by = |hits: &str, field: Option<&[u8]>| {
        let mapping = mapping(&format!("{{ descriptor: {{ a: b }}, hits: {hits} }}"));
        let line: Vec<_> = field.map(|value| ("n", value)).into_iter().collect();
        query(&mapping, &line, &mut mapping.scratch()).map_err(|error| error.to_string())
    };
    let good = |hits, field: &[u8]| by(hits, Some(field)).unwrap();
    assert_eq!(by("5", None).unwrap(), "a=b *5");
    assert_eq!(good("$n", b"0"), "a=b *0");
    assert_eq!(good("$n", b"007"), "a=b *7");
    assert_eq!(good("$n", b"18446744073709551615"), format!("a=b *{}", i64::MAX));
    let per_kib = "{ from: $n, divide: 1024 }";
    for (bytes, hits) in
        [(&b"0"[..], "a=b *0"), (b"1", "a=b"), (b"1024", "a=b"), (b"1025", "a=b *2")]
    {
        assert_eq!(good(per_kib, bytes), hits);
    }
    assert_eq!(by("{ from: $n, default: 3 }", None).unwrap(), "a=b *3");
    assert_eq!(
        by("$n", None).unwrap_err(),
        "the line has no `n`, which has the hits; give `hits` a `default`"
    );
    for (bad, shown) in [
        (&b""[..], ""),
        (b"-", "-"),
        (b"-1", "-1"),
        (b"+1", "+1"),
        (b" 1", " 1"),
        (b"1.0", "1.0"),
        (b"1e3", "1e3"),
        (b"18446744073709551616", "18446744073709551616"),
        (b"1\xff\x1b", "1\\xff\\u{1b}"),
    ] {
        let expected =
            format!("`{shown}` in `n` is no number of hits; map a field with whole numbers");
        assert_eq!(by("{ from: $n, default: 3 }", Some(bad)).unwrap_err(), expected);
    }
}

#[test]
fn hits_that_are_wrong_are_told_with_the_field_that_has_them() {
    let mapping = mapping("{ descriptor: { a: b }, hits: { from: [$n, $m] } }");
    let told = |line: Line<'_>| query(&mapping, line, &mut mapping.scratch());
    assert_eq!(told(&[("m", b"2")]).unwrap(), "a=b *2");
    let wrong = LineError::Hits { field: "m".to_owned(), value: "x".into() };
    assert_eq!(told(&[("m", b"x")]), Err(wrong));
    assert_eq!(told(&[]), Err(LineError::NoHits { field: "n".to_owned() }));
}

#[test]
fn each_descriptor_has_its_own_hits_or_those_of_all() {
    let text = "
hits: $n
descriptors:
- entries: { unit: requests, user: $u }
  hits: 1
- entries: { unit: tokens, user: { from: $u, required: true } }
  hits: $tokens
- entries: { unit: bytes }
";
    let line: Line<'_> = &[("u", b"ann"), ("tokens", b"70"), ("n", b"9")];
    assert_eq!(of(text, line), "unit=requests user=ann | unit=tokens user=ann *70 | unit=bytes *9");
    // What is left out needs no hits.
    assert_eq!(of(text, &[("n", b"9")]), "unit=requests | unit=bytes *9");
    let mapping = mapping(text);
    let error = query(&mapping, &[("u", b"ann"), ("n", b"9")], &mut mapping.scratch());
    assert_eq!(error, Err(LineError::NoHits { field: "tokens".to_owned() }));
}

#[test]
fn requests_of_several_lines_keep_apart_and_other_lines_leave_nothing() {
    let text = "
descriptors:
- entries: { user: $u, path: { from: $p, required: true } }
- entries: { method: $m }
  hits: $n
skip: { method: OPTIONS }
";
    let mapping = mapping(text);
    let (mut scratch, mut requests) = (mapping.scratch(), Requests::default());
    let mut read = |line: [Option<&[u8]>; 4]| mapping.read(&line, &mut scratch, &mut requests);
    assert_eq!(mapping.fields(), ["u", "p", "m", "n"]);
    let is_added = Ok(Mapped::Request);
    assert_eq!(read([Some(b"ann"), Some(b"/a"), Some(b"GET"), Some(b"7")]), is_added);
    assert_eq!(read([Some(b"eve"), Some(b"/b"), Some(b"OPTIONS"), None]), Ok(Mapped::Skipped));
    assert_eq!(read([Some(b"eve"), None, None, None]), Ok(Mapped::NoDescriptor));
    assert!(read([Some(b"eve"), Some(b"/c"), Some(b"GET"), Some(b"x")]).is_err());
    assert_eq!(read([Some(b"bob"), Some(b""), None, None]), is_added);
    assert_eq!(read([Some(b"bob"), None, Some(b"PUT"), Some(b"1")]), is_added);
    assert_eq!(requests.last_value(&mapping, "method"), Some(&b"PUT"[..]));
    assert_eq!(requests.last_value(&mapping, "user"), None);
    let all = [0, 1, 2].map(|number| told(&mapping, &requests, number));
    assert_eq!(all, ["user=ann path=/a | method=GET *7", "user=bob path=", "method=PUT"]);
    requests.clear();
    assert_eq!(requests.last_value(&mapping, "method"), None);
}

#[test]
fn an_entry_with_a_number_is_a_later_one_with_the_same_key() {
    let text = "descriptor: { generic_key: a, 'generic_key[1]': $x, 'generic_key[2]': c }";
    assert_eq!(of(text, &[("x", b"b")]), "generic_key=a generic_key=b generic_key=c");
}

#[test]
fn a_line_is_skipped_if_all_conditions_of_one_set_hold() {
    let text = "
descriptor: { path: $path, method: $method, remote_address: $ip }
skip:
- { path: /healthz* }
- { method: [OPTIONS, HEAD], $status: { not: '429' } }
- { remote_address: { cidr: [10.0.0.0/8] } }
- { $user_agent: { absent: true } }
";
    let line = |path: &str, method: &str, ip: &str, status: &str| {
        let [path, method, ip, status] = [path, method, ip, status].map(str::as_bytes);
        let agent: (&str, &[u8]) = ("user_agent", b"curl");
        of(text, &[("path", path), ("method", method), ("ip", ip), ("status", status), agent])
    };
    let kept =
        |path: &str, method: &str| format!("path={path} method={method} remote_address=192.0.2.1");
    assert_eq!(line("/a", "GET", "192.0.2.1", "200"), kept("/a", "GET"));
    assert_eq!(line("/healthz/live", "GET", "192.0.2.1", "200"), "skipped");
    assert_eq!(line("/a", "HEAD", "192.0.2.1", "200"), "skipped");
    assert_eq!(line("/a", "HEAD", "192.0.2.1", "429"), kept("/a", "HEAD"));
    assert_eq!(line("/a", "GET", "10.1.2.3:443", "200"), "skipped");
    assert_eq!(of(text, &[("path", b"/a")]), "skipped", "no user agent");
}

#[test]
fn a_line_that_is_skipped_needs_neither_hits_nor_a_descriptor() {
    let text = "
descriptors:
- entries: { a: b }
  hits: $n
- entries: { c: { from: $x, required: true }, d: $y }
skip: { d: '1' }
";
    assert_eq!(of(text, &[("y", b"1")]), "skipped");
    assert_eq!(of(text, &[("n", b"2"), ("y", b"2")]), "a=b *2");
}

#[test]
fn times_are_told_as_the_file_has_them() {
    let times = |text: &str| mapping(&format!("descriptor: {{ a: b }}\n{text}")).times().clone();
    assert_eq!(times(""), Times::default());
    let all = times("time: { from: $ts, at: end }\nduration: { from: $took, unit: us }");
    assert_eq!((all.time.as_deref(), all.at), (Some("ts"), Some(At::End)));
    assert_eq!(all.duration, Some(("took".to_owned(), DurationUnit::Microseconds)));
    assert_eq!(times("time: $ts").time.as_deref(), Some("ts"));
    assert_eq!(times("time: { at: start }").at, Some(At::Start));
}
