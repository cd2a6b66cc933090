//! Lines with what container runtimes, `kubectl` and syslog write around them.

use access_log::{Format, detect};

use super::{MS, SECOND, error, fields, only};

const COMMON: &str =
    r#"192.0.2.7 - ada [17/May/2024:10:05:03 +0000] "GET /a?b=1 HTTP/1.1" 200 512"#;
const ENVOY: &str = r#"[2024-05-17T10:05:03.250Z] "GET /a?b=1 HTTP/2" 200 - 0 5 3 - "192.0.2.7" "curl/8" "id" "a.example" "10.0.0.8:80""#;
const JSON: &str = r#"{"start_time":"2024-05-17T10:05:03.250Z","method":"GET","path":"/a?b=1","remote_address":"192.0.2.7"}"#;

/// What stands in front of a line.
const PREFIXES: [&str; 21] = [
    // Files of container runtimes.
    "2024-05-17T10:05:03.250123456Z stdout F ",
    "2024-05-17T12:05:03.250123456+02:00 stderr F ",
    "2024-05-17T10:05:03Z stdout P ",
    // kubectl logs --timestamps, and docker logs --timestamps.
    "2024-05-17T10:05:03.250123456Z ",
    // kubectl logs --prefix.
    "[pod/shop-7d9d2b4e-x2x4z/istio-proxy] ",
    // RFC 3164, over the wire and in files.
    "<190>May 17 10:05:03 web-1 nginx: ",
    "<13>May  7 10:05:03 web-1.example caddy[4711]: ",
    "<190>May 17 10:05:03 nginx: ",
    "May 17 10:05:03 2001:db8::7 nginx[1]: ",
    "Dec  1 00:00:00 web_1 docker/shop-7d9d[812]: ",
    // RFC 3339 in files of rsyslog, and of journalctl.
    "2024-05-17T10:05:03.250123+00:00 web-1 nginx: ",
    "2024-05-17T10:05:03+0000 web-1 nginx[7]: ",
    "<14>2024-05-17T10:05:03Z db1 envoy@edge: ",
    // RFC 5424.
    "<165>1 2024-05-17T10:05:03.250Z web-1 nginx - - - ",
    "<165>1 2024-05-17T10:05:03.250Z web-1 nginx 4711 access - ",
    "<0>1 - - - - - - ",
    "<165>1 2024-05-17T10:05:03.250Z web-1 nginx 1 ID47 [a@32473 b=\"c\"] ",
    "<165>1 2024-05-17T10:05:03.250Z web-1 nginx 1 ID47 [a b=\"] \\\" \\] \\\\\" c=\"\"][d] ",
    "<165>1 2024-05-17T10:05:03.250Z web-1 nginx 1 - [a] \u{feff}",
    "May 17 10:05:03 ERROR: ",
    "2024-05-17T10:05:03Z a b: ",
];

const WANTED: [&str; 3] = ["method", "path", "remote_address"];

#[test]
fn a_line_is_read_behind_each_prefix() {
    for prefix in PREFIXES {
        for (format, line) in
            [(Format::Combined, COMMON), (Format::Envoy, ENVOY), (Format::Json, JSON)]
        {
            let line = format!("{prefix}{line}\r");
            let told = only(format, &WANTED, &[&line]);
            assert_eq!(told.values(), ["GET", "/a?b=1", "192.0.2.7"], "{line}");
            let fraction = if format == Format::Combined { 0 } else { 250 * MS };
            assert_eq!(told.start, SECOND + fraction, "the time is that of the line: {line}");
            assert_eq!(detect(&[line.as_bytes()]), Ok(format), "{line}");
            assert!(fields(format, &[&line]).contains(&"path=/a?b=1".to_owned()), "{line}");
        }
    }
}

#[test]
fn a_line_is_read_within_dockers_json() {
    for (format, line) in [(Format::Combined, COMMON), (Format::Envoy, ENVOY), (Format::Json, JSON)]
    {
        let text = line.replace('"', "\\\"").replace('/', "\\u002f");
        for behind in [
            r#"\n","stream":"stdout","time":"2024-05-17T10:05:04.1Z"}"#,
            r#"\r\n","stream":"stderr","time":"2024-05-17T10:05:04.1Z"}"#,
            r#"\n","attrs":{"tag":"shop"},"stream":"stdout","time":"2024-05-17T10:05:04.1Z"}"#,
        ] {
            let line = format!("{{\"log\":\"{text}{behind}");
            let told = only(format, &WANTED, &[&line]);
            assert_eq!(told.values(), ["GET", "/a?b=1", "192.0.2.7"], "{line}");
            assert_eq!(detect(&[line.as_bytes()]), Ok(format), "{line}");
            assert!(fields(format, &[&line]).contains(&"path=/a?b=1".to_owned()), "{line}");
        }
    }
}

#[test]
fn csv_has_its_header_there() {
    let prefix = "2024-05-17T10:05:03.250123456Z stdout F ";
    let lines = ["time,path", "1715940303,/a"].map(|line| format!("{prefix}{line}"));
    let lines = [&*lines[0], &*lines[1]];
    assert_eq!(only(Format::Csv, &["path"], &lines).values(), ["/a"]);
}

#[test]
fn tollgates_own_lines_keep_their_time() {
    let denied = r#"INFO denied domain="d" table="t" row="r" values="k=v" wait="90ms" left_out=0"#;
    for line in [
        format!("2024-05-17T10:05:03.250Z  {denied}"),
        format!("2024-05-17T10:05:03.300Z stdout F 2024-05-17T10:05:03.250Z  {denied}"),
        format!("May 17 10:05:03 web-1 tollgate[7]: 2024-05-17T10:05:03.250Z  {denied}"),
    ] {
        let told = only(Format::Tollgate, &["k"], &[&line]);
        assert_eq!(told.start, SECOND + 250 * MS, "{line}");
        assert_eq!(told.values(), ["v"], "{line}");
    }
    let other = "2024-05-17T10:05:03Z ERROR tollgate::server: cannot listen";
    let lines = [other, other, &format!("2024-05-17T10:05:03.250Z  {denied}")];
    assert_eq!(only(Format::Tollgate, &["k"], &lines).values(), ["v"]);
}

/// What looks like one of them, and is of the line.
#[test]
fn other_lines_are_left_as_they_are() {
    let time = "2024-05-17T10:05:03Z";
    let told = only(Format::Csv, &["a"], &["time,a", &format!("{time},b c: d")]);
    assert_eq!(told.values(), ["b c: d"]);
    let line = format!(r#"{{"log":"b","time":"{time}","stream":"stdout"}}"#);
    assert_eq!(only(Format::Json, &["log"], &[&line]).values(), ["b"]);
    let line = COMMON.replace("192.0.2.7", "Dec-1.example");
    assert_eq!(only(Format::Combined, &["remote_address"], &[&line]).values(), ["Dec-1.example"]);
}

#[test]
fn an_error_tells_the_place_in_the_whole_line() {
    let prefix = "2024-05-17T10:05:03Z stdout F ";
    let cut = r#"192.0.2.7 - - [17/May/2024:10:05:03 +0000] "GET / HT"#;
    let text = error(Format::Combined, &[&format!("{prefix}{cut}")]);
    assert_eq!(
        text,
        format!("byte {}: expected a text in quotes (request) of combined logs", 44 + prefix.len())
    );
}
