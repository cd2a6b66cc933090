//! `health`: what a container's health check asks.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned, crypto};

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
        assert!(out.starts_with(&format!("cannot reach {address}: ")), "{out}");
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

/// A certificate for `localhost` that vouches for itself, and its key.
pub(crate) fn write_pair(folder: &Path, name: &str) -> [String; 2] {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let [cert, key] = ["pem", "key"].map(|end| folder.join(format!("{name}.{end}")));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    [cert, key].map(|path| path.to_str().unwrap().to_owned())
}

#[test]
fn a_server_is_asked_over_https_and_shown_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let [server, client] = ["server", "client"].map(|name| write_pair(folder.path(), name));
    let provider = Arc::new(crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&client[0]).unwrap()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![CertificateDer::from_pem_file(&server[0]).unwrap()],
            PrivateKeyDer::from_pem_file(&server[1]).unwrap(),
        );
    let config = Arc::new(config.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            // Whoever is not let in is gone.
            let mut request = [0; 1024];
            if stream.read(&mut request).is_ok_and(|read| read > 0) {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n").unwrap();
            }
        }
    });
    let health = |more: &[&str]| run(&[&["health", "--addr", &address][..], more].concat());
    let ca = ["--tls-ca", &server[0]];
    let ended = health(&[&ca[..], &["--tls-cert", &client[0], "--tls-key", &client[1]]].concat());
    assert_eq!((ended.code, &*ended.out), (Some(0), "ready\n"));
    assert_eq!(health(&ca).code, Some(1), "it shows no certificate");
    let ended = health(&["--tls-ca", &client[0]]);
    assert!(ended.code == Some(1) && ended.out.contains("certificate"), "{ended:?}");
    let ended = health(&[]);
    assert!(ended.code == Some(1) && ended.out.contains("set --tls-ca to a file"), "{ended:?}");
}
