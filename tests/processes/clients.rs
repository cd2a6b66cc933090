//! Clients of HTTP/2 that know nothing of gRPC: curl, nghttp and h2load, over TCP, TLS and a Unix domain socket.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use prost::Message;
use tempfile::TempDir;
use tollgate::wire::RateLimitResponse;
use tollgate::wire::frame::PREFIX;

use crate::certificates::Authority;
use crate::cli::serve::{QUIET, Served};
use crate::frames::PATH;
use crate::support::shipped;

/// The fields that make a request of HTTP/2 a call of gRPC.
const FIELDS: [&str; 4] = ["-H", "content-type: application/grpc", "-H", "te: trailers"];

/// A folder with a call that is admitted, in gRPC's frame.
fn call(tenant: &str) -> (TempDir, PathBuf) {
    let message =
        shipped(&[("tenant", tenant), ("tenant_type", "enterprise_production")]).encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("call.grpc");
    std::fs::write(&path, [&[0][..], &length, &message].concat()).unwrap();
    (folder, path)
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["30", program]).args(arguments).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    output
}

/// Makes the call with curl, which has it answered: fields, message and trailers.
fn curl(call: &Path, url: &str, more: &[&str]) {
    let body = format!("@{}", call.display());
    let folder = tempfile::tempdir().unwrap();
    let [fields, answer] = ["fields", "answer"].map(|name| folder.path().join(name));
    let mut arguments = FIELDS.to_vec();
    arguments.extend(["--silent", "--show-error", "--data-binary", &body]);
    arguments.extend(["--dump-header", fields.to_str().unwrap()]);
    arguments.extend(["--output", answer.to_str().unwrap()]);
    run("curl", &[&arguments[..], more, &[url]].concat());
    let fields = std::fs::read_to_string(fields).unwrap();
    assert!(fields.starts_with("HTTP/2 200"), "{fields}");
    assert!(fields.contains("\ngrpc-status: 0"), "{fields}");
    let answer = std::fs::read(answer).unwrap();
    let answer = RateLimitResponse::decode(&answer[PREFIX..]).unwrap();
    assert!(!tollgate::wire::is_over_limit(&answer) && answer.statuses.len() == 1, "{answer:?}");
}

/// Makes the call with nghttp, several times on one connection.
fn nghttp(call: &Path, url: &str) {
    let mut arguments = vec!["--verbose", "--multiply=5", "--data", call.to_str().unwrap()];
    arguments.extend(FIELDS);
    arguments.push(url);
    let told = run("nghttp", &arguments).stdout;
    let told = String::from_utf8_lossy(&told);
    assert_eq!(told.matches("grpc-status: 0").count(), 5, "{told}");
    assert!(!told.contains("RST_STREAM"), "{told}");
}

/// Makes a thousand calls with h2load, of several connections and streams.
fn h2load(call: &Path, url: &str) {
    let mut arguments = vec!["-n", "1000", "-c", "4", "-m", "50", "-d", call.to_str().unwrap()];
    arguments.extend(FIELDS);
    arguments.push(url);
    let told = run("h2load", &arguments).stdout;
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("1000 succeeded, 0 failed, 0 errored, 0 timeout"), "{told}");
    assert!(told.contains("1000 2xx, 0 3xx, 0 4xx, 0 5xx"), "{told}");
}

#[test]
#[ignore = "needs nghttp2's clients; bash tests/run.sh"]
fn clients_of_http2_are_answered() {
    let server = Served::start(&QUIET, &[]);
    let (_folder, call) = call("plain");
    let url = format!("http://{}{PATH}", server.grpc);
    curl(&call, &url, &["--http2-prior-knowledge"]);
    nghttp(&call, &url);
    h2load(&call, &url);
    assert_eq!(server.stop().0, Some(0));
}

#[test]
#[ignore = "needs nghttp2's clients; bash tests/run.sh"]
fn clients_of_http2_are_answered_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (certificate, key) = authority.issue(&["localhost"]).write(folder.path(), "server");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let flags = ["--grpc-tls-cert", certificate.to_str().unwrap()];
    let flags = [&QUIET[..], &flags, &["--grpc-tls-key", key.to_str().unwrap()]].concat();
    let server = Served::start(&flags, &[]);
    let (_folder, call) = call("tls");
    let url = format!("https://localhost:{}{PATH}", server.grpc.port());
    // Nothing but ALPN tells curl of HTTP/2.
    let resolve = format!("localhost:{}:127.0.0.1", server.grpc.port());
    curl(&call, &url, &["--http2", "--cacert", ca.to_str().unwrap(), "--resolve", &resolve]);
    let url = format!("https://{}{PATH}", server.grpc);
    nghttp(&call, &url);
    h2load(&call, &url);
    assert_eq!(server.stop().0, Some(0));
}

#[test]
#[ignore = "needs curl; bash tests/run.sh"]
fn curl_is_answered_over_a_unix_domain_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("grpc.sock");
    let address = format!("unix:{}", socket.display());
    let server = Served::start(
        &["serve", "--grpc", &address, "--http", "127.0.0.1:0", "--log-format", "json"],
        &[],
    );
    let (_folder, call) = call("unix");
    let socket = ["--http2-prior-knowledge", "--unix-socket", socket.to_str().unwrap()];
    curl(&call, &format!("http://tollgate{PATH}"), &socket);
    assert_eq!(server.stop().0, Some(0));
}
