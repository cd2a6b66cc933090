//! Common and combined.

use access_log::{Format, TimeFields, Unit};

use super::{MS, SECOND, error, fields, only, read_with};

const COMMON: &str =
    r#"192.0.2.7 - ada [17/May/2024:12:05:03 +0200] "GET /a?b=1 HTTP/1.1" 200 512"#;

const WANTED: [&str; 5] = ["method", "path", "remote_address", "user", "user_agent"];

fn combined(request: &str, rest: &str) -> String {
    format!(r#"2001:db8::7 - - [17/May/2024:10:05:03 +0000] "{request}" 200 - {rest}"#)
}

#[test]
fn common_has_whole_seconds_and_an_offset() {
    let told = only(Format::Combined, &WANTED, &[COMMON]);
    assert_eq!((told.start, told.is_whole_second, told.duration), (SECOND, true, None));
    assert_eq!(told.values(), ["GET", "/a?b=1", "192.0.2.7", "ada", "-"]);
}

#[test]
fn combined_has_texts_with_escapes() {
    let line = combined(r"GET /\x22a\x22 HTTP/1.1", r#""-" "say \"hi\" \\ \xc3\xa9""#);
    let told = only(Format::Combined, &["path", "referer", "user_agent", "bytes_sent"], &[&line]);
    assert_eq!(told.values(), ["/\"a\"", "-", "say \"hi\" \\ é", "-"]);
}

#[test]
fn nginx_of_packages_has_forwarded_for_behind() {
    let line = combined("GET / HTTP/1.1", r#""-" "curl/8" "198.51.100.7, 192.0.2.1""#);
    let told = only(Format::Combined, &["x_forwarded_for", "remote_address"], &[&line]);
    assert_eq!(told.values(), ["198.51.100.7, 192.0.2.1", "2001:db8::7"]);
}

#[test]
fn further_columns_keep_their_numbers() {
    let wanted = ["x_forwarded_for", "column_11"];
    let times = TimeFields {
        duration: Some(("column_11".to_owned(), Unit::Seconds)),
        ..TimeFields::default()
    };
    let with_address = combined("GET / HTTP/1.1", r#""-" "curl/8" "192.0.2.1" 0.250"#);
    let without = combined("GET / HTTP/1.1", r#""-" "curl/8" 0.250"#);
    let neither = combined("GET / HTTP/1.1", "0.250");
    let told = read_with(Format::Combined, &times, &wanted, &[&with_address, &without, &neither]);
    let values: Vec<_> = told.iter().map(super::Told::values).collect();
    assert_eq!(values, [["192.0.2.1", "0.250"], ["-", "0.250"], ["-", "0.250"]]);
    // The time is that of the end.
    for told in told {
        assert_eq!((told.start, told.duration), (SECOND - 250 * MS, Some(250 * MS)));
        assert!(told.is_whole_second);
    }
}

#[test]
fn a_user_may_have_spaces() {
    let line = COMMON.replace("ada", "ada king");
    assert_eq!(only(Format::Combined, &["user"], &[&line]).values(), ["ada king"]);
}

#[test]
fn requests_that_are_none_have_no_path() {
    for request in ["-", r"\x16\x03\x01\x00", ""] {
        let told = only(Format::Combined, &["method", "path"], &[&combined(request, "")]);
        assert_eq!(told.values(), ["-", "-"]);
    }
    let told =
        only(Format::Combined, &["path"], &[&combined("GET http://a.example/b HTTP/1.1", "")]);
    assert_eq!(told.values(), ["/b"]);
}

#[test]
fn a_line_in_stray_quotes_is_read() {
    let line = format!("\"{}\"", combined("GET /a HTTP/1.1", r#""-" "curl/8""#));
    let told = only(Format::Combined, &["remote_address", "path", "user_agent"], &[&line]);
    assert_eq!(told.values(), ["2001:db8::7", "/a", "curl/8"]);
}

#[test]
fn a_virtual_host_in_front_is_left_out() {
    let line = format!("shop.example:443 {COMMON}");
    let told = only(Format::Combined, &["remote_address", "user", "path"], &[&line]);
    assert_eq!(told.values(), ["192.0.2.7", "ada", "/a?b=1"]);
}

#[test]
fn bytes_that_are_not_utf8_stay() {
    let mut line = combined("GET /a HTTP/1.1", "").into_bytes();
    let at = line.windows(2).position(|bytes| bytes == b"/a").unwrap();
    line.splice(at..at + 2, *b"/\xe9\xff");
    let wanted = ["path".to_owned()];
    let mut reader =
        access_log::Reader::new(Format::Combined, &wanted, &TimeFields::default()).unwrap();
    let mut values = vec![];
    reader.read(&line, &mut |record| values.extend(record.values[0].map(<[u8]>::to_vec))).unwrap();
    assert_eq!(values, [b"/\xe9\xff"]);
}

#[test]
fn fields_of_a_common_line() {
    let expected = [
        "remote_addr=192.0.2.7",
        "remote_ident=-",
        "remote_user=ada",
        "time_local=17/May/2024:12:05:03 +0200",
        "request=GET /a?b=1 HTTP/1.1",
        "status=200",
        "body_bytes_sent=512",
    ];
    let fields = fields(Format::Combined, &[COMMON]);
    assert_eq!(fields.get(..7).unwrap(), expected);
    assert!(fields.contains(&"user=ada".to_owned()), "{fields:?}");
}

#[test]
fn a_cut_line_tells_where() {
    let text =
        error(Format::Combined, &[r#"192.0.2.7 - - [17/May/2024:10:05:03 +0000] "GET / HT"#]);
    assert_eq!(text, "byte 44: expected a text in quotes (request) of combined logs");
    let text = error(Format::Combined, &["192.0.2.7 - -"]);
    assert_eq!(
        text,
        "byte 13: expected a name, with a time in brackets behind it (remote_user) of combined logs"
    );
}
