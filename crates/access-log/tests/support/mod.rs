//! What the test programs share.

#![allow(dead_code, clippy::unwrap_used, reason = "test code, and no program uses all of it")]

use access_log::{Format, LineError, Reader, TimeFields};

/// A record with values of its own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) start: u64,
    pub(crate) is_whole_second: bool,
    pub(crate) duration: Option<u64>,
    pub(crate) values: Vec<Option<Vec<u8>>>,
}

impl Told {
    /// Its values as texts, where `-` stands for none.
    pub(crate) fn values(&self) -> Vec<String> {
        let text = |value: &Option<Vec<u8>>| match value {
            Some(value) => String::from_utf8_lossy(value).into_owned(),
            None => "-".to_owned(),
        };
        self.values.iter().map(text).collect()
    }
}

/// The records of a line.
pub(crate) fn read(reader: &mut Reader, line: &[u8]) -> Result<Vec<Told>, LineError> {
    let mut told = vec![];
    reader.read(line, &mut |record| {
        told.push(Told {
            start: record.start,
            is_whole_second: record.is_whole_second,
            duration: record.duration,
            values: record.values.iter().map(|value| value.map(<[u8]>::to_vec)).collect(),
        });
    })?;
    Ok(told)
}

/// All fields of a line, as texts.
pub(crate) fn fields(reader: &mut Reader, line: &[u8]) -> Result<Vec<(String, String)>, LineError> {
    let mut fields = vec![];
    reader.fields(line, &mut |name, value| {
        fields.push((name.to_owned(), String::from_utf8_lossy(value).into_owned()));
    })?;
    Ok(fields)
}

/// A reader of these fields, with the time where the format has it.
pub(crate) fn reader_of(format: Format, wanted: &[&str]) -> Reader {
    let wanted: Vec<_> = wanted.iter().map(|name| (*name).to_owned()).collect();
    Reader::new(format, &wanted, &TimeFields::default()).unwrap()
}

/// Lines of each format, whose headers stand before them.
pub(crate) const LOGS: [(Format, &[&str]); 17] = [
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
    (
        Format::Envoy,
        &[
            r#"2024-05-17T10:05:04.250123456Z stdout F [2024-05-17T10:05:03.250Z] "GET /a?b=1 HTTP/2" 200 - 0 5 3 - "192.0.2.1" "curl/8" "id" "a.example" "10.0.0.8:80""#,
        ],
    ),
    (
        Format::Combined,
        &[
            r#"{"log":"192.0.2.7 - - [17/May/2024:10:05:03 +0200] \"GET /\\x22 HTTP/1.1\" 200 512\n","stream":"stdout","time":"2024-05-17T10:05:04Z"}"#,
        ],
    ),
    (
        Format::Json,
        &[
            r#"<165>1 2024-05-17T10:05:03.250Z web-1 nginx 1 ID47 [a b="]\"\]"][c] {"time":"2024-05-17T10:05:03Z","path":"/a"}"#,
        ],
    ),
];

/// A reader of fields of many kinds, those of them that the format may have.
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
    let has =
        |field: &&str| Reader::new(format, &[(*field).to_owned()], &TimeFields::default()).is_ok();
    reader_of(format, &wanted.into_iter().filter(has).collect::<Vec<_>>())
}
