mod fairness;
mod meter;

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::super::http2::{self, PATH, STALL_TIMEOUT};
use super::super::{builtin_services, connection_age};
use super::*;
use crate::clock::{BootClock, Clock};
use crate::config::Source;
use crate::live::ActivePolicies;
use crate::observe::telemetry::Telemetry;
use crate::policy::fingerprint::FingerprintKey;
use crate::policy_files;
use crate::store::MemoryStore;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that is served, by its other end. Time passes by itself wherever all wait for it.
fn run<F: Future<Output = ()>>(test: impl FnOnce(DuplexStream, Arc<MemoryStore>) -> F) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(async {
        let (caller, connection) = duplex(1 << 20);
        let store = Arc::new(MemoryStore::new(100_000));
        let services = services(Arc::clone(&store));
        tokio::spawn(serve_http2(connection, services, std::future::pending()));
        test(caller, store).await;
    });
}

fn services(store: Arc<MemoryStore>) -> Services {
    let jobs = "domain: d
tables: [{ name: jobs, key: [k], rows: { all: [{ concurrent: 10000, ttl: 1h }] } },
         { name: calls, key: [c], rows: { all: [{ per_second: 1000000 }] } }]";
    let policy = [Source { name: "jobs.yaml".into(), text: jobs.into() }];
    let clock = Arc::new(BootClock::start());
    let telemetry = Arc::new(Telemetry::new(Arc::clone(&store)));
    let key = FingerprintKey::fixed(7);
    let first = policy_files::compile(&policy, key).unwrap();
    let policies = ActivePolicies::new(first, Arc::clone(&telemetry), clock.now());
    let service = Service::in_memory(clock, Arc::new(policies), store, telemetry);
    let refusals = Refusals::new(service.telemetry().unanswered().clone());
    Services {
        refusals,
        rate_limit: service,
        others: Routes::default(),
        in_flight: InFlight::default(),
        sampler: Sampler::default(),
        http2: Arc::new(http2::config(false)),
        partial: Budget::new(http2::MAX_PARTIAL_OF_ALL),
    }
}

/// A frame of HTTP/2: its kind, flags and stream, and what it carries.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// What a caller says first: that it takes as many answers as there are.
fn begin() -> Vec<u8> {
    [PREFACE, &frame(4, 0, 0, &[]), &frame(8, 0, 0, &(1_u32 << 30).to_be_bytes())].concat()
}

/// Lets all others do what they can.
async fn rest() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// A whole call that takes a lease.
fn acquire(stream: u32) -> Vec<u8> {
    // Domain `d`, one descriptor of the one entry k=1.
    whole(stream, b"\x0a\x01d\x12\x08\x0a\x06\x0a\x01k\x12\x011")
}

/// A whole call with this message.
fn whole(stream: u32, message: &[u8]) -> Vec<u8> {
    let body = [&prefix(message.len())[..], message].concat();
    let mut parts = body.chunks(16 << 10).peekable();
    let mut frames = head(stream);
    while let Some(part) = parts.next() {
        frames.extend(frame(0, u8::from(parts.peek().is_none()), stream, part));
    }
    frames
}

/// The head of a call, whose body is to follow.
fn head(stream: u32) -> Vec<u8> {
    head_of(PATH, stream)
}

fn head_of(path: &str, stream: u32) -> Vec<u8> {
    let literal = |(name, value): (&str, &str)| {
        let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        [vec![0], text(name), text(value)].concat()
    };
    let head = [(":method", "POST"), (":scheme", "http"), (":path", path)].map(literal);
    let kind = literal(("content-type", "application/grpc"));
    frame(1, 4, stream, &[head.concat(), kind].concat())
}

/// A call's head, for a client.
fn post(path: &str) -> http::request::Builder {
    Request::post(format!("http://tollgate{path}")).header("content-type", "application/grpc")
}

/// What gRPC says before a message: that it is not compressed, and how long it is.
fn prefix(length: usize) -> [u8; 5] {
    let [a, b, c, d] = u32::try_from(length).unwrap().to_be_bytes();
    [0, a, b, c, d]
}

