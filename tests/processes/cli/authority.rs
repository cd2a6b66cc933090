//! Whatever a caller calls the server, it is answered: a proxy sends the name that its configuration has for a cluster.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio_rustls::rustls::{ClientConnection, StreamOwned};
use tollgate::wire::RateLimitResponse;

use super::certificates::{Authority, client};
use super::serve::{QUIET, Served};
use crate::frames::{Connection, DATA, HEADERS, PATH, call_to};
use crate::support::shipped;

const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// The answer of the health service that says SERVING, in Protobuf: field 1 is 1.
const SERVING: &[u8] = &[8, 1];

/// Names for a server that callers send, and some that nobody should.
fn authorities() -> Vec<Option<Vec<u8>>> {
    let mut authorities: Vec<_> = [
        // A cluster of Istio.
        &b"outbound|8081||tollgate.default.svc"[..],
        // A cluster of Envoy Gateway.
        b"a/b/c",
        // Python's grpcio, and grpc-go, to a Unix domain socket.
        b"",
        b"%2Frun%2Ftollgate%2Fgrpc.sock",
        b"/run/tollgate/grpc.sock",
        b"user:secret@tollgate:99999",
        b"[::1",
        b"two words",
        "caf\u{e9}".as_bytes(),
        // No UTF-8.
        b"\xff\xfe\x80",
    ]
    .into_iter()
    .map(|authority| Some(authority.to_vec()))
    .collect();
    authorities.push(Some(vec![b'a'; 5000]));
    authorities.push(None);
    authorities
}

/// Makes a call for each of the authorities, of the rate limit and of the health service, which different parts of
/// the server answer.
fn are_all_answered(stream: impl Read + Write, transport: &str) {
    let mut connection = Connection::over(stream);
    let asked = shipped(&[("tenant", transport), ("tenant_type", "enterprise_production")]);
    let asked = asked.encode_to_vec();
    for (authority, first) in authorities().iter().zip((1..).step_by(4)) {
        let told = authority.as_deref().map(String::from_utf8_lossy);
        let frames = call_to(first, authority.as_deref(), PATH, &asked);
        let answer = answered(&mut connection, first, &frames);
        let answer = answer.unwrap_or_else(|kind| panic!("{transport}: {told:?}: frame {kind}"));
        let answer = RateLimitResponse::decode(&*answer).unwrap();
        assert_eq!(answer.overall_code, 1, "{transport}: {told:?}: {answer:?}");
        let frames = call_to(first + 2, authority.as_deref(), HEALTH, b"");
        let answer = answered(&mut connection, first + 2, &frames);
        assert_eq!(answer.as_deref(), Ok(SERVING), "{transport}: {told:?}");
    }
}

/// The message of an answer; or the kind of the frame that came instead.
fn answered(
    connection: &mut Connection<impl Read + Write>,
    stream: u32,
    frames: &[u8],
) -> Result<Vec<u8>, u8> {
    connection.send(frames);
    let mut next = |kind| match connection.next_on(stream) {
        Some((got, payload)) if got == kind => Ok(payload),
        Some((got, _)) => Err(got),
        None => panic!("the server has closed the connection"),
    };
    next(HEADERS)?;
    let data = next(DATA)?;
    next(HEADERS)?;
    Ok(data[5..].to_vec())
}

fn patient(stream: &TcpStream) {
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.set_nodelay(true).unwrap();
}

#[test]
fn any_authority_is_answered_over_tcp() {
    let server = Served::start(&QUIET, &[]);
    let stream = TcpStream::connect(server.grpc).unwrap();
    patient(&stream);
    are_all_answered(stream, "tcp");
    assert_eq!(server.stop().0, Some(0));
}

/// A server with a certificate for `localhost`, in `folder`.
fn with_tls(ours: &Authority, folder: &Path) -> Served {
    let (certificate, key) = ours.issue(&["localhost"]).write(folder, "server");
    let flags = ["--grpc-tls-cert", certificate.to_str().unwrap()];
    let flags = [&QUIET[..], &flags, &["--grpc-tls-key", key.to_str().unwrap()]].concat();
    Served::start(&flags, &[])
}

