//! `tollgate serve`.

use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::logging::{self, Filter, Format};
use super::{Failure, PolicyPath};
use crate::clock::{BootClock, Clock, Timestamp};
use crate::config;
use crate::policy::Policy;
use crate::policy::fingerprint::FingerprintKey;
use crate::policy::table::Rows;
use crate::reload::Live;
use crate::server::tls::{Identity, TlsError};
use crate::server::{Options, Server, files};
use crate::service::Service;
use crate::snapshot::{SnapshotFile, Writer};
use crate::store::MemoryStore;
use crate::telemetry::Telemetry;

#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    policy: PolicyPath,
    /// Where Envoy asks, over gRPC. Port 0 takes a free one.
    #[arg(
        long,
        env = "TOLLGATE_GRPC",
        default_value = "127.0.0.1:8081",
        value_name = "ADDRESS:PORT"
    )]
    grpc: SocketAddr,
    /// Health, metrics and the policy in force, over HTTP. Port 0 takes a free one.
    #[arg(
        long,
        env = "TOLLGATE_HTTP",
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS:PORT"
    )]
    http: SocketAddr,
    /// The certificate with which gRPC is served over TLS, and those that vouch for it, in PEM. Without it,
    /// gRPC is plain text.
    #[arg(long, env = "TOLLGATE_GRPC_TLS_CERT", value_name = "FILE", requires = "grpc_tls_key")]
    grpc_tls_cert: Option<PathBuf>,
    /// The certificate's key, in PEM.
    #[arg(long, env = "TOLLGATE_GRPC_TLS_KEY", value_name = "FILE", requires = "grpc_tls_cert")]
    grpc_tls_key: Option<PathBuf>,
    /// Threads that answer gRPC; one per core if not said.
    #[arg(long, env = "TOLLGATE_WORKERS", value_name = "COUNT")]
    workers: Option<NonZeroUsize>,
    /// The most gRPC connections open at a time, as far as the limit on open files allows; more are closed
    /// at once.
    #[arg(long, env = "TOLLGATE_MAX_CONNECTIONS", default_value = "10000", value_name = "COUNT")]
    max_connections: NonZeroUsize,
    /// The most keys kept in memory: buckets, at about 40 bytes each, and leases, at about 180.
    #[arg(
        long,
        env = "TOLLGATE_MAX_KEYS",
        default_value = "10000000",
        value_name = "COUNT",
        value_parser = clap::value_parser!(u64).range(64..)
    )]
    max_keys: u64,
    /// How long calls in flight may take to finish after SIGTERM, as in 10s.
    #[arg(long, env = "TOLLGATE_DRAIN", default_value = "10s", value_name = "DURATION",
          value_parser = humantime::parse_duration)]
    drain: Duration,
    /// Where the state of buckets and leases is kept over a restart: a file that is written now and then and
    /// at the end, and restored at the start. Without it, a restart makes every bucket full.
    #[arg(long, env = "TOLLGATE_SNAPSHOT", value_name = "PATH")]
    snapshot: Option<PathBuf>,
    /// How often that file is written, as in 10s; 1s at least. What was decided since the last time is lost
    /// when the process is killed.
    #[arg(long, env = "TOLLGATE_SNAPSHOT_INTERVAL", default_value = "10s", value_name = "DURATION",
          value_parser = interval)]
    snapshot_interval: Duration,
    /// How logs are written, to standard error.
    #[arg(long, env = "TOLLGATE_LOG", default_value = "text", value_name = "FORMAT")]
    log: Format,
    /// What is logged: error, warn, info, debug, or a list of target=level.
    #[arg(long, env = "TOLLGATE_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    log_level: Filter,
}

/// Lets the arguments be parsed where there is no command line for them.
#[derive(Debug, Parser)]
struct Alone {
    #[command(flatten)]
    serve: Serve,
}

impl Serve {
    /// The defaults, as the environment changes them.
    pub(super) fn from_environment() -> Self {
        Alone::parse_from(["tollgate"]).serve
    }

    fn tls(&self) -> Result<Option<Identity>, TlsError> {
        let pair = self.grpc_tls_cert.as_deref().zip(self.grpc_tls_key.as_deref());
        pair.map(|(certificate, key)| Identity::read(certificate, key)).transpose()
    }

