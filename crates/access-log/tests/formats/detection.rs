//! The format of a log by its first lines.

use access_log::{Format, detect};

const ENVOY: &str = r#"[2024-05-17T10:05:03.250Z] "GET /a HTTP/2" 200 - 0 5 3 - "192.0.2.1" "curl/8" "id" "a.example" "10.0.0.8:80""#;
const ISTIO: &str = r#"[2024-05-17T10:05:03.250Z] "GET /a HTTP/1.1" 200 - via_upstream - "-" 0 5 7 6 "-" "curl/8" "id" "a" "10.0.0.8:80" inbound|80|| 127.0.0.6:1 10.0.0.8:80 192.0.2.1:2 - default"#;
const COMMON: &str = r#"192.0.2.7 - - [17/May/2024:10:05:03 +0000] "GET /a HTTP/1.1" 200 512"#;
const ALB: &str = r#"http 2024-05-17T10:05:03.290000Z app/a/1 192.0.2.7:2817 10.0.0.66:80 0.000 0.038 0.002 200 200 5 257 "GET http://a.example:80/ HTTP/1.1" "curl/8" - - arn:aws:x "Root=1-5" "-" "-" 0 2024-05-17T10:05:03.247000Z "forward" "-" "-" "10.0.0.66:80" "200" "-" "-""#;
const JSON: &str = r#"{"start_time":"2024-05-17T10:05:03.250Z","method":"GET"}"#;
const OTEL: &str =
    r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1715940303250000000"}]}]}]}"#;
const TOLLGATE: &str = r#"2024-05-17T10:05:03.000250Z  INFO denied domain="d" table="t" row="r" values="k=v" wait="90ms" left_out=0"#;
const TOLLGATE_JSON: &str = r#"{"timestamp":"2024-05-17T10:05:03.000250Z","level":"INFO","fields":{"message":"denied","domain":"d","table":"t","row":"r","values":"k=v","wait":"90ms","left_out":2},"target":"t"}"#;

fn detected(lines: &[&str]) -> Result<Format, String> {
    let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
    detect(&lines).map_err(|error| error.to_string())
}

#[test]
fn each_format_is_told_by_one_line() {
    for (line, format) in [
        (ENVOY, Format::Envoy),
        (ISTIO, Format::Istio),
        (COMMON, Format::Combined),
        (ALB, Format::Alb),
        (JSON, Format::Json),
        (OTEL, Format::OtelJson),
        (TOLLGATE, Format::Tollgate),
        (TOLLGATE_JSON, Format::Tollgate),
    ] {
        assert_eq!(detected(&[line]), Ok(format), "{line}");
    }
    let quoted = format!("\"{COMMON} \"-\" \"curl/8\"\"");
    assert_eq!(detected(&[&quoted]), Ok(Format::Combined));
}

#[test]
fn headers_name_their_formats() {
    assert_eq!(detected(&["time,path", "1715940303,/a"]), Ok(Format::Csv));
    assert_eq!(detected(&["time\tpath", "1715940303\t/a"]), Ok(Format::Tsv));
    let cloudfront =
        ["#Version: 1.0", "#Fields: date time cs-uri-stem", "2024-05-17\t10:05:03\t/a"];
    assert_eq!(detected(&cloudfront), Ok(Format::CloudFront));
    assert_eq!(detected(&["\u{feff}time,path\r", "1715940303,/a\r"]), Ok(Format::Csv));
}

#[test]
fn empty_and_broken_lines_do_not_mislead() {
    let lines = ["", "starting envoy", ENVOY, "  ", ENVOY, "{\"broken\":", ENVOY, "\u{1b}[31m"];
    assert_eq!(detected(&lines), Ok(Format::Envoy));
    let log =
        ["2024-05-17T10:05:02Z  INFO listening", "2024-05-17T10:05:02Z  INFO ready", TOLLGATE];
    assert_eq!(detected(&log), Ok(Format::Tollgate));
    let started = r#"{"timestamp":"2024-05-17T10:05:02Z","level":"INFO","fields":{"message":"started"},"target":"t"}"#;
    assert_eq!(detected(&[started, started, TOLLGATE_JSON]), Ok(Format::Tollgate));
    assert_eq!(detected(&[started, started]), Ok(Format::Json));
    let mut lines = vec![JSON; 99];
    lines.extend([COMMON; 300]);
    assert_eq!(detected(&lines), Ok(Format::Json));
}

#[test]
fn an_unknown_format_is_told_with_what_was_tried() {
    assert_eq!(detected(&["", " "]).unwrap_err(), "there are no lines to tell the format by");
    let text = detected(&["hello", "world"]).unwrap_err();
    let expected = "none of the first 2 lines is of a known format: tollgate, otel-json, json, ";
    assert!(text.starts_with(expected), "{text}");
    let lines = [&[COMMON][..], &["hello"; 9]].concat();
    let text = detected(&lines).unwrap_err();
    assert!(
        text.starts_with("only 1 of the first 10 lines are combined, and fewer any other"),
        "{text}"
    );
    assert!(
        text.ends_with(
            "the first that is not: byte 6: expected a word (remote_ident) of combined logs"
        ),
        "{text}"
    );
}
