#[path = "../../../tests/support/certificates.rs"]
mod certificates;

use std::future::pending;
use std::io::ErrorKind;
use std::sync::Arc;

use axum::Extension;
use axum::response::IntoResponse;
use axum::routing::get;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;

use self::certificates::{Authority, Pair, client};
use super::super::timed_io::{ActivityClock, WRITE_TIMEOUT};
use super::*;
use crate::tls::{ClientAuth, Files, Side};

fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(test);
}

/// An identity that allows client certificates from `callers` with the name `admin`.
fn identity(ours: &Authority, callers: Option<&Authority>) -> Identity {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = ours.issue(&["localhost"]).write(folder.path(), "server");
    let client_auth = callers.map(|callers| {
        let authority = folder.path().join("callers.pem");
        std::fs::write(&authority, callers.pem()).unwrap();
        ClientAuth { authority, names: vec!["admin".parse().unwrap()] }
    });
    Identity::read(Side::Http, Files { certificate, key, client_auth }).unwrap()
}

/// Whether a handler sees a verified certificate on a request over a connection with this certificate.
async fn seen(identity: &Identity, ours: &Authority, shown: Option<&Pair>) -> String {
    let handler = |certified: Option<Extension<ClientCertVerified>>| async move {
        if certified.is_some() { "certified" } else { "anybody" }
    };
    let routes = Router::new().route("/", get(handler));
    let (caller, connection) = duplex(1 << 16);
    let identity = identity.clone();
    tokio::spawn(async move {
        let opened = open(connection, Some(identity)).await.unwrap();
        let activity = ActivityClock::default().new_connection();
        serve(opened, activity, routes, pending()).await.unwrap();
    });
    let connector = TlsConnector::from(Arc::new(client(ours, shown, b"http/1.1")));
    let mut caller = connector.connect("localhost".try_into().unwrap(), caller).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
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
        // A server that requests no certificate verifies none.
        assert_eq!(seen(&identity(&ours, None), &ours, Some(&admin)).await, "anybody");
    });
}

#[test]
fn a_client_verified_by_a_replaced_configuration_is_no_longer_verified() {
    run(async {
        let (ours, callers, folder) = (Authority::new(), Authority::new(), tempfile::tempdir());
        let folder = folder.unwrap();
        let (certificate, key) = ours.issue(&["localhost"]).write(folder.path(), "server");
        let authority = folder.path().join("callers.pem");
        std::fs::write(&authority, callers.pem()).unwrap();
        let client_auth = ClientAuth { authority: authority.clone(), names: Vec::new() };
        let files = Files { certificate, key, client_auth: Some(client_auth) };
        let identity = Identity::read(Side::Http, files).unwrap();
        let (caller, connection) = duplex(1 << 16);
        let connector = client(&ours, Some(&callers.issue(&["admin"])), b"http/1.1");
        let connector = TlsConnector::from(Arc::new(connector));
        let opening = open(connection, Some(identity.clone()));
        let (opened, caller) =
            tokio::join!(opening, connector.connect("localhost".try_into().unwrap(), caller));
        let (known, _caller) = (opened.unwrap().verified.unwrap(), caller.unwrap());
        assert!(known.is_current());
        assert!(!identity.reload().unwrap() && known.is_current(), "nothing has changed");
        std::fs::write(&authority, Authority::new().pem()).unwrap();
        assert!(identity.reload().unwrap() && !known.is_current());
    });
}

#[test]
fn a_handshake_that_takes_too_long_fails() {
    run(async {
        let (_silent, connection) = duplex(1 << 16);
        let identity = identity(&Authority::new(), None);
        let began = Instant::now();
        let error = open(connection, Some(identity)).await.map(drop).unwrap_err();
        assert_eq!((error.kind(), began.elapsed()), (ErrorKind::TimedOut, REQUEST_TIMEOUT));
    });
}

/// A connection that is served, with a buffer of this many bytes in each direction.
fn served(routes: Router, buffer: usize) -> (DuplexStream, JoinHandle<hyper::Result<()>>) {
    let (caller, connection) = duplex(buffer);
    let activity = ActivityClock::default().new_connection();
    let io = Box::new(TimedIo::new(connection, activity.clone()));
    let serving = serve(Opened { io, verified: None }, activity, routes, pending());
    (caller, tokio::spawn(serving))
}

