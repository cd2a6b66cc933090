//! JSON, whatever its fields.

use access_log::{Format, Reader, TimeFields, Unit};

use super::{MS, SECOND, error, fields, only, read, read_with, strings};

#[test]
fn names_of_nested_objects_are_joined() {
    let line =
        r#"{"time":1715940303,"a":{"b":{"c":"x"},"b.d":"y","e":[1,{"f":2}]},"a.g":true,"h":{}}"#;
    let wanted = ["a.b.c", "a.b.d", "a.e", "a.g", "a", "a.b", "h"];
    let told = only(Format::Json, &wanted, &[line]);
    assert_eq!(told.values(), ["x", "y", r#"[1,{"f":2}]"#, "true", "-", "-", "-"]);
}

#[test]
fn null_dash_and_empty_are_no_value() {
    let line = r#"{"time":1715940303,"method":null,"request_method":"-","request":"GET /a HTTP/1.1","path":""}"#;
    assert_eq!(only(Format::Json, &["method", "path"], &[line]).values(), ["GET", "/a"]);
}

#[test]
fn the_order_of_fields_does_not_matter() {
    // Each line has another order, others fields, or the same ones again.
    let lines = [
        r#"{"time":1715940303,"method":"A","path":"/1","x":{"y":1}}"#,
        r#"{"path":"/2","method":"B","time":1715940303}"#,
        r#"{"x":{"y":3,"z":0},"new":1,"time":1715940303,"path":"/3","method":"C"}"#,
        r#"{"time":1715940303,"method":"A","path":"/1","x":{"y":1}}"#,
        r#" { "time" : 1715940303 , "x" : { "y" : 4 } , "method" : "D" } "#,
    ];
    let told = read(Format::Json, &["method", "path", "x.y"], &lines);
    let values: Vec<_> = told.iter().map(super::Told::values).collect();
    assert_eq!(
        values,
        [["A", "/1", "1"], ["B", "/2", "-"], ["C", "/3", "3"], ["A", "/1", "1"], ["D", "-", "4"]]
    );
}

#[test]
fn a_key_means_what_its_object_says() {
    // `b` stands behind `a` in both lines, but not in the same object.
    let lines = [
        r#"{"time":1715940303,"x":{"a":1,"b":2},"b":3}"#,
        r#"{"time":1715940303,"x":{"a":1},"b":3}"#,
        r#"{"time":1715940303,"x":{"b":2},"y":{"b":5},"b":3}"#,
    ];
    let told = read(Format::Json, &["x.b", "b"], &lines);
    let values: Vec<_> = told.iter().map(super::Told::values).collect();
    assert_eq!(values, [["2", "3"], ["-", "3"], ["2", "3"]]);
}

#[test]
fn escapes_are_undone_in_values_and_keys() {
    let line = r#"{"time":"17\/May\/2024:10:05:03 +0000","p\u0061th":"\/\u00e9\ud83d\ude00\"","request":"GET \u002Fa HTTP/1.1"}"#;
    let told = only(Format::Json, &["path", "method"], &[line]);
    assert_eq!(told.values(), ["/é😀\"", "GET"]);
    assert_eq!(told.start, SECOND);
}

#[test]
fn nginx_without_escape_json_is_read() {
    let line = br#"{"time":1715940303,"agent":"say \x22hi\x22 Zo\xEB","raw":"Zo"#;
    let line = [&line[..], b"\xeb\"}"].concat();
    let wanted = strings(&["agent", "raw"]);
    let mut reader = Reader::new(Format::Json, &wanted, &TimeFields::default()).unwrap();
    let mut values = vec![];
    let mut note = |record: access_log::Record<'_>| {
        values.extend(record.values.iter().map(|value| value.unwrap().to_vec()));
    };
    reader.read(&line, &mut note).unwrap();
    assert_eq!(values, [b"say \"hi\" Zo\xeb".to_vec(), b"Zo\xeb".to_vec()]);
}

#[test]
fn times_are_found_by_their_names() {
    let start = |line: &str| only(Format::Json, &[], &[line]).start;
    // Of several, the better one counts, wherever it stands.
    assert_eq!(
        start(r#"{"time":"2001-01-01T00:00:00Z","start_time":"2024-05-17T10:05:03Z"}"#),
        SECOND
    );
    assert_eq!(
        start(r#"{"start_time":"2024-05-17T10:05:03Z","time":"2001-01-01T00:00:00Z"}"#),
        SECOND
    );
    // A name that says neither is the start beside Envoy's duration, and the end beside NGINX's.
    let envoy = r#"{"timestamp":"2024-05-17T10:05:03Z","duration":250}"#;
    let nginx = r#"{"timestamp":"2024-05-17T10:05:03Z","request_time":"0.250"}"#;
    assert_eq!((start(envoy), start(nginx)), (SECOND, SECOND - 250 * MS));
}

#[test]
fn the_fields_of_times_may_be_named() {
    let line = r#"{"t":{"end":1715940303000,"took":250000},"time":"no time"}"#;
    let times = TimeFields {
        time: Some("t.end".to_owned()),
        is_end: Some(true),
        duration: Some(("t.took".to_owned(), Unit::Microseconds)),
    };
    let told = read_with(Format::Json, &times, &[], &[line]);
    assert_eq!((told[0].start, told[0].duration), (SECOND - 250 * MS, Some(250 * MS)));
    assert!(!told[0].is_whole_second);
}

#[test]
fn a_broken_line_tells_where() {
    let text = |line: &str| error(Format::Json, &[line]);
    for (line, expected) in [
        ("", ""),
        ("GET / HTTP/1.1", "byte 1: expected `{`"),
        (r#"{"time":1715940303"#, "byte 19: expected `,` or `}`"),
        (r#"{"time":1715940303,}"#, "byte 20: expected a name in quotes"),
        (r#"{"time":1715940303} x"#, "byte 21: expected the end of the line"),
        (r#"{"time" 1715940303}"#, "byte 9: expected `:`"),
        (r#"{"time":"1715940303}"#, "byte 21: expected a quote that ends the string"),
        (r#"{"time":nul}"#, "byte 9: expected a value"),
        (r#"{"time":-}"#, "byte 10: expected a digit"),
        (r#"{"time":1,"a":[1}}"#, "byte 17: expected `,` or `]`"),
        (r#"{"time":1,"a":{"b":[]]}"#, "byte 22: expected `,` or `}`"),
        (r#"{"time":1,"a":[1,]}"#, "byte 18: expected a value"),
        (r#"{"time":1,"a":[{},{"b"}]}"#, "byte 23: expected `:`"),
        (r#"{"time":1,"a":[1"#, "byte 17: expected `,` or `]`"),
    ] {
        if !line.is_empty() {
            assert_eq!(text(line), expected, "{line}");
        }
    }
    assert!(
        text(r#"{"a":1}"#)
            .starts_with("byte 1: expected a field with the time, one of: start_time,")
    );
    assert!(text(r#"{"time":"noon"}"#).starts_with("byte 1: expected a time in `time`, such as "));
}

#[test]
fn deep_brackets_are_refused_without_recursion() {
    let nested = |open: &str, close: &str, depth: usize| {
        format!(r#"{{"time":1,"a":{}{}}}"#, open.repeat(depth), close.repeat(depth))
    };
    let mut reader =
        Reader::new(Format::Json, &strings(&["a.a.a"]), &TimeFields::default()).unwrap();
    let mut is_read = |line: &str| reader.read(line.as_bytes(), &mut |_| {}).is_ok();
    assert!(is_read(&nested("[", "]", 126)));
    assert!(!is_read(&nested("[", "]", 127)));
    assert!(!is_read(&nested("[", "]", 1 << 20)));
    assert!(!is_read(&nested(r#"{"a":"#, "}", 1 << 18)));
    assert!(is_read(&nested(r#"{"a":"#, "}", 125).replace(":}", ":1}")));
}

#[test]
fn fields_have_their_whole_names() {
    let line =
        r#"{"time":1715940303,"a":{"b":"x","c":{"d":[1,2]}},"request":"GET /a HTTP/1.1","n":null}"#;
    let expected = [
        "time=1715940303",
        "a.b=x",
        "a.c.d=1, 2",
        "request=GET /a HTTP/1.1",
        "method=GET",
        "path=/a",
        "protocol=HTTP/1.1",
    ];
    assert_eq!(fields(Format::Json, &[line]), expected);
}
