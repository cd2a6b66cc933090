#[path = "../../../tests/support/certificates.rs"]
mod certificates;

use std::io::ErrorKind;
use std::sync::Arc;

use axum::Extension;
use axum::routing::get;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::TlsConnector;

use self::certificates::{Authority, Pair, client};
use super::*;
use crate::tls::{Callers, Files, Side};

fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(test);
}

/// Serves HTTP; those whom `callers` vouches for are known if their name is `admin`.
fn identity(ours: &Authority, callers: Option<&Authority>) -> Identity {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = ours.issue(&["localhost"]).write(folder.path(), "server");
    let callers = callers.map(|callers| {
        let authority = folder.path().join("callers.pem");
        std::fs::write(&authority, callers.pem()).unwrap();
        Callers { authority, names: vec!["admin".parse().unwrap()] }
    });
    Identity::read(Side::Http, Files { certificate, key, callers }).unwrap()
}

/// What a handler sees of the request of one who shows this.
async fn seen(identity: &Identity, ours: &Authority, shown: Option<&Pair>) -> String {
    let told = |certified: Option<Extension<Certified>>| async move {
        if certified.is_some() { "certified" } else { "anybody" }
    };
    let routes = Router::new().route("/", get(told));
    let (caller, connection) = duplex(1 << 16);
    let identity = identity.clone();
    tokio::spawn(async move {
        let opened = open(connection, Some(identity)).await.unwrap();
        serve(opened, routes, GracefulShutdown::new().watcher()).await.unwrap();
    });
    let connector = TlsConnector::from(Arc::new(client(ours, shown, b"http/1.1")));
    let mut caller = connector.connect("localhost".try_into().unwrap(), caller).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n";
    caller.write_all(request).await.unwrap();
    let mut answer = String::new();
    caller.read_to_string(&mut answer).await.unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn a_request_is_certified_by_an_allowed_name_alone() {
    run(async {
        let (ours, callers) = (Authority::new(), Authority::new());
        let strict = identity(&ours, Some(&callers));
        let admin = callers.issue(&["admin"]);
        assert_eq!(seen(&strict, &ours, Some(&admin)).await, "certified");
        assert_eq!(seen(&strict, &ours, Some(&callers.issue(&["other"]))).await, "anybody");
        assert_eq!(seen(&strict, &ours, None).await, "anybody");
        // Who asks for no certificate knows nobody.
        assert_eq!(seen(&identity(&ours, None), &ours, Some(&admin)).await, "anybody");
    });
}

#[test]
fn who_was_known_by_other_certificates_is_not_known_any_more() {
    run(async {
        let (ours, callers, folder) = (Authority::new(), Authority::new(), tempfile::tempdir());
        let folder = folder.unwrap();
        let (certificate, key) = ours.issue(&["localhost"]).write(folder.path(), "server");
        let authority = folder.path().join("callers.pem");
        std::fs::write(&authority, callers.pem()).unwrap();
        let callers_known = Callers { authority: authority.clone(), names: Vec::new() };
        let files = Files { certificate, key, callers: Some(callers_known) };
        let identity = Identity::read(Side::Http, files).unwrap();
        let (caller, connection) = duplex(1 << 16);
        let connector = client(&ours, Some(&callers.issue(&["admin"])), b"http/1.1");
        let connector = TlsConnector::from(Arc::new(connector));
        let opening = open(connection, Some(identity.clone()));
        let (opened, caller) =
            tokio::join!(opening, connector.connect("localhost".try_into().unwrap(), caller));
        let (known, _caller) = (opened.unwrap().known.unwrap(), caller.unwrap());
        assert!(known.is_still());
        assert!(!identity.reload().unwrap() && known.is_still(), "nothing has changed");
        std::fs::write(&authority, Authority::new().pem()).unwrap();
        assert!(identity.reload().unwrap() && !known.is_still());
    });
}

#[test]
fn who_does_not_speak_tls_in_time_is_not_waited_for() {
    run(async {
        let (_silent, connection) = duplex(1 << 16);
        let identity = identity(&Authority::new(), None);
        let began = tokio::time::Instant::now();
        let error = open(connection, Some(identity)).await.map(drop).unwrap_err();
        assert_eq!((error.kind(), began.elapsed()), (ErrorKind::TimedOut, SLOWEST));
    });
}