/// Routes that answer with `bytes` bytes, and call `asked` for each request.
fn routes(bytes: usize, asked: impl Fn() + Clone + Send + Sync + 'static) -> Router {
    let text = move || {
        asked();
        let text = "x".repeat(bytes);
        async { text }
    };
    Router::new().route("/", get(text))
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

#[test]
fn an_answer_that_is_not_read_times_out_and_one_that_is_read_slowly_does_not() {
    run(async {
        let (mut caller, serving) = served(routes(1 << 20, || {}), 1 << 10);
        let began = Instant::now();
        caller.write_all(REQUEST).await.unwrap();
        for _ in 0..60 {
            sleep(WRITE_TIMEOUT - Duration::from_secs(1)).await;
            caller.read_exact(&mut [0; 1 << 10]).await.unwrap();
        }
        assert!(began.elapsed() > 50 * WRITE_TIMEOUT && !serving.is_finished());
        let last = Instant::now();
        assert!(serving.await.unwrap().is_err());
        assert_eq!(last.elapsed(), WRITE_TIMEOUT);
    });
}

#[test]
fn pipelined_requests_of_a_client_that_does_not_read_are_answered_up_to_the_buffer() {
    run(async {
        let count = Arc::new(Mutex::new(0));
        let asked = Arc::clone(&count);
        let (mut caller, serving) = served(routes(16 << 10, move || *asked.lock() += 1), 1 << 20);
        // The stream holds one megabyte of the answers.
        let began = Instant::now();
        caller.write_all(&REQUEST.repeat(1000)).await.unwrap();
        assert!(serving.await.unwrap().is_err());
        assert_eq!(began.elapsed(), WRITE_TIMEOUT);
        let answered = *count.lock();
        let most = ((1 << 20) + MAX_BUFFER_BYTES) / (16 << 10) + 2;
        assert!((64..=most).contains(&answered), "{answered} of 1000, {most} at most");
    });
}

#[test]
fn an_idle_connection_is_closed() {
    run(async {
        let (mut caller, serving) = served(routes(1, || {}), 1 << 16);
        caller.write_all(REQUEST).await.unwrap();
        let mut answer = vec![0; 1 << 10];
        assert_ne!(caller.read(&mut answer).await.unwrap(), 0);
        let began = Instant::now();
        assert_eq!(caller.read(&mut answer).await.unwrap(), 0);
        assert_eq!(began.elapsed(), REQUEST_TIMEOUT);
        drop(serving.await.unwrap());
    });
}

#[test]
fn pipelined_requests_take_turns_with_those_of_other_connections() {
    run(async {
        let order = Arc::new(Mutex::new(Vec::new()));
        let connections: Vec<_> = (0..3)
            .map(|number| {
                let order = Arc::clone(&order);
                served(routes(1, move || order.lock().push(number)), 1 << 16)
            })
            .collect();
        for (mut caller, serving) in connections {
            tokio::spawn(async move {
                caller.write_all(&REQUEST.repeat(20)).await.unwrap();
                drop(serving.await);
                drop(caller);
            });
        }
        sleep(Duration::from_secs(1)).await;
        let order = order.lock();
        assert_eq!(order.len(), 60);
        for (at, number) in order.iter().enumerate() {
            let before = &order[..at];
            let of = |number: usize| before.iter().filter(|other| **other == number).count();
            // They do not all begin in the same turn.
            assert!((0..3).all(|other| of(*number) <= of(other) + 2), "{order:?}");
        }
    });
}

/// A body that goes on for ever, as the page's stream does.
struct Samples(tokio::time::Interval);

impl http_body::Body for Samples {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        std::task::ready!(self.0.poll_tick(context));
        let sample = http_body::Frame::data(bytes::Bytes::from_static(b"event: sample\n\n"));
        std::task::Poll::Ready(Some(Ok(sample)))
    }
}

#[test]
fn a_stream_that_is_read_goes_on_for_hours() {
    run(async {
        let samples = || async {
            let interval = tokio::time::interval(Duration::from_secs(1));
            axum::body::Body::new(Samples(interval)).into_response()
        };
        let routes = Router::new().route("/events", get(samples));
        let (mut caller, serving) = served(routes, 1 << 16);
        caller.write_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let began = Instant::now();
        let (mut read, mut samples) = (vec![0; 1 << 16], 0);
        while began.elapsed() < Duration::from_secs(3 * 3600) {
            let count = caller.read(&mut read).await.unwrap();
            assert_ne!(count, 0, "it ended after {:?}", began.elapsed());
            samples += read[..count].windows(13).filter(|text| text == b"event: sample").count();
        }
        assert!(samples > 3 * 3600 - 10 && !serving.is_finished(), "{samples}");
    });
}
