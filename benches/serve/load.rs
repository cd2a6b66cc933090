//! A load on a rate-limit service: one call after another on each of many HTTP/2 streams.
//!
//! ```text
//! load ADDRESS CONNECTIONS STREAMS CALLS KIND [RATE]
//! load write FOLDER
//! ```
//!
//! With a RATE, in calls a second, a call begins when its time has come, at once where that is past; without one,
//! when the call before it on its stream has ended.
//!
//! KIND is `admitted` (10,000 tenants in turn, so that their buckets admit nearly all), `tenants` (100,000 of them) or
//! `thousand`; `hot` is one tenant and `hundred` are a hundred, of the domain `generous`, whose buckets they cannot empty.
//! Prints one JSON object: calls a second, the calls' latency in microseconds, and how many were
//! denied.
//!
//! `write` leaves in a folder what a load that sends one body needs: `admitted.grpc` for a policy of the
//! domain `generous`, `denied.grpc` whose bucket is soon empty, and `cert.pem` with `key.pem` for TLS.

#![allow(
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a load measures real time and prints what it measured"
)]

#[path = "../support/calls.rs"]
mod calls;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use calls::{Failure, call, connect};
use h2::client::SendRequest;

struct Load {
    bodies: Vec<Bytes>,
    next: AtomicUsize,
    calls: usize,
    /// When the first call begins, and how long after it the next one does.
    pace: Option<(Instant, Duration)>,
}

impl Load {
    /// The next body, when its time has come, until all calls are made.
    async fn next(&self) -> Option<Bytes> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number >= self.calls {
            return None;
        }
        if let Some((first, pause)) = self.pace {
            let due = first + pause * u32::try_from(number).ok()?;
            tokio::time::sleep_until(due.into()).await;
        }
        self.bodies.get(number % self.bodies.len()).cloned()
    }
}

#[derive(Default)]
struct Told {
    latencies: Vec<Duration>,
    denied: usize,
}

fn body(domain: &str, tenant: &str, method: &str, path: &str) -> Bytes {
    calls::body(
        domain,
        &[
            ("tenant_type", "enterprise_production"),
            ("tenant", tenant),
            ("method", method),
            ("path", path),
            ("remote_address", "203.0.113.7"),
        ],
    )
}

const DOMAIN: &str = "management-api";

/// A path whose calls meet four buckets of the shipped policy.
const MEMBERS: &str = "/api/v2/organizations/org_1/members";

fn bodies(kind: &str) -> Result<Vec<Bytes>, Failure> {
    let members = |tenant: usize| body(DOMAIN, &format!("tenant-{tenant:06}"), "GET", MEMBERS);
    let generous = |tenant: usize| body("generous", &format!("tenant-{tenant:06}"), "GET", MEMBERS);
    match kind {
        "admitted" => Ok((0..10_000).map(members).collect()),
        "tenants" => Ok((0..100_000).map(members).collect()),
        "thousand" => Ok((0..1_000).map(members).collect()),
        "hot" => Ok((0..1).map(generous).collect()),
        "hundred" => Ok((0..100).map(generous).collect()),
        other => {
            Err(format!("{other} is none of admitted, tenants, thousand, hot, hundred").into())
        }
    }
}

fn write(folder: &Path) -> Result<(), Failure> {
    std::fs::write(folder.join("admitted.grpc"), body("generous", "acme", "GET", MEMBERS))?;
    let denied = body(DOMAIN, "acme", "POST", "/api/v2/keys/signing/rotate");
    std::fs::write(folder.join("denied.grpc"), denied)?;
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    std::fs::write(folder.join("cert.pem"), pair.cert.pem())?;
    std::fs::write(folder.join("key.pem"), pair.signing_key.serialize_pem())?;
    Ok(())
}

async fn ask(mut client: SendRequest<Bytes>, load: Arc<Load>) -> Result<Told, Failure> {
    let mut told = Told::default();
    while let Some(body) = load.next().await {
        let start = Instant::now();
        told.denied += usize::from(call(&mut client, body).await?);
        told.latencies.push(start.elapsed());
    }
    Ok(told)
}

async fn run(
    address: SocketAddr,
    connections: usize,
    streams: usize,
    load: Load,
) -> Result<(), Failure> {
    let load = Arc::new(load);
    let start = Instant::now();
    let mut asking = Vec::new();
    for _ in 0..connections {
        let client = connect(address).await?;
        for _ in 0..streams {
            asking.push(tokio::spawn(ask(client.clone(), Arc::clone(&load))));
        }
    }
    let mut all = Told::default();
    for task in asking {
        let told = task.await??;
        all.latencies.extend(told.latencies);
        all.denied += told.denied;
    }
    let seconds = start.elapsed().as_secs_f64();
    all.latencies.sort_unstable();
    let calls = all.latencies.len();
    let at = |per_mille: usize| {
        let place = (calls * per_mille / 1000).min(calls.saturating_sub(1));
        all.latencies.get(place).map_or(0, Duration::as_micros)
    };
    let rate = u32::try_from(calls).map_or(0.0, |calls| f64::from(calls) / seconds);
    println!(
        "{{\"calls\": {calls}, \"calls_per_second\": {rate:.0}, \"p50_us\": {}, \"p99_us\": {}, \
         \"p999_us\": {}, \"denied\": {}}}",
        at(500),
        at(990),
        at(999),
        all.denied
    );
    Ok(())
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, folder] = &arguments[..]
        && command == "write"
    {
        return write(folder.as_ref());
    }
    let [address, connections, streams, calls, kind, rate @ ..] = &arguments[..] else {
        return Err(
            "load ADDRESS CONNECTIONS STREAMS CALLS KIND [RATE], or load write FOLDER".into()
        );
    };
    let pace = match rate {
        [rate, ..] => {
            Some((Instant::now(), Duration::from_secs(1) / rate.parse::<NonZeroU32>()?.get()))
        }
        [] => None,
    };
    let calls = calls.parse()?;
    let load = Load { bodies: bodies(kind)?, next: AtomicUsize::new(0), calls, pace };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(address.parse()?, connections.parse()?, streams.parse()?, load))
}
