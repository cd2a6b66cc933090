//! `tollgate ratelimit`: a server in place of envoyproxy/ratelimit, with its environment, its ports and its paths.

mod check;
mod control_plane;
mod environment;
mod redis;
mod tracing;
mod value;
mod variables;
mod without_effect;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio::runtime::Runtime;

pub(super) use self::check::RateLimitCheck;
use self::environment::{Environment, Source};
use self::redis::Redis;
use self::tracing::Tracing;
use super::Failure;
use super::counting::CountingArgs;
use super::logging::Log;
use super::output::report_error;
use super::serve::assemble::{self, Plan, PolicySource};
use super::server_flags::{AdminFlags, Capacity, Drain, SnapshotFlags};
use super::tls::{self, HttpTls};
use super::values::{DEFAULT_PREFIX, DEFAULT_TIMEOUT, PrepaidTime, Switch, prepaid, target};
use crate::clock::{BootClock, Clock};
use crate::config::ratelimit::RuntimeFolder;
use crate::file;
use crate::listener::Address;
use crate::observe::traces::{Collector, Origin, Tracer};
use crate::server::{Options, Reference};
use crate::shared::target::{Target, TargetError};
use crate::shared::{Settings, Tls};
use crate::tls::Side;

/// Serve in place of envoyproxy/ratelimit: with its environment variables, ports, files and control plane. The flags
/// here are tollgate's own.
#[derive(Debug, Args)]
pub(super) struct RateLimit {
    /// Where counts are kept, whatever the variables of Redis say: `memory`, or an address as for `tollgate serve`.
    // Its errors are reported later: clap would print the password in it.
    #[arg(long, env = "TOLLGATE_STORE", value_name = "memory|URL", hide_env_values = true,
          value_parser = target)]
    store: Option<Result<Target, TargetError>>,
    /// For how long requests are admitted without asking the shared store, by admissions that were counted there ahead.
    /// `off` asks for each request, as envoyproxy/ratelimit does.
    #[arg(long, env = "TOLLGATE_STORE_PREPAID", default_value = "off", value_name = "DURATION|off",
          value_parser = prepaid)]
    store_prepaid: PrepaidTime,
    /// Listen address of tollgate's own HTTP side: the live page, the admin API and its metrics. Without it, they are
    /// not served.
    #[arg(long, env = "TOLLGATE_HTTP", value_name = "ADDRESS:PORT|unix:PATH")]
    http: Option<Address>,
    #[command(flatten)]
    counting: CountingArgs,
    #[command(flatten)]
    admin: AdminFlags,
    #[command(flatten)]
    http_tls: HttpTls,
    #[command(flatten)]
    capacity: Capacity,
    #[command(flatten)]
    drain: Drain,
    #[command(flatten)]
    snapshot: SnapshotFlags,
}

impl RateLimit {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let variables = std::env::vars_os().map(|(name, value)| {
            let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
            (text(name), text(value))
        });
        match Environment::read(variables, self.store.is_some()) {
            Ok(environment) => self.serve(environment),
            Err(problems) => {
                report_error(problems.to_string());
                Ok(ExitCode::from(problems.exit_code()))
            }
        }
    }

    fn serve(self, environment: Environment) -> Result<ExitCode, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(BootClock::start());
        let (format, filter) = &environment.log;
        // Dropped last, so that it writes every line.
        let log = Log::start(*format, filter, Arc::clone(&clock))?;
        if !environment.without_effect.is_empty() {
            let variables = environment.without_effect.join(", ");
            ::tracing::warn!(%variables, "these variables have no effect");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let plan = self.plan(environment, &runtime)?;
        assemble::run(plan, &log, clock, runtime)
    }

    /// Reads what the environment and the flags name.
    ///
    /// # Errors
    /// The first file, certificate or secret that cannot be used.
    fn plan(self, environment: Environment, runtime: &Runtime) -> Result<Plan, Failure> {
        let Environment { grpc, ports, grpc_tls, max_connection_age, redis, health, .. } =
            environment;
        let shared = match self.store {
            None => redis.map(|redis| shared_settings(redis, self.store_prepaid)),
            Some(store) => {
                let target = store.map_err(|error| format!("TOLLGATE_STORE: {error}"))?;
                (!target.is_memory()).then(|| of_target(target, self.store_prepaid))
            }
        };
        let policies = match environment.source {
            None => return Err("CONFIG_TYPE: no source of configurations".into()),
            Some(Source::Files(folder, settings)) => {
                check_folder(&folder)?;
                PolicySource::Ratelimit(folder, self.counting.applied_to(settings))
            }
            Some(Source::ControlPlane(server, settings)) => {
                PolicySource::ControlPlane(Box::new(server), self.counting.applied_to(settings))
            }
        };
        // Files are there at the start, valid or not.
        let has_files = matches!(policies, PolicySource::Ratelimit(..));
        let tracer = match environment.tracing {
            Some(tracing) => Some(tracer(tracing, runtime)?),
            None => None,
        };
        let options = Options {
            grpc,
            http: self.http,
            reference: Some(Reference { ports, health, statistics: environment.statistics }),
            grpc_tls: grpc_tls.map(|files| tls::identity(Side::Grpc, files)).transpose()?,
            http_tls: self.http_tls.identity()?,
            max_connection_age,
            // Without a configuration, calls fail, as those of envoyproxy/ratelimit.
            is_ready_without_policies: true,
            controls: self.admin.controls()?,
            // Descriptors of a tree have an order, which bucket ids lack.
            quotas: None,
            ..Options::default()
        };
        Ok(Plan {
            policies,
            watch: Switch::On,
            max_keys: self.capacity.max_keys(),
            snapshot: self.snapshot.file(shared.is_some())?,
            shared,
            tracer,
            denied_log: None,
            options: self.drain.set(self.capacity.set(options)),
            opens_without_policies: has_files || environment.starts_without_config,
            prints_example: false,
        })
    }
}

