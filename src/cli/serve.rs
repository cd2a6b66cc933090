//! `tollgate serve`.

pub(super) mod assemble;

use std::fmt::Display;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser};
use tokio::runtime::Runtime;

use self::assemble::{Plan, PolicySource};
use super::counting::CountingArgs;
use super::logging::{Filter, Format, Log};
use super::server_flags::{AdminFlags, Capacity, Drain, SnapshotFlags};
use super::tls::{GrpcTls, HttpTls};
use super::values::{
    Age, LogDenied, PrepaidTime, Switch, age, duration, interval, prefix, prepaid, ratio, target,
};
use super::xds::ControlPlane;
use super::{Failure, PolicyPath};
use crate::clock::{BootClock, Clock};
use crate::file;
use crate::listener::Address;
use crate::observe::traces::{Collector, Origin, Protocol, Tracer};
use crate::rlqs;
use crate::server::Options;
use crate::shared::target::{Target, TargetError};
use crate::shared::{Settings, Tls};

#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    policy: PolicyPath,
    #[command(flatten)]
    control_plane: ControlPlane,
    #[command(flatten)]
    counting: CountingArgs,
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
    #[command(flatten)]
    admin: AdminFlags,
    #[command(flatten)]
    grpc_tls: GrpcTls,
    #[command(flatten)]
    http_tls: HttpTls,
    #[command(flatten)]
    capacity: Capacity,
    /// Where buckets are kept: `memory`, or a Redis or Valkey that replicas share: `redis://HOST:PORT`,
    /// `rediss://USER:PASSWORD@HOST:PORT/DATABASE` over TLS, `redis://HOST:PORT,HOST:PORT` for a cluster, or
    /// `redis+sentinel://HOST:PORT,HOST:PORT/NAME`.
    // Its errors are reported later: clap would print the password in it.
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
    store_timeout: Duration,
    /// For how long requests are admitted without asking the shared store, by admissions that were charged there ahead.
    /// A policy may say otherwise. `off` asks for each request.
    #[arg(long, env = "TOLLGATE_STORE_PREPAID", default_value = "100ms", value_name = "DURATION|off",
          value_parser = prepaid)]
    store_prepaid: PrepaidTime,
    /// Number of replicas that share the store at least; they learn from the store if they are more. While the store is
    /// unavailable, each replica admits its share of every bucket.
    #[arg(long, env = "TOLLGATE_REPLICAS", default_value = "1", value_name = "COUNT")]
    replicas: NonZeroU32,
    /// Age at which a gRPC connection is closed gracefully, plus or minus a fifth. Envoy then opens another,
    /// which may reach another replica. `off` sets no maximum.
    #[arg(long, env = "TOLLGATE_MAX_CONNECTION_AGE", default_value = "5m", value_name = "DURATION|off",
          value_parser = age)]
    max_connection_age: Age,
    /// How long the quota that an Envoy was assigned lasts if it is not renewed, in whole seconds. Envoy's reports, one every
    /// five seconds, renew it.
    #[arg(long, env = "TOLLGATE_QUOTA_TTL", default_value = "20s", value_name = "DURATION",
          value_parser = interval)]
    quota_ttl: Duration,
    /// How long a bucket id of the quota service may be without a request before its Envoy is told to forget it.
    #[arg(long, env = "TOLLGATE_QUOTA_IDLE", default_value = "60s", value_name = "DURATION",
          value_parser = interval)]
    quota_idle: Duration,
    #[command(flatten)]
    drain: Drain,
    #[command(flatten)]
    snapshot: SnapshotFlags,
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
    /// Which denials to log with --log-denied-per-second: those of enforced rows, those that rows in shadow would have
    /// been, or all.
    #[arg(
        long,
        env = "TOLLGATE_LOG_DENIED",
        default_value = "enforced",
        value_name = "enforced|shadow|all",
        hide_possible_values = true
    )]
    log_denied: LogDenied,
    /// Send spans of calls to this collector, by OTLP over gRPC: `http://HOST:4317`, or `https://HOST:4317` for
    /// TLS. Without it, no call is traced.
    #[arg(long, env = "TOLLGATE_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// CA certificates that verify the collector over TLS, in PEM; the system's if omitted.
    #[arg(long, env = "TOLLGATE_OTLP_TLS_CA", value_name = "FILE")]
    otlp_tls_ca: Option<PathBuf>,
    /// Share of the calls without a context, which is a `traceparent` or B3, that is traced: a number from 0 to 1.
    /// Other calls follow their context.
    #[arg(long, env = "TOLLGATE_TRACE_SAMPLE", default_value = "0", value_name = "RATIO",
          value_parser = ratio)]
    trace_sample: f64,
}

/// Parses the flags where there is no command line: from their defaults and the environment.
#[derive(Debug, Parser)]
struct StandaloneServe {
    #[command(flatten)]
    serve: Serve,
}

/// The errors of all flags, so that one run reports them together.
#[derive(Default)]
struct FlagErrors(Vec<String>);

impl FlagErrors {
    /// The value; an error is kept for the report.
    fn keep<T>(&mut self, result: Result<T, impl Display>) -> Option<T> {
        result.map_err(|error| self.0.push(error.to_string())).ok()
    }

    fn into_failure(self) -> Failure {
        self.0.join("\n").into()
    }
}

