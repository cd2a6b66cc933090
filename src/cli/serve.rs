//! `tollgate serve`.

use std::io::{Write, stdout};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::reread;
use super::logging::{Filter, Format, Log};
use super::output::write_in_background;
use super::tls::{GrpcTls, HttpTls, Renewal};
use super::values::{Age, Switch, age, duration, interval, prefix, ratio, target};
use super::{Failure, PolicyPath};
use crate::admin::{Controls, HostName, Token};
use crate::clock::{BootClock, Clock, Timestamp};
use crate::config;
use crate::file;
use crate::listener::Address;
use crate::live::ActivePolicies;
use crate::observe::telemetry::Telemetry;
use crate::observe::traces::{Collector, Tracer};
use crate::policy::Policy;
use crate::policy::fingerprint::FingerprintKey;
use crate::policy::table::Rows;
use crate::policy_files::{self, PolicyFiles, Reloader};
use crate::reading::{self, caught};
use crate::server::{Options, Server, open_files};
use crate::service::{Core, Stores};
use crate::shared::target::{Target, TargetError};
use crate::shared::{self, Settings};
use crate::snapshot::{SnapshotFile, Writer};
use crate::store::MemoryStore;

#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    policy: PolicyPath,
    /// Reload the policy and the TLS certificates when their files change. SIGHUP reloads them in either case.
    #[arg(
        long,
        env = "TOLLGATE_WATCH",
        default_value = "on",
        value_name = "on|off",
        hide_possible_values = true
    )]
    watch: Switch,
    /// Listen address of the gRPC service that Envoy calls. Port 0 picks a free port; `unix:PATH` is a Unix
    /// domain socket.
    #[arg(
        long,
        env = "TOLLGATE_GRPC",
        default_value = "127.0.0.1:8081",
        value_name = "ADDRESS:PORT|unix:PATH"
    )]
    grpc: Address,
    /// Listen address of the HTTP side: health, metrics, the live page and the admin API. Port 0 picks a free
    /// port; `unix:PATH` is a Unix domain socket.
    #[arg(
        long,
        env = "TOLLGATE_HTTP",
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS:PORT|unix:PATH"
    )]
    http: Address,
    /// Token that an HTTP call must send to change anything, as `Authorization: Bearer TOKEN`; at least 16
    /// characters. Without a token, only a client certificate permits such calls.
    // Whatever is wrong with it is told later: clap would repeat it.
    #[arg(long, env = "TOLLGATE_ADMIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
    /// File that contains the admin token.
    #[arg(
        long,
        env = "TOLLGATE_ADMIN_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "admin_token"
    )]
    admin_token_file: Option<PathBuf>,
    /// Let every caller of the HTTP side use `/json`, which charges buckets and takes leases. When off, `/json`
    /// requires the admin token or a client certificate.
    #[arg(
        long,
        env = "TOLLGATE_HTTP_JSON",
        default_value = "off",
        value_name = "on|off",
        hide_possible_values = true
    )]
    http_json: Switch,
    /// Host name that HTTP requests may use in `Host`, besides IP addresses, `localhost` and the names in the
    /// server's certificate. Repeatable, or separated by commas. `/healthz`, `/readyz` and `/metrics` accept
    /// any name.
    #[arg(long, env = "TOLLGATE_HTTP_HOST", value_name = "NAME", value_delimiter = ',')]
    http_host: Vec<HostName>,
    #[command(flatten)]
    grpc_tls: GrpcTls,
    #[command(flatten)]
    http_tls: HttpTls,
    /// Number of threads that serve gRPC; one per core if omitted.
    #[arg(long, env = "TOLLGATE_WORKERS", value_name = "COUNT")]
    workers: Option<NonZeroUsize>,
    /// Maximum number of open gRPC connections, lowered to what the limit on open files allows. Connections
    /// beyond it are closed at once.
    #[arg(long, env = "TOLLGATE_MAX_CONNECTIONS", default_value = "10000", value_name = "COUNT")]
    max_connections: NonZeroUsize,
    /// Maximum number of token buckets in memory, at about 40 bytes each, and of leases, at about 180 bytes
    /// each; at least 10000 leases are allowed.
    #[arg(
        long,
        env = "TOLLGATE_MAX_KEYS",
        default_value = "10000000",
        value_name = "COUNT",
        value_parser = clap::value_parser!(u64).range(64..)
    )]
    max_keys: u64,
    /// Where buckets are kept: `memory`, or a Redis or Valkey that replicas share: `redis://HOST:PORT`,
    /// `rediss://USER:PASSWORD@HOST:PORT/DATABASE` over TLS, `redis://HOST:PORT,HOST:PORT` for a cluster, or
    /// `redis+sentinel://HOST:PORT,HOST:PORT/NAME`.
    // Whatever is wrong with it is told later: clap would repeat it, and the password in it.
    #[arg(long, env = "TOLLGATE_STORE", default_value = "memory", value_name = "memory|URL",
          hide_env_values = true, value_parser = target)]
    store: Result<Target, TargetError>,
    /// User name for the shared store, if the URL has none.
    #[arg(long, env = "TOLLGATE_STORE_USER", value_name = "NAME")]
    store_user: Option<String>,
    /// File that contains the password for the shared store, if the URL has none.
    #[arg(long, env = "TOLLGATE_STORE_PASSWORD_FILE", value_name = "FILE")]
    store_password_file: Option<PathBuf>,
    /// CA certificates that verify the shared store over TLS, in PEM; the system's if omitted.
    #[arg(long, env = "TOLLGATE_STORE_TLS_CA", value_name = "FILE")]
    store_tls_ca: Option<PathBuf>,
    /// Prefix of every key in the shared store.
    #[arg(long, env = "TOLLGATE_STORE_PREFIX", default_value = "tollgate", value_name = "TEXT",
          value_parser = prefix)]
    store_prefix: String,
    /// How long a request waits for the shared store. Keep it below the timeout of Envoy's rate-limit filter.
    #[arg(long, env = "TOLLGATE_STORE_TIMEOUT", default_value = "50ms", value_name = "DURATION",
          value_parser = duration)]
    store_timeout: std::time::Duration,
    /// Number of replicas that share the store. While the store is unavailable, each replica admits its share
    /// of every bucket.
    #[arg(long, env = "TOLLGATE_REPLICAS", default_value = "1", value_name = "COUNT")]
    replicas: NonZeroU32,
    /// Age at which a gRPC connection is closed gracefully, plus or minus a fifth. Envoy then opens another,
    /// which may reach another replica. `off` sets no maximum.
    #[arg(long, env = "TOLLGATE_MAX_CONNECTION_AGE", default_value = "5m", value_name = "DURATION|off",
          value_parser = age)]
    max_connection_age: Age,
    /// After SIGTERM, keep accepting calls and connections for this long while `/readyz` and gRPC health report
    /// not ready. Must exceed the interval of your load balancer's health check.
    #[arg(long, env = "TOLLGATE_DRAIN_DELAY", default_value = "5s", value_name = "DURATION",
          value_parser = duration)]
    drain_delay: Duration,
    /// How long calls in flight may take to finish after the drain delay.
    #[arg(long, env = "TOLLGATE_DRAIN_TIMEOUT", default_value = "10s", value_name = "DURATION",
          value_parser = duration)]
    drain_timeout: Duration,
    /// File that keeps buckets and leases across restarts. It is written at every snapshot interval and at
    /// exit, and restored at the start. Without it, every bucket is full after a restart.
    #[arg(long, env = "TOLLGATE_SNAPSHOT", value_name = "PATH")]
    snapshot: Option<PathBuf>,
    /// How often the snapshot is written; at least 1s. Decisions since the last snapshot are lost if the
    /// process is killed.
    #[arg(long, env = "TOLLGATE_SNAPSHOT_INTERVAL", default_value = "10s", value_name = "DURATION",
          value_parser = interval)]
    snapshot_interval: Duration,
    /// Format of the log, which goes to standard error.
    #[arg(long, env = "TOLLGATE_LOG_FORMAT", default_value = "text", value_name = "text|json")]
    log_format: Format,
    /// What to log: off, error, warn, info, debug, or a list of target=level.
    #[arg(long, env = "TOLLGATE_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    log_level: Filter,
    /// Log denied calls, at most this many per second, with the domain, table and row, the values that name the
    /// bucket, and the wait. Without it, none is logged.
    #[arg(long, env = "TOLLGATE_LOG_DENIED_PER_SECOND", value_name = "COUNT")]
    log_denied_per_second: Option<NonZeroU32>,
    /// Send spans of calls to this collector, by OTLP over gRPC: `http://HOST:4317`, or `https://HOST:4317` for
    /// TLS. Without it, no call is traced.
    #[arg(long, env = "TOLLGATE_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// CA certificates that verify the collector over TLS, in PEM; the system's if omitted.
    #[arg(long, env = "TOLLGATE_OTLP_TLS_CA", value_name = "FILE")]
    otlp_tls_ca: Option<PathBuf>,
    /// Share of the calls without a `traceparent` that is traced: a number from 0 to 1. Other calls follow
    /// their `traceparent`.
    #[arg(long, env = "TOLLGATE_TRACE_SAMPLE", default_value = "0", value_name = "RATIO",
          value_parser = ratio)]
    trace_sample: f64,
}