/// What each replica decides alone is nothing: without the store, calls fail.
const REPLICAS: NonZeroU32 = NonZeroU32::MIN;

fn shared_settings(redis: Redis, PrepaidTime(prepaid_time): PrepaidTime) -> Settings {
    let Redis { target, tls, prefix, timeout } = redis;
    Settings { target, tls, prefix, timeout, replicas: REPLICAS, prepaid_time }
}

/// A store that only `TOLLGATE_STORE` names.
fn of_target(target: Target, PrepaidTime(prepaid_time): PrepaidTime) -> Settings {
    let (prefix, timeout) = (DEFAULT_PREFIX.to_owned(), DEFAULT_TIMEOUT);
    Settings { target, tls: Tls::default(), prefix, timeout, replicas: REPLICAS, prepaid_time }
}

/// Ends the start if files are to be read from a folder that does not exist, as envoyproxy/ratelimit does. With
/// `RUNTIME_WATCH_ROOT`, it may come later.
fn check_folder(folder: &RuntimeFolder) -> Result<(), Failure> {
    if folder.is_off() {
        ::tracing::warn!(
            "no configuration is read: with RUNTIME_WATCH_ROOT=true, set RUNTIME_SUBDIRECTORY"
        );
        return Ok(());
    }
    let watched = folder.watched();
    if folder.watches_root || watched.is_dir() {
        return Ok(());
    }
    let what = "no such folder; set RUNTIME_ROOT, RUNTIME_SUBDIRECTORY and RUNTIME_APPDIRECTORY";
    Err(format!("{}: {what}", watched.display()).into())
}

/// The tracer that sends spans by OTLP.
fn tracer(tracing: Tracing, runtime: &Runtime) -> Result<Arc<Tracer>, Failure> {
    let Tracing { endpoint, protocol, root, client, timeout, .. } = tracing;
    // Its connection belongs to the runtime.
    let _within = runtime.enter();
    let read = |name: &str, path: &PathBuf| {
        let text = file::read(path, file::MAX_PEM);
        text.map_err(|error| format!("OTEL_EXPORTER_OTLP_{name}={}: {error}", path.display()))
    };
    let root = root.map(|path| read("CERTIFICATE", &path)).transpose()?;
    let client = match client {
        Some((certificate, key)) => {
            Some((read("CLIENT_CERTIFICATE", &certificate)?, read("CLIENT_KEY", &key)?))
        }
        None => None,
    };
    let instance = match tracing.instance {
        Some(instance) => instance,
        None => random_id()?,
    };
    let origin =
        Origin { service: tracing.service, namespace: tracing.namespace, instance: Some(instance) };
    let shown = format!("OTEL_EXPORTER_OTLP_ENDPOINT={endpoint}");
    let collector = Collector { endpoint, protocol, root, client, timeout, origin };
    let tracer = Tracer::start(collector, tracing.ratio);
    Ok(Arc::new(tracer.map_err(|error| format!("{shown}: {error}"))?))
}

/// A random UUID of version 4 (RFC 9562).
fn random_id() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    let bits = u128::from_be_bytes(bytes);
    let bits = bits & !(0xf000 << 64 | 0xc000 << 48) | 0x4000 << 64 | 0x8000 << 48;
    let text = format!("{bits:032x}");
    let mut rest = &*text;
    let parts = [8, 4, 4, 4, 12].map(|length| {
        let (part, after) = rest.split_at(length);
        rest = after;
        part
    });
    Ok(parts.join("-"))
}