#[test]
fn any_authority_is_answered_over_tls() {
    let (ours, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let server = with_tls(&ours, folder.path());
    let stream = TcpStream::connect(server.grpc).unwrap();
    patient(&stream);
    let config = Arc::new(client(&ours, None, b"h2"));
    let tls = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    are_all_answered(StreamOwned::new(tls, stream), "tls");
    assert_eq!(server.stop().0, Some(0));
}

/// A server on a Unix domain socket.
fn on_socket(path: &Path) -> Served {
    let address = format!("unix:{}", path.display());
    let http = ["--http", "127.0.0.1:0", "--log-format", "json"];
    Served::start(&[&["serve", "--grpc", &address][..], &http].concat(), &[])
}

#[test]
fn any_authority_is_answered_over_a_unix_domain_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grpc.sock");
    let server = on_socket(&path);
    let stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    are_all_answered(stream, "unix");
    assert_eq!(server.stop().0, Some(0));
}

/// What curl prints: the head of the answer, its body, and in a line of its own the status.
fn curl(args: &[&str]) -> Vec<u8> {
    let always = ["--silent", "--show-error", "--include", "--max-time", "30", "--noproxy", "*"];
    let status = ["--write-out", "\n%{http_version} %{response_code}"];
    let mut command = Command::new("curl");
    // Without what the machine has for it in a file.
    command.arg("--disable").args(always).args(status).args(args).stdin(Stdio::null());
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {told}");
    output.stdout
}

/// Has curl, which speaks HTTP/2 with nghttp2, make a call, and ask what is no call. `over` says how to get there.
fn curl_is_answered(over: &[&str], origin: &str) {
    let folder = tempfile::tempdir().unwrap();
    let body = folder.path().join("call");
    let asked = shipped(&[("tenant", "curl"), ("tenant_type", "enterprise_production")]);
    let asked = asked.encode_to_vec();
    let prefix = [&[0], &u32::try_from(asked.len()).unwrap().to_be_bytes()[..]].concat();
    std::fs::write(&body, [prefix, asked].concat()).unwrap();
    let data = format!("@{}", body.display());
    let url = format!("{origin}{PATH}");
    let call = ["--data-binary", &data, "--header", "content-type: application/grpc"];
    for authority in ["localhost", "outbound|8081||tollgate.default.svc", "a/b/c", "caf\u{e9}"] {
        let host = format!("host: {authority}");
        let answer = curl(&[over, &call, &["--header", &host, &url]].concat());
        let told = String::from_utf8_lossy(&answer);
        assert!(told.contains("content-type: application/grpc\r\n"), "{authority}: {told}");
        assert!(told.contains("grpc-status: 0"), "{authority}: {told}");
        assert!(told.ends_with("\n2 200"), "{authority}: {told}");
    }
    let answer = curl(&[over, &[&url]].concat());
    let told = String::from_utf8_lossy(&answer);
    assert!(told.contains("allow: POST\r\n") && told.ends_with("\n2 405"), "{told}");
    let answer = curl(&[over, &["--data", "tenant=acme", &url]].concat());
    let told = String::from_utf8_lossy(&answer);
    let accepts = "accept: application/grpc\r\n";
    assert!(told.contains(accepts) && told.ends_with("\n2 415"), "{told}");
}

#[test]
#[ignore = "needs curl; bash tests/run.sh"]
fn curl_is_answered_over_tcp() {
    let server = Served::start(&QUIET, &[]);
    curl_is_answered(&["--http2-prior-knowledge"], &format!("http://{}", server.grpc));
    assert_eq!(server.stop().0, Some(0));
}

#[test]
#[ignore = "needs curl; bash tests/run.sh"]
fn curl_is_answered_over_tls() {
    let (ours, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let server = with_tls(&ours, folder.path());
    let trusted = folder.path().join("ours.pem");
    std::fs::write(&trusted, ours.pem()).unwrap();
    let resolve = format!("localhost:{}:127.0.0.1", server.grpc.port());
    let over = ["--http2", "--cacert", trusted.to_str().unwrap(), "--resolve", &resolve];
    curl_is_answered(&over, &format!("https://localhost:{}", server.grpc.port()));
    assert_eq!(server.stop().0, Some(0));
}

#[test]
#[ignore = "needs curl; bash tests/run.sh"]
fn curl_is_answered_over_a_unix_domain_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grpc.sock");
    let server = on_socket(&path);
    let over = ["--http2-prior-knowledge", "--unix-socket", path.to_str().unwrap()];
    curl_is_answered(&over, "http://localhost");
    assert_eq!(server.stop().0, Some(0));
}
