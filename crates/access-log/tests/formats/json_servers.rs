//! JSON as particular servers write it.

use access_log::{Format, TimeFields, Unit};

use super::{MS, SECOND, Told, only, read_with};

const WANTED: [&str; 10] = [
    "method",
    "path",
    "protocol",
    "authority",
    "status",
    "remote_address",
    "user_agent",
    "user",
    "bytes_sent",
    "request_id",
];

fn check(line: &str, start: u64, duration: u64, values: [&str; 10]) -> Told {
    let told = only(Format::Json, &WANTED, &[line]);
    assert_eq!((told.start, told.duration), (start, Some(duration)));
    assert_eq!(told.values(), values);
    told
}

#[test]
fn envoy_and_istio() {
    let line = r#"{"authority":"shop.example","bytes_received":0,"bytes_sent":512,"downstream_remote_address":"192.0.2.7:51000","duration":250,"method":"GET","path":"/carts?page=2","protocol":"HTTP/2","request_id":"7d9d2b4e","response_code":200,"response_flags":"-","start_time":"2024-05-17T10:05:03.250Z","tenant":"acme","upstream_host":null,"user_agent":"curl/8.5.0","x_forwarded_for":"198.51.100.7"}"#;
    let told = check(
        line,
        SECOND + 250 * MS,
        250 * MS,
        [
            "GET",
            "/carts?page=2",
            "HTTP/2",
            "shop.example",
            "200",
            "192.0.2.7",
            "curl/8.5.0",
            "-",
            "512",
            "7d9d2b4e",
        ],
    );
    assert!(!told.is_whole_second);
    assert_eq!(only(Format::Json, &["tenant", "upstream_host"], &[line]).values(), ["acme", "-"]);
}

#[test]
fn nginx() {
    let line = r#"{"remote_addr":"192.0.2.7","remote_user":"ada","time_local":"17/May/2024:06:05:03 -0400","request":"GET /carts?page=2 HTTP/1.1","status":"200","body_bytes_sent":"512","request_time":"0.250","http_referer":"-","http_user_agent":"curl/8.5.0","http_host":"shop.example","http_x_forwarded_for":"-"}"#;
    let values = [
        "GET",
        "/carts?page=2",
        "HTTP/1.1",
        "shop.example",
        "200",
        "192.0.2.7",
        "curl/8.5.0",
        "ada",
        "512",
        "-",
    ];
    assert!(check(line, SECOND - 250 * MS, 250 * MS, values).is_whole_second);
    // With a fraction beside it, that is the time.
    let line = line.replace("\"status\"", "\"msec\":\"1715940303.500\",\"status\"");
    assert!(!check(&line, SECOND + 250 * MS, 250 * MS, values).is_whole_second);
}

#[test]
fn caddy() {
    let line = r#"{"level":"info","ts":1715940303.5,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"192.0.2.1","remote_port":"41342","client_ip":"192.0.2.7","proto":"HTTP/2.0","method":"GET","host":"shop.example","uri":"/carts?page=2","headers":{"User-Agent":["curl/8.5.0"],"X-Request-Id":["7d9d2b4e"],"Accept":["*/*"]},"tls":{"resumed":false,"version":772}},"bytes_read":0,"user_id":"","duration":0.25,"size":512,"status":200,"resp_headers":{"Server":["Caddy"]}}"#;
    check(
        line,
        SECOND + 250 * MS,
        250 * MS,
        [
            "GET",
            "/carts?page=2",
            "HTTP/2.0",
            "shop.example",
            "200",
            "192.0.2.7",
            "curl/8.5.0",
            "-",
            "512",
            "7d9d2b4e",
        ],
    );
}

#[test]
fn a_time_with_the_name_of_caddys_may_be_another() {
    let line = r#"{"ts":1715940303,"duration":250}"#;
    let told = only(Format::Json, &[], &[line]);
    assert_eq!((told.start, told.duration), (SECOND - 250 * MS, Some(250 * MS)));
    let times = TimeFields {
        duration: Some(("duration".to_owned(), Unit::Milliseconds)),
        ..TimeFields::default()
    };
    let told = read_with(Format::Json, &times, &[], &[&line.replace("250", "250.5")]);
    assert_eq!(told[0].duration, Some(250_500_000));
}

#[test]
fn traefik() {
    let line = r#"{"ClientAddr":"192.0.2.7:51000","ClientHost":"192.0.2.7","ClientUsername":"-","DownstreamContentSize":512,"DownstreamStatus":200,"Duration":250000000,"RequestAddr":"shop.example","RequestHost":"shop.example","RequestMethod":"GET","RequestPath":"/carts?page=2","RequestProtocol":"HTTP/2.0","StartLocal":"2024-05-17T12:05:03.25+02:00","StartUTC":"2024-05-17T10:05:03.25Z","level":"info","msg":"","request_User-Agent":"curl/8.5.0","time":"2024-05-17T10:05:03Z"}"#;
    check(
        line,
        SECOND + 250 * MS,
        250 * MS,
        [
            "GET",
            "/carts?page=2",
            "HTTP/2.0",
            "shop.example",
            "200",
            "192.0.2.7",
            "curl/8.5.0",
            "-",
            "512",
            "-",
        ],
    );
}
