//! One gRPC connection.
//!
//! On h2 itself. hyper would make a task of every call and hand it a body in parts; tonic would box the
//! call, its future and both bodies. Here all calls that have come in are accepted first and then answered
//! one after another, so that their answers leave together.

use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::coop;
use tonic::service::Routes;

use super::arriving::Arriving;
use super::bounded::{Bounded, Reading};
use super::in_flight::InFlight;
use super::tls::Identity;
use super::{call, limits, routed};
use crate::service::Service;

/// How long a new connection may take to say that it speaks TLS, where it must, and then HTTP/2.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How many calls are accepted before they are answered.
const BATCH: usize = 64;

/// Why a connection ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("it did not speak within {HANDSHAKE:?}")]
    Silent,
    #[error("it did not speak TLS: {0}")]
    Tls(#[from] std::io::Error),
    #[error(transparent)]
    Http2(#[from] h2::Error),
}

/// What a worker's calls are for.
#[derive(Clone)]
pub(super) struct Services {
    pub(super) rate_limit: Arc<Service>,
    pub(super) others: Routes,
    pub(super) in_flight: InFlight,
    pub(super) arriving: Arriving,
}

/// Where the calls of one connection go.
struct Dispatch {
    rate_limit: call::Calls,
    others: Routes,
    in_flight: InFlight,
}

impl Dispatch {
    fn of_a_connection(services: Services, reading: Reading) -> Self {
        let Services { rate_limit, others, in_flight, arriving } = services;
        let arriving = arriving.of_a_connection();
        let rate_limit =
            call::Calls { service: rate_limit, arriving, reading, in_flight: in_flight.clone() };
        Self { rate_limit, others, in_flight }
    }

    fn start(&self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        self.in_flight.note();
        if request.uri().path() == call::PATH {
            self.rate_limit.start(request.into_body(), respond);
        } else {
            let (routes, counted) = (self.others.clone(), self.in_flight.begin());
            tokio::spawn(async move {
                routed::answer(routes, request, respond).await;
                drop(counted);
            });
        }
    }
}

/// Serves a connection until it ends. Once `draining` completes it takes no more calls, and ends when
/// those it has are answered.
///
/// # Errors
/// Where the other side does not speak TLS, if it must, or HTTP/2, or stops speaking it.
pub(super) async fn serve(
    stream: TcpStream,
    tls: Option<Identity>,
    services: Services,
    draining: impl Future<Output = ()>,
) -> Result<(), ConnectionError> {
    let Some(tls) = tls else { return serve_http2(stream, services, draining).await };
    // Boxed, so that a connection in plain text does not keep the room that TLS takes.
    Box::pin(async move {
        let stream = in_time(tls.acceptor().accept(stream)).await??;
        serve_http2(stream, services, draining).await
    })
    .await
}

async fn in_time<T>(handshake: impl Future<Output = T>) -> Result<T, ConnectionError> {
    tokio::time::timeout(HANDSHAKE, handshake).await.map_err(|_| ConnectionError::Silent)
}

async fn serve_http2(
    io: impl AsyncRead + AsyncWrite + Unpin,
    services: Services,
    draining: impl Future<Output = ()>,
) -> Result<(), ConnectionError> {
    let reading = Reading::default();
    let handshake = limits::http2().handshake(Bounded::new(io, reading.clone()));
    let mut connection = in_time(handshake).await??;
    reading.keep_end_back();
    // A turn that used its budget up is told of the drain all the same.
    let mut draining = std::pin::pin!(coop::unconstrained(draining));
    let mut is_draining = false;
    let dispatch = Dispatch::of_a_connection(services, reading.clone());
    let mut accepted = Vec::new();
    let served = std::future::poll_fn(|context| {
        loop {
            let next = connection.poll_accept(context);
            let next = match next {
                Poll::Ready(Some(Ok(call))) => {
                    accepted.push(call);
                    if accepted.len() < BATCH {
                        continue;
                    }
                    Poll::Pending
                }
                next => next,
            };
            let has_accepted = !accepted.is_empty();
            for (request, respond) in accepted.drain(..) {
                dispatch.start(request, respond);
            }
            match next {
                Poll::Ready(ended) => {
                    return Poll::Ready(ended.map_or(Ok(()), |call| call.map(drop)));
                }
                // What was answered has still to go out.
                Poll::Pending if has_accepted => {}
                Poll::Pending if reading.let_end() => {}
                Poll::Pending if !is_draining && draining.as_mut().poll(context).is_ready() => {
                    is_draining = true;
                    connection.graceful_shutdown();
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    Ok(served.await?)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::clock::{BootClock, Clock};
    use crate::config::Source;
    use crate::policy::fingerprint::FingerprintKey;
    use crate::reload::Live;
    use crate::store::MemoryStore;
    use crate::telemetry::Telemetry;

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
tables: [{ name: jobs, key: [k], rows: { always: [{ concurrent: 10000, hold: 1h }] } }]";
        let policy = [Source { name: "jobs.yaml".into(), text: jobs.into() }];
        let clock = Arc::new(BootClock::start());
        let telemetry = Arc::new(Telemetry::new(Arc::clone(&store)));
        let key = FingerprintKey::fixed(7);
        let live = Arc::new(Live::new(&policy, key, Arc::clone(&telemetry), clock.now()).unwrap());
        let service = Service::new(clock, live, store, telemetry);
        Services {
            rate_limit: Arc::new(service),
            others: Routes::default(),
            in_flight: InFlight::default(),
            arriving: Arriving::default(),
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
        let literal = |(name, value): (&str, &str)| {
            let text =
                |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
            [vec![0], text(name), text(value)].concat()
        };
        let head = [(":method", "POST"), (":scheme", "http"), (":path", call::PATH)].map(literal);
        // Domain `d`, one descriptor of the one entry k=1.
        let message = b"\x0a\x01d\x12\x08\x0a\x06\x0a\x01k\x12\x011";
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let body = [&[0][..], &length, message].concat();
        [frame(1, 4, stream, &head.concat()), frame(0, 1, stream, &body)].concat()
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
                let request = Request::post(format!("http://tollgate{}", call::PATH)).body(());
                client.send_request(request.unwrap(), false).unwrap()
            };
            let (answer, _body) = call(client.clone()).await;
            assert!(answer.await.is_err());
            assert_eq!(begun.elapsed(), call::PATIENCE);
            let (answer, mut body) = call(client).await;
            body.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
            // No domain: an answer all the same.
            assert_eq!(answer.await.unwrap().headers()["grpc-status"], "3");
        });
    }
}