#[test]
fn a_connection_of_age_takes_no_more_calls_and_finishes_those_it_has() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(async {
        let (caller, connection) = duplex(1 << 20);
        let services = services(Arc::new(MemoryStore::new(100_000)));
        let age = connection_age::reached(Some(Duration::from_secs(5)));
        let served = tokio::spawn(serve_http2(connection, services, age));
        let (client, driven) = h2::client::handshake(caller).await.unwrap();
        let driven = tokio::spawn(driven);
        let request = post(PATH).body(()).unwrap();
        let mut ready = client.clone().ready().await.unwrap();
        let (response, mut body) = ready.send_request(request, false).unwrap();
        tokio::time::sleep(Duration::from_millis(3_900)).await;
        assert!(client.clone().ready().await.is_ok(), "it is not of age");
        tokio::time::sleep(Duration::from_millis(2_200)).await;
        assert!(client.clone().ready().await.is_err(), "it takes more calls");
        assert!(!served.is_finished() && !driven.is_finished());
        let question = b"\x0a\x01d\x12\x08\x0a\x06\x0a\x01c\x12\x011";
        let message = [&prefix(question.len())[..], question].concat();
        body.send_data(message.into(), true).unwrap();
        let mut answer = response.await.unwrap().into_body();
        assert!(answer.data().await.unwrap().unwrap().len() > prefix(0).len());
        drop((ready, client, answer));
        served.await.unwrap().unwrap();
        driven.await.unwrap().unwrap();
    });
}

/// The answers of other services wait for room, too, and go on when there is some.
#[test]
fn an_answer_of_another_service_is_sent_as_its_window_allows() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(async {
        let (mut caller, connection) = duplex(1 << 20);
        let mut services = services(Arc::new(MemoryStore::new(100_000)));
        let (_, health) = tonic_health::server::health_reporter();
        services.others = builtin_services::routes(health, None).unwrap();
        tokio::spawn(serve_http2(connection, services, std::future::pending()));
        let window = [&[0, 4][..], &3_u32.to_be_bytes()].concat();
        let call = [
            PREFACE,
            &frame(4, 0, 0, &window),
            &head_of("/grpc.health.v1.Health/Check", 1),
            &frame(0, 1, 1, &prefix(0)),
        ];
        caller.write_all(&call.concat()).await.unwrap();
        let mut told = vec![0; 1 << 10];
        let mut length = 0;
        for room in [0, 1, 1000] {
            if room > 0 {
                let more = u32::try_from(room).unwrap().to_be_bytes();
                caller.write_all(&frame(8, 0, 1, &more)).await.unwrap();
            }
            rest().await;
            length += caller.read(&mut told[length..]).await.unwrap();
        }
        // The trailers end the stream.
        let trailers = [1, 5, 0, 0, 0, 1];
        assert!(told[..length].windows(6).any(|bytes| bytes == trailers), "{:?}", &told[..length]);
    });
}

/// It goes on to make calls, and acknowledges nothing.
#[test]
fn a_peer_that_ignores_goaway_is_left_after_a_while() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(async {
        let (mut caller, connection) = duplex(1 << 20);
        let services = services(Arc::new(MemoryStore::new(100_000)));
        let age = tokio::time::sleep(Duration::from_secs(5));
        let served = tokio::spawn(serve_http2(connection, services, age));
        let begun = Instant::now();
        caller.write_all(&begin()).await.unwrap();
        for stream in (1..).step_by(2) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if caller.write_all(&head(stream)).await.is_err() {
                break;
            }
        }
        served.await.unwrap().unwrap();
        assert_eq!(begun.elapsed().as_secs(), 5 + http2::DRAIN_TIMEOUT.as_secs() + 1);
    });
}

/// Calls and their resets that are all there before anything is read, as after a stall: more than one
/// turn brings, so that those that bring the calls do not bring their resets.
#[test]
fn leases_of_calls_that_were_given_up_before_they_were_read_are_given_back() {
    run(async |mut caller, store| {
        let streams = || (1..).step_by(2).take(600);
        let calls = streams().flat_map(acquire);
        let resets = streams().flat_map(|stream| frame(3, 0, stream, &8_u32.to_be_bytes()));
        let begin = begin();
        let all: Vec<u8> = begin.into_iter().chain(calls).chain(resets).collect();
        assert!(all.len() > 4 << 14);
        caller.write_all(&all).await.unwrap();
        caller.shutdown().await.unwrap();
        caller.read_to_end(&mut Vec::new()).await.unwrap();
        rest().await;
        assert_eq!(store.lease_count(), 0);
    });
}

#[test]
fn a_lease_whose_call_is_not_given_up_is_its_callers() {
    run(async |mut caller, store| {
        let begin = begin();
        let calls = (1..).step_by(2).take(600).flat_map(acquire);
        caller.write_all(&begin.into_iter().chain(calls).collect::<Vec<_>>()).await.unwrap();
        rest().await;
        assert_eq!(store.lease_count(), 600);
    });
}

