//! What the test programs share.

use access_log::{Format, Reader, TimeFields};

/// Lines of each format, whose headers stand before them.
pub(crate) const LOGS: [(Format, &[&str]); 14] = [
    (
        Format::Envoy,
        &[
            r#"[2024-05-17T10:05:03.250Z] "GET /a?b=1 HTTP/2" 200 - 0 5 3 - "192.0.2.1" "say "hi"" "id" "a.example" "10.0.0.8:80" 0.5"#,
        ],
    ),
    (
        Format::Istio,
        &[
            r#"[2024-05-17T10:05:03.250Z] "GET /a HTTP/1.1" 200 - via_upstream - "-" 0 5 7 6 "-" "curl/8" "id" "a" "10.0.0.8:80" inbound|80|| 127.0.0.6:1 10.0.0.8:80 192.0.2.1:2 - default"#,
        ],
    ),
    (
        Format::Combined,
        &[
            r#"192.0.2.7 - ada king [17/May/2024:10:05:03 +0200] "GET /\x22 HTTP/1.1" 200 512 "-" "\"x\" \\" "192.0.2.1" 0.2"#,
        ],
    ),
    (
        Format::Alb,
        &[
            r#"http 2024-05-17T10:05:03.290000Z app/a/1 192.0.2.7:2817 10.0.0.66:80 0.000 0.038 0.002 200 200 5 257 "GET http://a.example:80/ HTTP/1.1" "curl/8" - - arn:aws:x "Root=1-5" "-" "-" 0 2024-05-17T10:05:03.247000Z "forward" "-" "-" "10.0.0.66:80" "200" "-" "-""#,
        ],
    ),
    (
        Format::CloudFront,
        &[
            "#Version: 1.0",
            "#Fields: date time c-ip cs-method cs-uri-stem cs-uri-query cs(User-Agent) time-taken",
            "2024-05-17\t10:05:03\t192.0.2.7\tGET\t/a%20b\tx=1\tMozilla/5.0%20(X11)\t0.25",
        ],
    ),
    (
        Format::Json,
        &[
            r#"{"ts":1715940303.5,"request":{"method":"GET","uri":"\/a\u00e9\ud83d\ude00","headers":{"User-Agent":["a","b\n"]}},"duration":2.5e-1,"status":200,"x":[{"y":[null]},true]}"#,
            r#"{"time_local":"17\/May\/2024:10:05:03 +0000","request":"GET \/a HTTP/1.1","request_time":"0.25","agent":"\x22"}"#,
        ],
    ),
    (
        Format::OtelJson,
        &[
            r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"n","value":{"stringValue":"v"}}]},"scopeLogs":[{"logRecords":[{"timeUnixNano":"1715940303250000000","body":{"kvlistValue":{"values":[{"key":"a","value":{"intValue":"1"}}]}},"attributes":[{"key":"method","value":{"stringValue":"G\u0045T"}},{"key":"l","value":{"arrayValue":{"values":[{"doubleValue":0.5}]}}}]},{"timeUnixNano":1715940304000000000}]}]}]}"#,
        ],
    ),
    (
        Format::Csv,
        &["time,request,tenant", r#"1715940303.25,"GET /a HTTP/1.1","big, ""old"" inc""#],
    ),
    (Format::Csv, &["date,time,path,time_taken", "2024-05-17,10:05:03,/a,0.5"]),
    (Format::Tsv, &["timestamp\tpath\tduration_ms", "2024-05-17 10:05:03,250\t\"/a\t\"\t12"]),
    (
        Format::Tollgate,
        &[
            r#"2024-05-17T10:05:03.000250Z  INFO denied domain="d" table="t" row="r" values="tenant=a\\\"b path=/a?b=c d" wait="90ms" left_out=0"#,
        ],
    ),
    (
        Format::Tollgate,
        &[
            r#"{"timestamp":"2024-05-17T10:05:03.000250Z","level":"INFO","fields":{"message":"denied","domain":"d","table":"t","row":"r","values":"k=v\\u{1b}","wait":"90ms","left_out":2},"target":"t"}"#,
        ],
    ),
    (
        Format::Tollgate,
        &[
            r#"{"@message":"would be denied","@timestamp":"2024-05-17T10:05:03Z","domain":"d","level":"info","values":"k=v"}"#,
        ],
    ),
    (
        Format::Json,
        &[r#" { "time" : "2024-05-17T10:05:03,5+02:00" , "a" : { "b" : { } , "c" : -0.5E+3 } } "#],
    ),
];

/// Fields that are wanted in tests, those of them that the format may have.
pub(crate) fn reader(format: Format) -> Reader {
    let wanted = [
        "path",
        "method",
        "remote_address",
        "user_agent",
        "tenant",
        "request.headers",
        "body.a",
        "a.c",
    ];
    let times = TimeFields::default();
    let has = |field: &&str| Reader::new(format, &[(*field).to_owned()], &times).is_ok();
    let wanted: Vec<_> = wanted.into_iter().filter(has).map(str::to_owned).collect();
    Reader::new(format, &wanted, &times).unwrap()
}
