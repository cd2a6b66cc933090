//! The callers of benches/soak.sh, each for so many seconds:
//!
//! ```text
//! soak KIND ADDRESS SECONDS
//! ```
//!
//! KIND is one of
//!
//! - `honest`: a tenant after another asks six times for what it may have five times. Every call has to be
//!   answered, and the first five admitted. `exact` has the sixth denied as well, which holds while the store
//!   forgets nothing.
//! - `flood`: each call is of an address that was never seen before.
//! - `resets`: calls that are reset as soon as they are begun.
//! - `unread`: calls whose answers have no room; they are held for a while, and left.
//! - `unread-http`: the same at the HTTP address, with requests one behind another.
//!
//! The first two fail, and say why, where an answer is not right. The others do harm, and end well whatever
//! becomes of them.

#![allow(
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a load takes real time and prints what it found"
)]

#[path = "../support/calls.rs"]
mod calls;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use calls::{Failure, body, call, connect, connect_as, request};
use h2::Reason;
use h2::client::{Builder, SendRequest};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const DOMAIN: &str = "soak";

/// What a tenant may have at once; it gains one in five minutes.
const BUDGET: u32 = 5;

/// A call that takes longer was not answered: Envoy gave up long ago.
const PATIENCE: Duration = Duration::from_secs(2);

/// For how long callers who do not read stay.
const STAY: Duration = Duration::from_secs(20);

/// How many of each sort there are at a time, where one after another would do too little.
const TOGETHER: usize = 4;

/// A connection that is opened anew when the one before has become too old.
struct Caller {
    address: SocketAddr,
    client: Option<SendRequest<Bytes>>,
    /// Calls that went out when the server had already said that it closes the connection. It says that it did not
    /// process them, so that they are made again.
    crossed: u32,
}

/// Whether a call was not processed, since it crossed the end of a connection that had become too old (RFC 9113, 6.8).
fn is_crossed(error: &Failure) -> bool {
    let error = error.downcast_ref::<h2::Error>();
    error.is_some_and(|error| error.is_go_away() && error.reason() == Some(Reason::NO_ERROR))
}

impl Caller {
    const fn of(address: SocketAddr) -> Self {
        Self { address, client: None, crossed: 0 }
    }

    /// A connection that takes calls.
    async fn client(&mut self) -> Result<SendRequest<Bytes>, Failure> {
        if let Some(client) = self.client.take()
            && let Ok(client) = client.ready().await
        {
            return Ok(self.client.insert(client).clone());
        }
        Ok(self.client.insert(connect(self.address).await?).clone())
    }

    async fn ask(&mut self, body: Bytes) -> Result<bool, Failure> {
        let mut client = self.client().await?;
        let answer = tokio::time::timeout(PATIENCE, call(&mut client, body.clone())).await?;
        if answer.as_ref().err().is_some_and(is_crossed) {
            self.crossed += 1;
            let client = self.client.insert(connect(self.address).await?);
            return tokio::time::timeout(PATIENCE, call(client, body)).await?;
        }
        answer
    }
}

