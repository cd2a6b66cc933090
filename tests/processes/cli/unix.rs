//! `serve` on Unix domain sockets, as beside an Envoy in the same pod.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::certificates::{Authority, client, exchange_over, shown_over};
use super::run;
use super::serve::Served;

/// Two sockets in a folder.
struct Sockets {
    folder: tempfile::TempDir,
    grpc: PathBuf,
    http: PathBuf,
}

impl Sockets {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (grpc, http) = (folder.path().join("grpc.sock"), folder.path().join("http.sock"));
        Self { folder, grpc, http }
    }

    fn args(&self) -> Vec<String> {
        let words = ["serve", "--log-format", "json", "--grpc", &address(&self.grpc)];
        [&words[..], &["--http", &address(&self.http)]]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect()
    }

    fn serve(&self, more: &[&str]) -> Served {
        let args = self.args();
        let args: Vec<_> = args.iter().map(String::as_str).chain(more.iter().copied()).collect();
        Served::start(&args, &[])
    }
}

fn address(path: &Path) -> String {
    format!("unix:{}", path.display())
}

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

fn is_healthy(path: &Path) -> bool {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(HEALTH).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.starts_with("HTTP/1.1 200 ")
}

#[test]
fn both_sides_are_served_over_sockets_whose_files_go_at_the_end() {
    let sockets = Sockets::new();
    let server = sockets.serve(&[]);
    let started: Value = serde_json::from_str(server.log.last().unwrap()).unwrap();
    let told = ["grpc", "http"].map(|name| started["fields"][name].as_str().unwrap());
    assert_eq!(told, [&address(&sockets.grpc), &address(&sockets.http)]);
    assert!(is_healthy(&sockets.http));
    let [grpc, http] = [&sockets.grpc, &sockets.http].map(|path| address(path));
    let ended =
        run(&["query", "--addr", &grpc, "--http", &http, "tenant=acme", "tenant_type=free"]);
    assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{ended:?}");
    assert!(ended.out.contains("10 per second, 9 left"), "{ended:?}");
    assert_eq!(server.stop().0, Some(0));
    assert_eq!(std::fs::read_dir(sockets.folder.path()).unwrap().count(), 0);
}

#[test]
fn a_socket_that_is_in_use_is_left_alone_and_one_left_behind_is_taken_over() {
    let sockets = Sockets::new();
    let server = sockets.serve(&[]);
    let args = sockets.args();
    let ended = run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let told = format!(
        "cannot listen on {} for grpc: another process listens there; \
         choose another with --grpc unix:PATH\n",
        address(&sockets.grpc)
    );
    assert_eq!((ended.code, ended.err), (Some(2), told));
    assert!(is_healthy(&sockets.http), "the first serves on");
    // Killed, it leaves both behind.
    drop(server);
    assert!(sockets.grpc.exists() && sockets.http.exists());
    let server = sockets.serve(&[]);
    assert!(is_healthy(&sockets.http));
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn what_is_no_socket_and_what_is_no_path_of_one_end_it_with_2() {
    let sockets = Sockets::new();
    std::fs::write(&sockets.http, "mine").unwrap();
    let args = sockets.args();
    let ended = run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("for http: the path has a file that is not a socket"), "{ended:?}");
    assert_eq!(std::fs::read_to_string(&sockets.http).unwrap(), "mine");
    assert!(!sockets.grpc.exists(), "the other's file stays behind");
    let long = address(&sockets.folder.path().join("a".repeat(108)));
    for path in [&long, "unix:"] {
        for flag in ["--grpc", "--http"] {
            let ended = run(&["serve", flag, path]);
            assert_eq!(ended.code, Some(2));
            assert!(ended.err.contains(flag) && ended.err.contains("has 1 to 107"), "{ended:?}");
        }
    }
}

#[test]
fn tls_is_spoken_over_a_socket_as_over_tcp() {
    let (sockets, authority) = (Sockets::new(), Authority::new());
    let pair = authority.issue(&["localhost"]);
    let (certificate, key) = pair.write(sockets.folder.path(), "server");
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let server = sockets.serve(&[
        "--http-tls-cert",
        certificate,
        "--http-tls-key",
        key,
        "--grpc-tls-cert",
        certificate,
        "--grpc-tls-key",
        key,
    ]);
    let stream = UnixStream::connect(&sockets.http).unwrap();
    let answer = exchange_over(stream, client(&authority, None, b"http/1.1"), HEALTH).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let stream = UnixStream::connect(&sockets.grpc).unwrap();
    assert_eq!(shown_over(stream, client(&authority, None, b"h2")).unwrap(), pair.der());
    let mut plain = UnixStream::connect(&sockets.grpc).unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    let mut told = Vec::new();
    plain.read_to_end(&mut told).unwrap();
    assert_eq!(told.first(), Some(&0x15), "{told:?}");
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn a_call_to_a_socket_that_nobody_listens_on_tells_so() {
    let sockets = Sockets::new();
    drop(UnixListener::bind(&sockets.grpc).unwrap());
    let ended = run(&["query", "--addr", &address(&sockets.grpc), "--domain", "d", "tenant=acme"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.starts_with("no server at unix:"), "{ended:?}");
}