    /// The store as it was, with the key of its buckets' names, or an empty one and a new key.
    fn state(
        &self,
        file: Option<&SnapshotFile>,
        now: Timestamp,
    ) -> Result<(MemoryStore, FingerprintKey), Failure> {
        let most_keys = usize::try_from(self.max_keys)?;
        match file.and_then(|file| file.restore(most_keys, now)) {
            Some(restored) => Ok((restored.store, restored.key)),
            None => Ok((MemoryStore::new(most_keys), FingerprintKey::random()?)),
        }
    }

    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        logging::start(self.log, &self.log_level)?;
        let sources = config::read(&self.policy.config)?;
        let clock: Arc<dyn Clock> = Arc::new(BootClock::start());
        let file = self.snapshot.clone().map(SnapshotFile::new).transpose()?;
        let (store, key) = self.state(file.as_ref(), clock.now())?;
        let store = Arc::new(store);
        let telemetry = Arc::new(Telemetry::new(Arc::clone(&store)));
        let live = Arc::new(Live::new(&sources, key, Arc::clone(&telemetry), clock.now())?);
        let example = live.load().policies().first().and_then(|policy| example(policy));
        let writer = file.map(|file| Writer {
            file,
            store: Arc::clone(&store),
            key,
            clock: Arc::clone(&clock),
            counters: telemetry.snapshots().clone(),
        });
        let service = Arc::new(Service::new(clock, live, store, telemetry));
        let defaults = Options::default();
        let options = Options {
            grpc: self.grpc,
            http: self.http,
            tls: self.tls()?,
            workers: self.workers.unwrap_or(defaults.workers),
            most_connections: files::room_for(self.max_connections.get()),
            drain: self.drain,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let server = Server::bind(options).await?;
            let signals = signals()?;
            let (grpc, http) = (server.grpc_address(), server.http_address());
            tracing::info!(%grpc, %http, config = %self.policy.config.display(), "started");
            // `query` speaks plain text.
            if self.log == Format::Text
                && self.grpc_tls_cert.is_none()
                && let Some(policy) = example
            {
                // Nobody to read it is no reason not to serve.
                let _ = write_call_to_try(out, grpc, &policy);
            }
            let writing = writer.map(|writer| writer.start(self.snapshot_interval)).transpose()?;
            let ended =
                server.run(service, received(signals.clone(), 1), received(signals, 2)).await;
            if let Some(writing) = writing {
                writing.finish();
            }
            ended?;
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// Less often than once a second, so that the disk has time for others.
fn interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(interval) if interval >= Duration::from_secs(1) => Ok(interval),
        Ok(_) => Err("at least 1s".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Counts SIGTERM and SIGINT from now on.
fn signals() -> std::io::Result<watch::Receiver<u32>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (count, counted) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            count.send_modify(|count| *count += 1);
            tracing::info!(signal = name, "stopping: calls in flight finish");
        }
    });
    Ok(counted)
}

/// Completes with the signal of that number.
async fn received(mut signals: watch::Receiver<u32>, number: u32) {
    if signals.wait_for(|count| *count >= number).await.is_err() {
        std::future::pending().await
    }
}

/// An entry for all that the policy's first table asks about.
fn example(policy: &Policy) -> Option<String> {
    let table = policy.tables().first()?;
    let keys = policy.keys();
    let mut entries = vec![format!("--domain {}", policy.domain())];
    if let Rows::Selected { by, .. } = table.rows() {
        let row = table.rows().iter().min_by_key(|row| row.id())?;
        entries.push(format!("{}={}", keys.name(*by), row.name()));
    }
    let names = policy.key_set(table.key())?.names(keys);
    entries.extend(names.iter().map(|name| format!("{name}=acme")));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.= ".contains(c);
    Some(entries.join(" ")).filter(|entries| entries.chars().all(is_plain))
}

fn write_call_to_try(out: &mut dyn Write, grpc: SocketAddr, entries: &str) -> std::io::Result<()> {
    writeln!(
        out,
        "\nTry a call, from another terminal:\n\n  \
         cargo run --release -- query --addr {grpc} {entries}\n"
    )?;
    out.flush()
}