async fn honest(address: SocketAddr, end: Instant, is_exact: bool) -> Result<String, Failure> {
    let mut caller = Caller::of(address);
    let (mut tenants, mut too_many, mut longest) = (0_u32, 0_u32, Duration::ZERO);
    while Instant::now() < end {
        let name = format!("tenant-{tenants}");
        for number in 0..=BUDGET {
            let began = Instant::now();
            let answer = caller.ask(body(DOMAIN, &[("tenant", &name)])).await;
            let which = || format!("call {number} of {name}");
            let is_denied = answer.map_err(|error| format!("{}: {error}", which()))?;
            longest = longest.max(began.elapsed());
            too_many += u32::from(number == BUDGET && !is_denied);
            if number < BUDGET && is_denied {
                return Err(format!("{} is denied", which()).into());
            }
            if number == BUDGET && !is_denied && is_exact {
                return Err(format!("{} is admitted", which()).into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tenants += 1;
    }
    let crossed = caller.crossed;
    Ok(format!(
        "{tenants} tenants, {too_many} of them one call too many, {longest:?} at most, {crossed} calls made again"
    ))
}

/// About 1,000 a second.
async fn flood(address: SocketAddr, end: Instant, first: u32) -> Result<u32, Failure> {
    let mut caller = Caller::of(address);
    let mut next = first;
    while Instant::now() < end {
        let from = Ipv4Addr::from(next).to_string();
        if caller.ask(body(DOMAIN, &[("remote_address", &from)])).await? {
            return Err(format!("{from} is denied").into());
        }
        next = next.wrapping_add(1);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(next - first)
}

/// As fast as the server reads.
async fn resets(address: SocketAddr, end: Instant) -> u32 {
    let mut caller = Caller::of(address);
    let mut count = 0;
    while Instant::now() < end {
        for _ in 0..50 {
            let Ok(mut client) = caller.client().await else { break };
            let Ok(request) = request() else { break };
            let Ok((_answer, mut stream)) = client.send_request(request, false) else { break };
            stream.send_reset(Reason::CANCEL);
            count += 1;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    count
}

async fn unread(address: SocketAddr, end: Instant) -> Result<u32, Failure> {
    let mut count = 0;
    while Instant::now() < end {
        let connected = connect_as(address, Builder::new().initial_window_size(0)).await;
        let Ok(client) = connected else {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        let mut waiting = Vec::new();
        for number in 0..100 {
            let Ok(mut client) = client.clone().ready().await else { break };
            let Ok((answer, mut stream)) = client.send_request(request()?, false) else { break };
            let _ =
                stream.send_data(body(DOMAIN, &[("tenant", &format!("unread-{number}"))]), true);
            waiting.push((answer, stream));
            count += 1;
        }
        tokio::time::sleep(STAY).await;
    }
    Ok(count)
}

async fn unread_http(address: SocketAddr, end: Instant) -> u32 {
    let mut count = 0;
    while Instant::now() < end {
        let asked = "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(64);
        if let Ok(mut stream) = TcpStream::connect(address).await {
            // The rest is cut off when nobody reads at the other end either.
            let _ = tokio::time::timeout(STAY, stream.write_all(asked.as_bytes())).await;
            tokio::time::sleep(STAY).await;
            count += 1;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    count
}

async fn together(kind: &str, address: SocketAddr, end: Instant) -> Result<u32, Failure> {
    let mut callers = JoinSet::<Result<u32, Failure>>::new();
    for number in 0..TOGETHER {
        // Each has a part of all addresses for itself.
        let first = u32::try_from(number)? << 28;
        match kind {
            "flood" => callers.spawn(flood(address, end, first)),
            "resets" => callers.spawn(async move { Ok(resets(address, end).await) }),
            "unread" => callers.spawn(unread(address, end)),
            "unread-http" => callers.spawn(async move { Ok(unread_http(address, end).await) }),
            other => return Err(format!("{other} is no kind of caller").into()),
        };
    }
    let mut count = 0;
    while let Some(ended) = callers.join_next().await {
        match ended? {
            Ok(more) => count += more,
            Err(error) if kind == "flood" => return Err(error),
            // The server need not bear with this one.
            Err(_) => {}
        }
    }
    Ok(count)
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, address, seconds] = &arguments[..] else {
        return Err("soak KIND ADDRESS SECONDS".into());
    };
    let (address, seconds) = (address.parse()?, Duration::from_secs(seconds.parse()?));
    let end = Instant::now() + seconds;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let told = runtime.block_on(async {
        match &**kind {
            "honest" => honest(address, end, false).await,
            "exact" => honest(address, end, true).await,
            other => together(other, address, end).await.map(|count| format!("{count} in all")),
        }
    });
    println!("{kind}: {}", told?);
    Ok(())
}
