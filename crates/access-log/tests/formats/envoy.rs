//! Envoy's and Istio's default texts.

use access_log::{Format, Reader, TimeFields};

use super::{MS, SECOND, Told, error, fields, only, strings};

const ENVOY: &str = r#"[2024-05-17T10:05:03.250Z] "POST /carts/7?dry=1 HTTP/2" 429 RL 12 0 3 - "198.51.100.7,192.0.2.1" "curl/8.5.0" "7d9d2b4e-7d5c-9f1c-a1a6-60b0f3a7b6d1" "shop.example" "10.0.0.8:8080""#;

const ISTIO: &str = r#"[2024-05-17T10:05:03.250Z] "GET /carts HTTP/1.1" 200 - via_upstream - "-" 0 512 7 6 "198.51.100.7" "Mozilla/5.0 (X11)" "7d9d2b4e-7d5c-9f1c-a1a6-60b0f3a7b6d1" "carts:8080" "10.0.0.8:8080" inbound|8080|| 127.0.0.6:41235 10.0.0.8:8080 192.0.2.1:51000 outbound_.8080_._.carts.shop.svc.cluster.local default"#;

const WANTED: [&str; 10] = [
    "method",
    "path",
    "protocol",
    "authority",
    "status",
    "remote_address",
    "x_forwarded_for",
    "user_agent",
    "bytes_sent",
    "bytes_received",
];

#[test]
fn envoy_has_the_start_in_milliseconds() {
    let told = only(Format::Envoy, &WANTED, &[ENVOY]);
    assert_eq!((told.start, told.is_whole_second), (SECOND + 250 * MS, false));
    assert_eq!(told.duration, Some(3 * MS));
    let expected = [
        "POST",
        "/carts/7?dry=1",
        "HTTP/2",
        "shop.example",
        "429",
        // What Envoy appended.
        "192.0.2.1",
        "198.51.100.7,192.0.2.1",
        "curl/8.5.0",
        "0",
        "12",
    ];
    assert_eq!(told.values(), expected);
}

#[test]
fn only_what_the_format_has_can_be_wanted_of_it() {
    let wanted =
        |names: &[&str]| Reader::new(Format::Envoy, &strings(names), &TimeFields::default());
    let error = wanted(&["method", "x_tenant"]).unwrap_err();
    assert_eq!(error.field(), "x_tenant");
    let text = error.to_string();
    assert!(
        text.starts_with("envoy logs have no field `x_tenant`; they have: start_time, request,"),
        "{text}"
    );
    assert!(text.contains(", path,") && !text.contains("user,"), "{text}");
    assert!(wanted(&["user"]).is_err());
    let times = TimeFields { time: Some("when".to_owned()), ..TimeFields::default() };
    assert_eq!(Reader::new(Format::Envoy, &[], &times).unwrap_err().field(), "when");
}

#[test]
fn envoy_does_not_escape_quotes() {
    let line = ENVOY.replace("curl/8.5.0", r#"say "hi"\ now"#);
    let told = only(Format::Envoy, &["user_agent", "authority"], &[&line]);
    assert_eq!(told.values(), [r#"say "hi"\ now"#, "shop.example"]);
}

#[test]
fn a_request_without_a_path_has_none() {
    let line = ENVOY.replace("POST /carts/7?dry=1 HTTP/2", "- - HTTP/1.1");
    let told = only(Format::Envoy, &["method", "path", "protocol"], &[&line]);
    assert_eq!(told.values(), ["-", "-", "HTTP/1.1"]);
}

#[test]
fn istio_has_more_columns() {
    let wanted = ["method", "path", "remote_address", "authority", "route_name", "duration"];
    let told = only(Format::Istio, &wanted, &[ISTIO]);
    assert_eq!((told.start, told.duration), (SECOND + 250 * MS, Some(7 * MS)));
    assert_eq!(told.values(), ["GET", "/carts", "192.0.2.1", "carts:8080", "default", "7"]);
}

#[test]
fn columns_behind_those_of_the_format_have_numbers() {
    let line = format!("{ENVOY} \"acme inc\" 0.5");
    let told = only(Format::Envoy, &["column_14", "column_15", "column_16"], &[&line]);
    assert_eq!(told.values(), ["acme inc", "0.5", "-"]);
    assert!(fields(Format::Envoy, &[&line]).contains(&"column_14=acme inc".to_owned()));
}

#[test]
fn fields_are_those_of_the_line_and_the_general_ones() {
    let fields = fields(Format::Envoy, &[ENVOY]);
    let expected = ["start_time=2024-05-17T10:05:03.250Z", "request=POST /carts/7?dry=1 HTTP/2"];
    assert_eq!(fields.get(..2).unwrap(), expected);
    for field in ["method=POST", "path=/carts/7?dry=1", "status=429", "authority=shop.example"] {
        assert_eq!(fields.iter().filter(|known| *known == field).count(), 1, "{field}");
    }
}

#[test]
fn an_error_tells_what_was_expected_where() {
    let text = error(Format::Envoy, &[&ENVOY.replace(" 429 ", " x429 ")]);
    assert_eq!(text, "byte 57: expected a number (response_code) of envoy logs");
    let text = error(Format::Envoy, &[&ENVOY.replace("2024-05-17T", "2024-05-37T")]);
    assert_eq!(text, "byte 2: expected a time, such as 2024-05-17T10:05:03.123Z");
    let cut = ENVOY.split_at(100).0;
    assert!(error(Format::Envoy, &[cut]).ends_with("a text in quotes (user_agent) of envoy logs"));
}

#[test]
fn a_carriage_return_at_the_end_is_none_of_the_line() {
    let line = format!("\u{feff}{ENVOY}\r");
    let expected: Told = only(Format::Envoy, &["upstream_host"], &[ENVOY, ""]);
    assert_eq!(only(Format::Envoy, &["upstream_host"], &[&line, "  \r"]), expected);
}