impl Serve {
    /// The defaults, with what the environment sets.
    ///
    /// # Errors
    /// If a variable has an invalid value.
    pub(super) fn from_environment() -> Result<Self, clap::Error> {
        StandaloneServe::try_parse_from(["tollgate"]).map(|standalone| standalone.serve)
    }

    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(BootClock::start());
        // Dropped last, so that it writes every line.
        let log = Log::start(self.log_format, &self.log_level, Arc::clone(&clock))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let plan = self.check(&runtime)?;
        assemble::run(plan, &log, clock, runtime)
    }

    /// Reads and checks what the flags name.
    ///
    /// # Errors
    /// All of their errors, one a line.
    fn check(self, runtime: &Runtime) -> Result<Plan, Failure> {
        let mut errors = FlagErrors::default();
        let policies = errors.keep(self.policy_source());
        let controls = errors.keep(self.admin.controls());
        let is_shared = self.store.as_ref().is_ok_and(|target| !target.is_memory());
        let snapshot = errors.keep(self.snapshot.file(is_shared));
        let shared = errors.keep(self.shared_settings());
        let tracer = errors.keep(self.tracer(runtime));
        let grpc_tls = errors.keep(self.grpc_tls.identity());
        let http_tls = errors.keep(self.http_tls.identity());
        let log = errors.keep(self.checked_log());
        let all = (policies, controls, snapshot, shared, tracer, grpc_tls, http_tls, log);
        let (
            Some(policies),
            Some(controls),
            Some(snapshot),
            Some(shared),
            Some(tracer),
            Some(grpc_tls),
            Some(http_tls),
            Some(()),
        ) = all
        else {
            return Err(errors.into_failure());
        };
        // `query` does not speak TLS.
        let prints_example = self.log_format == Format::Text && grpc_tls.is_none();
        let options = Options {
            grpc: self.grpc,
            http: Some(self.http),
            grpc_tls,
            http_tls,
            max_connection_age: self.max_connection_age.0,
            controls,
            quotas: Some(rlqs::Settings { ttl: self.quota_ttl, idle: self.quota_idle }),
            ..Options::default()
        };
        Ok(Plan {
            policies,
            watch: self.watch,
            max_keys: self.capacity.max_keys(),
            snapshot,
            shared,
            tracer,
            denied_log: self.log_denied_per_second.map(|max| (max, self.log_denied.into())),
            options: self.drain.set(self.capacity.set(options)),
            opens_without_policies: true,
            prints_example,
        })
    }

    fn policy_source(&self) -> Result<PolicySource, Failure> {
        if let Some(settings) = self.control_plane.settings()? {
            return Ok(PolicySource::ControlPlane(Box::new(settings), self.counting.settings()));
        }
        let path = self.policy.config.clone();
        let settings = self.counting.settings();
        super::checked_sources(&path).map(|sources| PolicySource::Files(path, sources, settings))
    }

    /// Checks that the flags of the log do not contradict each other.
    fn checked_log(&self) -> Result<(), &'static str> {
        if self.log_denied != LogDenied::Enforced && self.log_denied_per_second.is_none() {
            return Err(
                "--log-denied: set --log-denied-per-second as well; without it, no denial is logged",
            );
        }
        Ok(())
    }

    /// How to reach the store that replicas share; `None` for the memory store.
    fn shared_settings(&self) -> Result<Option<Settings>, String> {
        let target = self.store.clone().map_err(|error| format!("--store: {error}"))?;
        if target.is_memory() {
            return Ok(None);
        }
        if let Some(path) = &self.store_tls_ca {
            file::read(path, file::MAX_PEM)
                .map_err(|error| format!("--store-tls-ca {}: {error}", path.display()))?;
        }
        let read = |path: &PathBuf| {
            let password = file::read_text(path, file::MAX_SECRET);
            password.map_err(|error| format!("--store-password-file {}: {error}", path.display()))
        };
        let password = self.store_password_file.as_ref().map(read).transpose()?;
        let password = password.as_deref().map(str::trim_end);
        Ok(Some(Settings {
            target: target.with_credentials(self.store_user.as_deref(), password),
            tls: Tls { root: self.store_tls_ca.clone(), ..Tls::default() },
            prefix: self.store_prefix.clone(),
            timeout: self.store_timeout,
            replicas: self.replicas,
            prepaid_time: self.store_prepaid.0,
        }))
    }

    /// The tracer that sends spans of calls; `None` if no flag names a collector.
    fn tracer(&self, runtime: &Runtime) -> Result<Option<Arc<Tracer>>, String> {
        // Its connection belongs to the runtime.
        let _within = runtime.enter();
        let Some(endpoint) = self.otlp_endpoint.clone() else { return Ok(None) };
        let read = |path: &PathBuf| {
            let root = file::read(path, file::MAX_PEM);
            root.map_err(|error| format!("--otlp-tls-ca {}: {error}", path.display()))
        };
        let root = self.otlp_tls_ca.as_ref().map(read).transpose()?;
        let flag = format!("--otlp-endpoint {endpoint}");
        let collector = Collector {
            endpoint,
            protocol: Protocol::Grpc,
            root,
            client: None,
            timeout: Collector::TIMEOUT,
            origin: Origin::default(),
        };
        let tracer = Tracer::start(collector, self.trace_sample);
        tracer.map(|tracer| Some(Arc::new(tracer))).map_err(|error| format!("{flag}: {error}"))
    }
}
