//! Loads: requests over HTTP/1.1, each when its time has come, on connections that are kept.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::processes::Failure;

/// How many requests of a load may run at a time, so that a slow answer delays no other request.
const CONNECTIONS: usize = 4;

/// The requests of one tenant to one Envoy.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) edge: SocketAddr,
    pub(crate) tenant: String,
    pub(crate) kind: &'static str,
    pub(crate) path: &'static str,
    /// Until when, in seconds since the start, and how many a second.
    pub(crate) steps: Vec<(f64, f64)>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    /// When the answer came, in seconds since the start.
    pub(crate) at: f64,
    pub(crate) is_admitted: bool,
}

/// When the requests of these steps are due, in seconds since the start.
fn due(steps: &[(f64, f64)]) -> Vec<f64> {
    let (mut at, mut all) = (0.0, Vec::new());
    for (until, rate) in steps {
        while at < *until {
            if *rate == 0.0 {
                at = *until;
                break;
            }
            all.push(at);
            at += 1.0 / rate;
        }
    }
    all
}

impl Load {
    /// Makes the requests. Ends early, with what it has, if the Envoy ends.
    pub(crate) async fn run(self, start: Instant) -> Vec<Answer> {
        let request = format!(
            "GET {} HTTP/1.1\r\nhost: bench\r\nx-tenant: {}\r\nx-tenant-type: {}\r\n\r\n",
            self.path, self.tenant, self.kind
        );
        let (request, due) = (Arc::new(request), Arc::new(due(&self.steps)));
        let next = Arc::new(AtomicUsize::new(0));
        let mut connections = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (request, due, next) = (Arc::clone(&request), Arc::clone(&due), Arc::clone(&next));
            connections.spawn(async move {
                let mut answers = Vec::new();
                let Ok(mut connection) = Connection::open(self.edge).await else { return answers };
                while let Some(due) = due.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let due = start + Duration::from_secs_f64(*due);
                    tokio::time::sleep_until(due.into()).await;
                    let Ok(status) = connection.call(request.as_bytes()).await else { break };
                    assert!([200, 429].contains(&status), "an Envoy answered {status}");
                    let at = start.elapsed().as_secs_f64();
                    answers.push(Answer { at, is_admitted: status == 200 });
                }
                answers
            });
        }
        let mut answers: Vec<_> = connections.join_all().await.into_iter().flatten().collect();
        answers.sort_by(|a, b| a.at.total_cmp(&b.at));
        answers
    }
}

/// Sends one request of each tenant, at a constant rate.
pub(crate) async fn sweep(
    edge: SocketAddr,
    tenants: usize,
    per_second: f64,
) -> Result<(), Failure> {
    let start = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let mut connections = JoinSet::<Result<(), Failure>>::new();
    for _ in 0..CONNECTIONS {
        let next = Arc::clone(&next);
        connections.spawn(async move {
            let mut connection = Connection::open(edge).await?;
            loop {
                let tenant = next.fetch_add(1, Ordering::Relaxed);
                if tenant >= tenants {
                    return Ok(());
                }
                let due = Duration::from_secs_f64(f64::from(u32::try_from(tenant)?) / per_second);
                tokio::time::sleep_until((start + due).into()).await;
                let request = format!(
                    "GET / HTTP/1.1\r\nhost: bench\r\nx-tenant: tenant-{tenant}\r\nx-tenant-type: plain\r\n\r\n"
                );
                connection.call(request.as_bytes()).await?;
            }
        });
    }
    connections.join_all().await.into_iter().collect()
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    async fn open(edge: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(edge).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// The status of an answer, whose body is read.
    async fn call(&mut self, request: &[u8]) -> std::io::Result<u16> {
        self.0.write_all(request).await?;
        let (mut status, mut length) = (0, 0);
        let mut line = String::new();
        loop {
            line.clear();
            if self.0.read_line(&mut line).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let text = line.trim_end();
            if text.is_empty() {
                break;
            }
            if status == 0 {
                status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
            }
            if let Some(value) = text.strip_prefix("content-length: ") {
                length = value.parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok(status)
    }
}