/// Lets the arguments be parsed where there is no command line for them.
#[derive(Debug, Parser)]
struct StandaloneServe {
    #[command(flatten)]
    serve: Serve,
}

impl Serve {
    /// The defaults, as the environment changes them.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn from_environment() -> Result<Self, clap::Error> {
        StandaloneServe::try_parse_from(["tollgate"]).map(|standalone| standalone.serve)
    }

    /// What calls that change something have to bring, if they are to be taken.
    fn admin_token(&self) -> Result<Option<Token>, String> {
        let (text, flag) = match (&self.admin_token, &self.admin_token_file) {
            (Some(text), _) => (text.clone(), "--admin-token".to_owned()),
            (None, None) => return Ok(None),
            (None, Some(path)) => {
                let flag = format!("--admin-token-file {}", path.display());
                let text = file::read_text(path, file::MAX_SECRET)
                    .map_err(|error| format!("{flag}: {error}"))?;
                (text.trim_end().to_owned(), flag)
            }
        };
        text.parse().map(Some).map_err(|error| format!("{flag}: {error}"))
    }

    fn target(&self) -> Result<Target, String> {
        self.store.clone().map_err(|error| format!("--store: {error}"))
    }

    /// The store that replicas share, if there is one.
    fn shared(
        &self,
        local: &Arc<MemoryStore>,
        clock: &Arc<dyn Clock>,
        telemetry: &Arc<Telemetry>,
    ) -> Result<Option<Arc<shared::Store>>, Failure> {
        let target = self.target()?;
        if target.is_memory() {
            return Ok(None);
        }
        let read = |path: &PathBuf| {
            let password = file::read_text(path, file::MAX_SECRET);
            password.map_err(|error| format!("--store-password-file {}: {error}", path.display()))
        };
        let password = self.store_password_file.as_ref().map(read).transpose()?;
        let password = password.as_deref().map(str::trim_end);
        let settings = Settings {
            target: target.with_credentials(self.store_user.as_deref(), password),
            root: self.store_tls_ca.clone(),
            prefix: self.store_prefix.clone(),
            timeout: self.store_timeout,
            replicas: self.replicas,
        };
        let (local, clock, telemetry) =
            (Arc::clone(local), Arc::clone(clock), Arc::clone(telemetry));
        let max_keys = usize::try_from(self.max_keys)?;
        Ok(Some(shared::Store::new(settings, max_keys, local, clock, telemetry)?))
    }

    /// What makes the spans of calls, if they are asked for.
    fn tracer(&self, runtime: &Runtime) -> Result<Option<Arc<Tracer>>, Failure> {
        let _within = runtime.enter();
        let Some(endpoint) = self.otlp_endpoint.clone() else { return Ok(None) };
        let read = |path: &PathBuf| {
            let root = file::read(path, file::MAX_PEM);
            root.map_err(|error| format!("--otlp-tls-ca {}: {error}", path.display()))
        };
        let root = self.otlp_tls_ca.as_ref().map(read).transpose()?;
        let wrong = format!("--otlp-endpoint {endpoint}");
        let tracer = Tracer::start(Collector { endpoint, root }, self.trace_sample);
        let tracer = tracer.map_err(|error| format!("{wrong}: {error}"))?;
        Ok(Some(Arc::new(tracer)))
    }

    /// The store as it was, with the key of its buckets' names, or an empty one and a new key.
    fn state(
        &self,
        file: Option<&SnapshotFile>,
        now: Timestamp,
    ) -> Result<(MemoryStore, FingerprintKey), Failure> {
        let max_keys = usize::try_from(self.max_keys)?;
        if !self.target()?.is_memory() {
            if file.is_some() {
                return Err("a shared store keeps its buckets itself: leave --snapshot out".into());
            }
            return Ok((MemoryStore::new(max_keys), FingerprintKey::shared()));
        }
        match file.and_then(|file| file.restore(max_keys, now)) {
            Some(restored) => Ok((restored.store, restored.key)),
            None => Ok((MemoryStore::new(max_keys), FingerprintKey::random()?)),
        }
    }

    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(BootClock::start());
        // Dropped last, so that the log has all that is said until the end.
        let log = Log::start(self.log_format, &self.log_level, Arc::clone(&clock))?;
        let path = self.policy.config.clone();
        let sources = reading::at_once(move || config::read(&path))??;
        let file = self.snapshot.clone().map(SnapshotFile::new).transpose()?;
        // Held until the last snapshot is written.
        let _lock = file.as_ref().map(SnapshotFile::lock).transpose()?;
        let (store, key) = self.state(file.as_ref(), clock.now())?;
        let store = Arc::new(store);
        let telemetry = Arc::new(Telemetry::with_log(Arc::clone(&store), log.lines()));
        telemetry.record_start(clock.now());
        let policies = caught(|| {
            let first = policy_files::compile(&sources, key)?;
            Ok::<_, config::Problems>(ActivePolicies::new(
                first,
                Arc::clone(&telemetry),
                clock.now(),
            ))
        })?;
        let policies = Arc::new(policies?);
        let example = policies.load().policies().first().and_then(|policy| example(policy));
        let shared = self.shared(&store, &clock, &telemetry)?;
        let writer = file.map(|file| Writer {
            file,
            store: Arc::clone(&store),
            key,
            clock: Arc::clone(&clock),
            counters: telemetry.snapshots().clone(),
        });
        let files = PolicyFiles::new(self.policy.config.clone(), key, Arc::clone(&policies));
        let reloader = Arc::new(Reloader::new(files, Arc::clone(&clock)));
        let certificates = telemetry.certificates().clone();
        let stores = match shared {
            Some(shared) => Stores::Shared(shared),
            None => Stores::Memory(store),
        };
        let core = Core::new(clock, policies, stores, telemetry);
        let core = match self.log_denied_per_second {
            Some(most) => core.with_denied_log(most),
            None => core,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let tracer = self.tracer(&runtime)?;
        let core = Arc::new(match &tracer {
            Some(tracer) => core.with_tracer(Arc::clone(tracer)),
            None => core,
        });
        let defaults = Options::default();
        let controls = Controls {
            token: self.admin_token()?,
            reloader: Some(Arc::clone(&reloader)),
            decides_for_all: self.http_json == Switch::On,
            hosts: self.http_host.clone(),
        };
        let options = Options {
            grpc: self.grpc.clone(),
            http: self.http.clone(),
            grpc_tls: self.grpc_tls.identity()?,
            http_tls: self.http_tls.identity()?,
            workers: self.workers.unwrap_or(defaults.workers),
            max_connections: open_files::raise_limit(self.max_connections.get()),
            max_connection_age: self.max_connection_age.0,
            drain_delay: self.drain_delay,
            drain: self.drain_timeout,
            controls,
        };
        let identities = [&options.grpc_tls, &options.http_tls].into_iter().flatten().cloned();
        let renewal = Renewal::new(identities.collect(), certificates);
        let ended = runtime.block_on(async {
            let server = Server::bind(options).await?;
            let signals = signals()?;
            reread::start(vec![self.policy.config.clone()], self.watch, move |cause| {
                let reloader = Arc::clone(&reloader);
                async move {
                    // What came of it is logged there.
                    let _ = reloader.reload(cause).await;
                }
            })?;
            if let Some(renewal) = renewal.map(Arc::new) {
                reread::start(renewal.paths(), self.watch, move |cause| {
                    let renewal = Arc::clone(&renewal);
                    async move { renewal.renew(cause).await }
                })?;
            }
            let (grpc, http) = (server.grpc_address(), server.http_address());
            tracing::info!(%grpc, %http, config = %self.policy.config.display(), "started");
            // `query` speaks plain text.
            if self.log_format == Format::Text
                && !self.grpc_tls.is_on()
                && let Some(policy) = example
            {
                let grpc = grpc.clone();
                // Nobody to read it is no reason not to serve.
                drop(write_in_background(move || drop(print_example_call(&mut stdout(), &grpc, &policy))));
            }
            let writing = writer.map(|writer| writer.start(self.snapshot_interval)).transpose()?;
            let ended = server.run(core, received(signals.clone(), 1), received(signals, 2)).await;
            if let Some(writing) = writing {
                writing.finish();
            }
            if let Some(tracer) = tracer {
                // Elsewhere, since this runtime does the sending.
                tokio::task::spawn_blocking(move || tracer.stop()).await?;
            }
            ended?;
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        });
        // Dropped, it would wait for who looks up the files that are watched, for ever if they hang.
        runtime.shutdown_background();
        ended
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

fn print_example_call(out: &mut dyn Write, grpc: &Address, entries: &str) -> std::io::Result<()> {
    writeln!(
        out,
        "\nTry a call, from another terminal:\n\n  \
         cargo run -- query --addr {grpc} {entries}\n"
    )?;
    out.flush()
}
