//! `health`: what a container's health check asks.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use super::serve::{QUIET, Served};
use super::{Ended, eventually, run, run_in};

fn health(address: &str) -> Ended {
    run(&["health", "--addr", address])
}

#[test]
fn a_server_that_takes_calls_is_healthy() {
    let server = Served::start(&QUIET, &[]);
    let address = format!("http://{}", server.http);
    let ready = Ended { code: Some(0), out: "ready\n".into(), err: String::new() };
    assert_eq!(health(&address), ready);
    assert_eq!(run_in(&["health"], &[("TOLLGATE_ADMIN_ADDR", &address)]), ready);
}

#[test]
fn a_server_that_is_told_to_stop_is_not_healthy_and_says_so() {
    let server = Served::start(&QUIET, &[("TOLLGATE_DRAIN_DELAY", "1h")]);
    let address = format!("http://{}", server.http);
    server.signal("TERM");
    eventually("it is not ready", || health(&address).code == Some(1));
    assert_eq!(health(&address).out, "not ready: starting or stopping\n");
    // A second signal ends the delay.
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn a_server_that_is_not_there_is_not_healthy_and_its_address_is_told() {
    for address in ["http://127.0.0.1:1", "unix:/nowhere/at all"] {
        let Ended { code, out, err } = health(address);
        assert_eq!((code, &*err), (Some(1), ""), "{out}");
        assert!(out.starts_with(&format!("no answer from {address}: ")), "{out}");
        assert_eq!(out.lines().count(), 1, "{out}");
    }
    assert!(health("http://127.0.0.1:1").out.contains("Connection refused"));
}

#[test]
fn a_server_is_asked_over_a_unix_socket_and_its_words_reach_the_terminal_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let read = stream.read(&mut request).unwrap();
        stream.write_all(b"HTTP/1.1 503 Away\r\ncontent-length: 6\r\n\r\n\x1b[31mX").unwrap();
        String::from_utf8_lossy(&request[..read]).into_owned()
    });
    let Ended { code, out, .. } = health(&format!("unix:{}", path.display()));
    assert_eq!((code, &*out), (Some(1), "\\u{1b}[31mX\n"));
    let request = answering.join().unwrap();
    assert!(request.starts_with("GET /readyz HTTP/1.1\r\n"), "{request}");
}
