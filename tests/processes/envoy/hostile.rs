//! What a client can send, through the sample Envoy: none of it gets more calls than the limit.
//!
//! The rows of "What a client can send" in `docs/bounds.md` are what is sent here, six times each to a limit of
//! three, and what they say becomes of it is what is expected.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::frames::{self, Connection, HEADERS};
use super::lab::{Lab, Sample};
use super::process::PATIENCE;

const POLICY: &str = "tests/processes/envoy/hostile-policy.yaml";

/// How often each is sent, and how often it may pass.
const SENT: usize = 6;
const LIMIT: usize = 3;

/// A request, from a tenant of its own.
enum Shape {
    /// Over HTTP/1.1: the request line up to the version, and headers beside the tenant.
    One(Vec<u8>, Vec<(&'static str, Vec<u8>)>),
    /// Over HTTP/2: a method, a path, and headers beside the tenant.
    Two(Vec<u8>, Vec<u8>, Vec<(&'static str, Vec<u8>)>),
}

fn get(target: impl AsRef<[u8]>) -> Shape {
    with("GET", target)
}

fn with(method: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Shape {
    Shape::One([method.as_ref(), b" ", target.as_ref()].concat(), Vec::new())
}

fn header(name: &'static str, value: impl AsRef<[u8]>) -> Shape {
    headers(&[(name, value.as_ref())])
}

fn headers(headers: &[(&'static str, &[u8])]) -> Shape {
    let headers = headers.iter().map(|(name, value)| (*name, value.to_vec()));
    Shape::One(b"GET /api/v2/users".to_vec(), headers.collect())
}

fn header_over_2(name: &'static str, value: impl AsRef<[u8]>) -> Shape {
    let headers = vec![(name, value.as_ref().to_vec())];
    Shape::Two(b"GET".to_vec(), b"/api/v2/users".to_vec(), headers)
}

fn over_2(method: impl AsRef<[u8]>, path: impl AsRef<[u8]>) -> Shape {
    Shape::Two(method.as_ref().to_vec(), path.as_ref().to_vec(), Vec::new())
}

/// Every byte that a header may hold: RFC 9110, 5.5.
fn every_byte() -> Vec<u8> {
    (0x21..=0x7e).chain(0x80..=0xff).collect()
}

fn long(start: &str, bytes: usize) -> String {
    start.to_owned() + &"x".repeat(bytes)
}

/// What a row of the table sends, by its first column.
fn shape(name: &str) -> Shape {
    match name {
        "a header with a byte that is not UTF-8" => header("x-user", b"\xff"),
        "a header of every byte that it may hold" => header("x-user", every_byte()),
        "the same over HTTP/2" => header_over_2("x-user", every_byte()),
        "an empty header" => header("x-user", ""),
        "a header of 24 KiB" => header("x-user", long("", 24 << 10)),
        "the same header twice" => headers(&[("x-user", b"one"), ("x-user", b"another")]),
        "a scope that is not UTF-8" => header("x-scope", b"let me pass\xff"),
        "a tenant type that is not UTF-8" => header("x-tenant-type", b"free\xff"),
        "a lease that it was not given" => header("x-tollgate-lease", "0".repeat(32)),
        "`x-forwarded-for` that is no address" => header("x-forwarded-for", b"\xff, 1.2.3, ::g"),
        "`x-forwarded-for` of 1,000 addresses" => {
            header("x-forwarded-for", vec!["203.0.113.7"; 1000].join(", "))
        }
        "deadlines of gRPC and of Envoy" => headers(&[
            ("grpc-timeout", b"1n"),
            ("x-envoy-upstream-rq-timeout-ms", b"1"),
            ("x-envoy-expected-rq-timeout-ms", b"1"),
        ]),
        "a trace that is none" => {
            headers(&[("traceparent", b"00-\xff-1"), ("tracestate", &b"a=b,".repeat(4000))])
        }
        "headers of over 32 KiB" => header("x-user", long("", 40 << 10)),
        "over 100 headers" => headers(&[("x-user", &b"one"[..]); 101]),
        "a path with a byte that is not UTF-8" => get(b"/api/v2/users/\xff"),
        "the same path over HTTP/2" => over_2("GET", b"/api/v2/users/\xff"),
        "a query with a byte that is not UTF-8" => get(b"/api/v2/users?\xff"),
        "the same query over HTTP/2" => over_2("GET", b"/api/v2/users?\xff"),
        "a path with an escaped byte that is not UTF-8" => get("/api/v2/users/%ff?%fe"),
        "a path with an escaped NUL" => get("/api/v2/users/%00"),
        "a path of 24 KiB" => get(long("/api/v2/users/", 24 << 10)),
        "a path of 12,000 segments" => get("/a".repeat(12_000)),
        "a query of 24 KiB" => get(long("/api/v2/users?", 24 << 10)),
        "a path with a fragment" => get("/api/v2/users#top"),
        "a path with parameters" => get("/api/v2/users;a=b"),
        "a path of dots and slashes" => get("//api/./v2/../v2///users"),
        "an absolute target" => get("http://elsewhere/api/v2/users"),
        "no path" => get(""),
        "method `get`" => with("get", "/api/v2/users"),
        "a method of its own" => with("LOOK-AT", "/api/v2/users"),
        "the same over HTTP/2, not UTF-8" => over_2(b"LOOK\xff", "/api/v2/users"),
        "a method of 8 KiB over HTTP/2" => over_2(long("", 8 << 10), "/api/v2/users"),
        "an empty method over HTTP/2" => over_2("", "/api/v2/users"),
        "method `HEAD`" => with("HEAD", "/api/v2/users"),
        "method `OPTIONS *`" => with("OPTIONS", "*"),
        "method `CONNECT`" => with("CONNECT", "elsewhere:80"),
        other => panic!("docs/bounds.md has a row that nothing here sends: {other}"),
    }
}

/// The status of the answer; 0 where the connection or the stream was closed instead.
fn send(edge: SocketAddr, shape: &Shape, tenant: &str) -> u16 {
    let tenant = tenant.replace(' ', "-");
    match shape {
        Shape::One(line, headers) => {
            let mut bytes = line.clone();
            bytes.extend(b" HTTP/1.1\r\nhost: edge\r\nconnection: close\r\nx-tenant: ");
            bytes.extend(tenant.as_bytes());
            for (name, value) in headers {
                bytes.extend([&b"\r\n"[..], name.as_bytes(), b": ", value].concat());
            }
            bytes.extend(b"\r\n\r\n");
            status_over_1(edge, &bytes)
        }
        Shape::Two(method, path, headers) => {
            let own = [(":method", method), (":path", path)];
            let mut all: Vec<_> = own.map(|(name, value)| (name, value.clone())).to_vec();
            let others = [(":scheme", "http"), (":authority", "edge"), ("x-tenant", &*tenant)];
            all.extend(others.map(|(name, value)| (name, value.as_bytes().to_vec())));
            all.extend_from_slice(headers);
            status_over_2(edge, &all)
        }
    }
}

fn status_over_1(edge: SocketAddr, request: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(edge).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // Envoy may have closed the connection before it has read all.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    answer.split(' ').nth(1).map_or(0, |status| status.parse().unwrap())
}

/// Envoy writes `:status` first. A 200 is an entry of HPACK's static table, and so is a 400; a 429 is not.
fn status_over_2(edge: SocketAddr, headers: &[(&str, Vec<u8>)]) -> u16 {
    let mut connection = Connection::open(edge);
    connection.send(&frames::request(1, headers));
    let Some((HEADERS, block)) = connection.next_on(1) else { return 0 };
    match block.iter().find(|byte| !(0x20..0x40).contains(*byte)).unwrap() {
        0x88 => 200,
        0x8c => 400,
        0x48 | 0x08 => 429,
        other => panic!("`:status` in another form, {other:#x}"),
    }
}

/// The rows of a table of `docs/bounds.md`: the first two columns of those below a headline.
fn rows(headline: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string("docs/bounds.md").unwrap();
    let (_, section) = text.split_once(&format!("## {headline}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
    let rows = rows.filter_map(|row| row.split_once(" | "));
    let rows = rows.map(|(name, rest)| (name, rest.split(" | ").next().unwrap()));
    let rows = rows.map(|(name, end)| (name.to_owned(), end.trim_end_matches(" |").to_owned()));
    rows.skip(1).collect()
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn nothing_that_a_client_can_send_gets_it_more_calls_than_its_limit() {
    let lab = Lab::start(Sample::front().patient().policy(POLICY));
    let rows = rows("What a client can send");
    assert!(rows.len() > 30, "{rows:?}");
    let mut wrong = Vec::new();
    for (name, becomes) in &rows {
        let seen = becomes_of(&lab, name, &shape(name));
        if seen != *becomes {
            wrong.push(format!("{name}: {becomes}, but seen: {seen}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_all_decided(&lab);
    assert_eq!(lab.metric("tollgate_invalid_requests_total"), 0);
}

/// What becomes of a shape that a tenant of its own sends, in the words of the table.
fn becomes_of(lab: &Lab, tenant: &str, shape: &Shape) -> String {
    let statuses: Vec<_> = (0..SENT).map(|_| send(lab.edge, shape, tenant)).collect();
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    match (count(200), count(429)) {
        // What passes may be too much for the upstream.
        (_, LIMIT) => "limited".to_owned(),
        (0, SENT) => "denied".to_owned(),
        (0, 0) => "refused by Envoy".to_owned(),
        (SENT, 0) => "not asked about".to_owned(),
        _ => format!("{statuses:?}"),
    }
}

/// Envoy lets through what is an error to it.
fn assert_all_decided(lab: &Lab) {
    for error in ["error", "failure_mode_allowed"] {
        assert_eq!(lab.stat(&format!("cluster.upstream.ratelimit.{error}")), 0, "{error}");
    }
}

const PATH: &str = r#"- request_headers: { header_name: ":path", descriptor_key: path }"#;

/// The sample with longer headers let in, and with the path in each of so many entries.
fn with_paths(count: usize) -> Sample {
    let line_end = format!("\n{}", " ".repeat(28));
    let paths = vec![PATH; count].join(&line_end);
    let sample = Sample::front().patient().policy(POLICY).with(PATH, &paths);
    sample.with("max_request_headers_kb: 32", "max_request_headers_kb: 96")
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn a_value_of_over_64_kib_is_decided() {
    let lab = Lab::start(with_paths(1));
    let path = long("/api/v2/users?", 90 << 10);
    assert_eq!(becomes_of(&lab, "acme", &get(path)), "limited");
    assert_all_decided(&lab);
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn a_request_of_which_envoy_makes_more_than_a_message_is_denied() {
    let lab = Lab::start(with_paths(20));
    let path = long("/api/v2/users?", 60 << 10);
    assert_eq!(becomes_of(&lab, "acme", &get(path)), "denied");
    assert_eq!(lab.metric("tollgate_invalid_requests_total"), 6);
    assert_eq!(becomes_of(&lab, "acme", &get("/api/v2/users")), "limited");
    assert_all_decided(&lab);
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn a_lease_that_is_none_does_not_keep_the_others_descriptors_from_being_decided() {
    let last =
        "- request_headers: { header_name: x-scope, descriptor_key: scope, skip_if_absent: true }";
    let release = "
                        - actions:
                            - request_headers: { header_name: x-lease, descriptor_key: lease }
                          hits_addend: { number: 1, is_negative_hits: true }";
    let sample = Sample::front().patient().policy(POLICY).with(last, &format!("{last}{release}"));
    let lab = Lab::start(sample);
    for lease in [&b"\xff"[..], b"", b"mine", &[b'0'; 32], &[b'f'; 5000]] {
        let tenant = format!("acme-{}", lease.len());
        assert_eq!(becomes_of(&lab, &tenant, &header("x-lease", lease)), "limited", "{tenant}");
    }
    assert_all_decided(&lab);
}

/// The headers of the call to tollgate, where Envoy is told to make one of a header of the client's.
#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn what_envoy_passes_on_in_the_headers_of_its_call_is_no_way_around_the_limit() {
    let cluster = "                          envoy_grpc: { cluster_name: tollgate }\n";
    let metadata = "                          initial_metadata: [{ key: x-client, value: \"%REQ(x-user)%\" }]\n";
    let sample = Sample::front().patient().policy(POLICY);
    let sample = sample.with(cluster, &format!("{cluster}{metadata}"));
    let sample = sample.with("max_request_headers_kb: 32", "max_request_headers_kb: 60");
    let lab = Lab::start(sample);
    let long = long("", 59 << 10);
    for (tenant, value) in [("a", &every_byte()[..]), ("b", b""), ("c", long.as_bytes())] {
        assert_eq!(becomes_of(&lab, tenant, &header("x-user", value)), "limited", "{tenant}");
    }
    assert_all_decided(&lab);
}

/// Envoy drops the descriptor of what is no number from 0 to 10^9, and 0 charges nothing: no client may choose the
/// hits.
#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn hits_that_a_client_chooses_are_decided_where_envoy_asks_about_them() {
    let actions = "                        - actions:\n";
    let hits = "                        - hits_addend: { format: \"%REQ(x-hits)%\" }\n\
                \x20                         actions:\n";
    let sample = Sample::front().patient().policy(POLICY).with(actions, hits);
    let lab = Lab::start(sample);
    let hits =
        ["1", "1.9", "4", "1000000000", "0", "-1", "", "one", "1e99", "1000000001", "\u{ff}"];
    let seen = hits.iter().enumerate().map(|(at, hits)| {
        format!("{hits}: {}", becomes_of(&lab, &format!("acme-{at}"), &header("x-hits", hits)))
    });
    let expected = [
        "1: limited",
        "1.9: limited",
        "4: denied",
        "1000000000: denied",
        "0: not asked about",
        "-1: not asked about",
        ": not asked about",
        "one: not asked about",
        "1e99: not asked about",
        "1000000001: not asked about",
        "\u{ff}: not asked about",
    ];
    assert_eq!(seen.collect::<Vec<_>>(), expected);
    assert_all_decided(&lab);
}
