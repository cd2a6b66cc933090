//! `tollgate serve`.

use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser};
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use super::logging::{self, Format};
use crate::clock::{BootClock, Clock};
use crate::config;
use crate::policy::fingerprint::FingerprintKey;
use crate::reload::Live;
use crate::server::{Options, Server};
use crate::service::Service;
use crate::store::MemoryStore;
use crate::telemetry::Telemetry;

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The policy: a file, or a folder of files, one domain each.
    #[arg(
        long,
        env = "TOLLGATE_CONFIG",
        default_value = "config/management-api.yaml",
        value_name = "PATH"
    )]
    config: PathBuf,
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
    /// Threads that answer gRPC; one per core if not said.
    #[arg(long, env = "TOLLGATE_WORKERS", value_name = "COUNT")]
    workers: Option<NonZeroUsize>,
    /// The most buckets and leases kept in memory, at about 50 bytes each.
    #[arg(long, env = "TOLLGATE_MAX_KEYS", default_value = "10000000", value_name = "COUNT")]
    max_keys: NonZeroUsize,
    /// How long calls in flight may take to finish after SIGTERM, as in 10s.
    #[arg(long, env = "TOLLGATE_DRAIN", default_value = "10s", value_name = "DURATION",
          value_parser = humantime::parse_duration)]
    drain: std::time::Duration,
    /// How logs are written, to standard error.
    #[arg(long, env = "TOLLGATE_LOG", default_value = "text", value_name = "FORMAT")]
    log: Format,
    /// What is logged: error, warn, info, debug, trace, or a list of target=level.
    #[arg(long, env = "TOLLGATE_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    log_level: String,
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

    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        logging::start(self.log, &self.log_level)?;
        let sources = config::read(&self.config)?;
        let clock: Arc<dyn Clock> = Arc::new(BootClock::start());
        let store = Arc::new(MemoryStore::new(self.max_keys.get()));
        let telemetry = Arc::new(Telemetry::new(Arc::clone(&store)));
        let key = FingerprintKey::random()?;
        let live = Arc::new(Live::new(&sources, key, Arc::clone(&telemetry), clock.now())?);
        let service = Arc::new(Service::new(clock, live, store, telemetry));
        let defaults = Options::default();
        let options = Options {
            grpc: self.grpc,
            http: self.http,
            workers: self.workers.unwrap_or(defaults.workers),
            drain: self.drain,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let server = Server::bind(options).await?;
            let stop = stop_signal()?;
            let (grpc, http) = (server.grpc_address(), server.http_address());
            tracing::info!(%grpc, %http, config = %self.config.display(), "started");
            if self.log == Format::Text {
                // Nobody to read it is no reason not to serve.
                let _ = write_call_to_try(out, grpc);
            }
            server.run(service, stop).await?;
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// Completes with SIGTERM or SIGINT. The handlers are in place when this returns.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping: calls in flight finish");
    })
}

fn write_call_to_try(out: &mut dyn Write, grpc: SocketAddr) -> std::io::Result<()> {
    writeln!(
        out,
        "\nTry a call, from another terminal:\n\n  \
         cargo run --release -- query --addr {grpc} --domain management-api \\\n    \
         tenant_type=free tenant=acme method=GET path=/api/v2/users\n"
    )?;
    out.flush()
}