/// How long it takes until the other end closes.
async fn seconds_until_closed(mut caller: DuplexStream) -> u64 {
    let begun = tokio::time::Instant::now();
    caller.read_to_end(&mut Vec::new()).await.unwrap();
    begun.elapsed().as_secs()
}

#[test]
fn a_preface_that_does_not_come_or_stops_midway_is_not_waited_for() {
    for said in [0, 1, PREFACE.len() - 1] {
        run(async |mut caller, _| {
            caller.write_all(&PREFACE[..said]).await.unwrap();
            assert_eq!(seconds_until_closed(caller).await, HANDSHAKE.as_secs(), "{said}");
        });
    }
}

#[test]
fn one_byte_now_and_then_is_no_preface_either() {
    run(async |caller, _| {
        let (mut read, mut write) = tokio::io::split(caller);
        let trickle = async {
            for byte in PREFACE {
                tokio::time::sleep(Duration::from_secs(1)).await;
                write.write_all(&[*byte]).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let mut told = Vec::new();
        tokio::select! {
            () = trickle => {}
            closed = read.read_to_end(&mut told) => assert!(closed.is_ok()),
        }
    });
}

#[test]
fn a_call_whose_body_does_not_end_is_given_up_and_its_connection_goes_on() {
    run(async |caller, _| {
        let (client, connection) = h2::client::handshake(caller).await.unwrap();
        tokio::spawn(connection);
        let begun = tokio::time::Instant::now();
        let call = |client: h2::client::SendRequest<Bytes>| async move {
            let mut client = client.ready().await.unwrap();
            let request = post(PATH).body(());
            client.send_request(request.unwrap(), false).unwrap()
        };
        let (answer, _body) = call(client.clone()).await;
        assert!(answer.await.is_err());
        assert_eq!(begun.elapsed(), STALL_TIMEOUT);
        let (answer, mut body) = call(client).await;
        body.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
        // No domain: an answer all the same.
        assert_eq!(answer.await.unwrap().headers()["grpc-status"], "3");
    });
}

/// Whatever a page in a browser can send without asking first whether it may is none, and changes nothing.
#[test]
fn what_is_not_posted_as_grpc_is_refused_whatever_its_path_and_its_connection_goes_on() {
    run(async |caller, store| {
        let (client, connection) = h2::client::handshake(caller).await.unwrap();
        tokio::spawn(connection);
        let question = b"\x0a\x01d\x12\x08\x0a\x06\x0a\x01k\x12\x011";
        let message = Bytes::from([&prefix(question.len())[..], question].concat());
        let ask = async |request: http::request::Builder| {
            let mut client = client.clone().ready().await.unwrap();
            let request = request.body(()).unwrap();
            let (answer, mut body) = client.send_request(request, false).unwrap();
            // It may be refused before it was sent.
            let _ = body.send_data(message.clone(), true);
            answer.await.unwrap()
        };
        for path in [PATH, "/grpc.health.v1.Health/Check", "/nowhere", "/"] {
            for method in ["GET", "HEAD", "PUT", "OPTIONS"] {
                let refused = ask(post(path).method(method)).await;
                assert_eq!(
                    (refused.status().as_u16(), &refused.headers()["allow"]),
                    (405, &"POST".parse().unwrap())
                );
                let text = refused.into_body().data().await.transpose().unwrap();
                assert_eq!(text.is_none(), method == "HEAD", "{text:?}");
            }
            let kinds = ["text/plain", "application/x-www-form-urlencoded", "application/grpc-web"];
            for kind in kinds {
                let refused =
                    ask(Request::post(format!("http://tollgate{path}"))
                        .header("content-type", kind))
                    .await;
                assert_eq!(
                    (refused.status().as_u16(), &refused.headers()["accept"]),
                    (415, &"application/grpc".parse().unwrap())
                );
            }
            let refused = ask(Request::post(format!("http://tollgate{path}"))).await;
            assert_eq!(refused.status(), 415, "without any");
        }
        assert_eq!(store.lease_count(), 0);
        let taken = ask(Request::post(format!("http://tollgate{}", PATH))
            .header("content-type", "application/grpc+proto"))
        .await;
        assert_eq!(taken.status(), 200);
        rest().await;
        assert_eq!(store.lease_count(), 1);
    });
}
