//! Builds the server from its checked flags, and runs it until a signal ends it.

use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{Checked, PolicySource, Serve};
use crate::admin::{Controls, Token};
use crate::cli::Failure;
use crate::cli::logging::{Format, Log};
use crate::cli::output::write_in_background;
use crate::cli::reread;
use crate::cli::tls::Renewal;
use crate::cli::values::Switch;
use crate::clock::{Clock, Now};
use crate::config::{Problems, Source, ratelimit};
use crate::listener::Address;
use crate::live::ActivePolicies;
use crate::observe::telemetry::Telemetry;
use crate::observe::traces::Tracer;
use crate::policy::fingerprint::FingerprintKey;
use crate::policy::table::Rows;
use crate::policy::{LimitHistory, Policy};
use crate::policy_files::{self, PolicyFiles, Reloader};
use crate::reading::caught;
use crate::server::{Options, Server, Stop, open_files};
use crate::service::{Core, Stores};
use crate::shared;
use crate::snapshot::{SnapshotFile, Writer};
use crate::store::MemoryStore;
use crate::tls::Identity;
use crate::xds::{self, Compile, Subscription};

/// Runs the server until a signal ends it.
///
/// # Errors
/// If another process uses the snapshot, a store cannot be opened, or an address cannot be listened on.
pub(super) fn run(
    checked: Checked,
    log: &Log,
    clock: Arc<dyn Clock>,
    runtime: Runtime,
) -> Result<ExitCode, Failure> {
    // Held until the last snapshot is written.
    let _lock = checked.snapshot.as_ref().map(SnapshotFile::lock).transpose()?;
    let assembled = assemble(checked, log, clock)?;
    let ended = runtime.block_on(assembled.serve());
    // Dropping it would wait for its blocking threads, without end if they look up files on a file system that hangs.
    runtime.shutdown_background();
    ended
}

/// Everything that serves, not started yet.
struct Assembled {
    flags: Serve,
    core: Arc<Core>,
    options: Options,
    writer: Option<Writer>,
    updates: Updates,
    renewal: Option<Arc<Renewal>>,
    tracer: Option<Arc<Tracer>>,
    /// The arguments of a `query` that the policy limits.
    example: Option<String>,
}

/// Where new policies come from.
enum Updates {
    Files(Arc<Reloader>),
    ControlPlane(Box<Subscription>),
}

impl Updates {
    /// Puts the policies of files in force, or awaits those of a control plane.
    fn start(
        from: &PolicySource,
        config: &Path,
        key: FingerprintKey,
        before: LimitHistory,
        telemetry: &Arc<Telemetry>,
        clock: &Arc<dyn Clock>,
    ) -> Result<(Self, Arc<ActivePolicies>), Failure> {
        match from {
            PolicySource::Files(sources) => {
                let policies = activate(sources, key, &before, telemetry, clock.read())?;
                policy_files::log_warnings(&policies.load());
                let files = PolicyFiles::new(config.to_owned(), key, Arc::clone(&policies));
                let reloader = Reloader::new(files, Arc::clone(clock));
                Ok((Self::Files(Arc::new(reloader)), policies))
            }
            PolicySource::ControlPlane(settings) => {
                let compile = Compile { key, settings: ratelimit::Settings::default() };
                let (telemetry, clock) = (Arc::clone(telemetry), Arc::clone(clock));
                let settings = xds::Settings::clone(settings);
                let subscription = Subscription::new(settings, compile, before, telemetry, clock);
                let policies = Arc::clone(subscription.policies());
                Ok((Self::ControlPlane(Box::new(subscription)), policies))
            }
        }
    }

    /// The reloader of files.
    fn reloader(&self) -> Option<Arc<Reloader>> {
        match self {
            Self::Files(reloader) => Some(Arc::clone(reloader)),
            Self::ControlPlane(_) => None,
        }
    }
}

fn assemble(checked: Checked, log: &Log, clock: Arc<dyn Clock>) -> Result<Assembled, Failure> {
    let Checked { flags, policies, token, snapshot, shared, tracer, grpc_tls, http_tls } = checked;
    let max_keys = usize::try_from(flags.max_keys)?;
    let (store, key, limits) = match &shared {
        Some(_) => (MemoryStore::new(max_keys), FingerprintKey::shared(), LimitHistory::default()),
        None => restore(snapshot.as_ref(), max_keys, clock.read())?,
    };
    let store = Arc::new(store);
    let telemetry = Arc::new(Telemetry::with_log(Arc::clone(&store), log.lines()));
    telemetry.record_start(clock.read().wall);
    let config = &flags.policy.config;
    let (updates, policies) = Updates::start(&policies, config, key, limits, &telemetry, &clock)?;
    let example = policies.load().policies().first().and_then(|policy| example(policy));
    let writer = snapshot.map(|file| Writer {
        file,
        store: Arc::clone(&store),
        key,
        policies: Arc::clone(&policies),
        clock: Arc::clone(&clock),
        counters: telemetry.snapshots().clone(),
    });
    let identities: Vec<Identity> = [&grpc_tls, &http_tls].into_iter().flatten().cloned().collect();
    let renewal = Renewal::new(identities, telemetry.certificates().clone()).map(Arc::new);
    let stores = match shared {
        Some(settings) => {
            let (clock, telemetry) = (Arc::clone(&clock), Arc::clone(&telemetry));
            Stores::Shared(shared::Store::new(settings, max_keys, store, clock, telemetry)?)
        }
        None => Stores::Memory(store),
    };
    let core = Core::new(clock, policies, stores, telemetry);
    let core = match flags.log_denied_per_second {
        Some(lines) => core.with_denied_log(lines, flags.log_denied.into()),
        None => core,
    };
    let core = Arc::new(match &tracer {
        Some(tracer) => core.with_tracer(Arc::clone(tracer)),
        None => core,
    });
    let controls = controls(&flags, token, updates.reloader());
    let options = options(&flags, grpc_tls, http_tls, controls);
    Ok(Assembled { flags, core, options, writer, updates, renewal, tracer, example })
}

/// The store as its snapshot has it, with the key of its fingerprints and the limits that were in force; else an empty
/// one with a random key.
fn restore(
    snapshot: Option<&SnapshotFile>,
    max_keys: usize,
    now: Now,
) -> Result<(MemoryStore, FingerprintKey, LimitHistory), Failure> {
    match snapshot.and_then(|file| file.restore(max_keys, now)) {
        Some(restored) => Ok((restored.store, restored.key, restored.limits)),
        None => {
            Ok((MemoryStore::new(max_keys), FingerprintKey::random()?, LimitHistory::default()))
        }
    }
}

fn activate(
    sources: &[Source],
    key: FingerprintKey,
    before: &LimitHistory,
    telemetry: &Arc<Telemetry>,
    now: Now,
) -> Result<Arc<ActivePolicies>, Failure> {
    let policies = caught(|| {
        let first = policy_files::compile(sources, key)?;
        Ok::<_, Problems>(ActivePolicies::after(before, first, Arc::clone(telemetry), now))
    })?;
    Ok(Arc::new(policies?))
}

fn controls(flags: &Serve, token: Option<Token>, reloader: Option<Arc<Reloader>>) -> Controls {
    Controls {
        token,
        reloader,
        decides_for_all: flags.http_json == Switch::On,
        hosts: flags.http_host.clone(),
    }
}

fn options(
    flags: &Serve,
    grpc_tls: Option<Identity>,
    http_tls: Option<Identity>,
    controls: Controls,
) -> Options {
    let defaults = Options::default();
    Options {
        grpc: flags.grpc.clone(),
        http: flags.http.clone(),
        grpc_tls,
        http_tls,
        workers: flags.workers.unwrap_or(defaults.workers),
        max_connections: open_files::raise_limit(flags.max_connections.get()),
        max_connection_age: flags.max_connection_age.0,
        drain_delay: flags.drain_delay,
        drain: flags.drain_timeout,
        is_ready_without_policies: defaults.is_ready_without_policies,
        controls,
    }
}

impl Assembled {
    async fn serve(self) -> Result<ExitCode, Failure> {
        let Self { flags, core, options, writer, updates, renewal, tracer, example } = self;
        let server = Server::bind(options).await?;
        let signals = signals()?;
        let config = match updates {
            Updates::Files(reloader) => {
                reread_policy(&flags.policy.config, flags.watch, reloader)?;
                flags.policy.config.display().to_string()
            }
            Updates::ControlPlane(subscription) => {
                tokio::spawn(subscription.run());
                flags.control_plane.server()
            }
        };
        reread_certificates(flags.watch, renewal)?;
        let (grpc, http) = (server.grpc_address(), server.http_address());
        // Without the credentials for the store.
        let store = flags.store.as_ref().map(ToString::to_string).unwrap_or_default();
        tracing::info!(
            %grpc,
            %http,
            %config,
            %store,
            grpc_tls = flags.grpc_tls.mode(),
            http_tls = flags.http_tls.mode(),
            "started"
        );
        // `query` does not speak TLS.
        if flags.log_format == Format::Text
            && !flags.grpc_tls.is_on()
            && let Some(entries) = example
        {
            let grpc = grpc.clone();
            let print = move || drop(print_example_call(&mut stdout(), &grpc, &entries));
            // The server runs just as well without the example.
            drop(write_in_background(print));
        }
        let writer = writer.map(|writer| writer.start(flags.snapshot_interval)).transpose()?;
        let ended = server.run(core, stopped(signals.clone()), received(signals, 2)).await;
        if let Some(writer) = writer {
            writer.finish();
        }
        if let Some(tracer) = tracer {
            // On another thread, since this runtime sends the last spans meanwhile.
            tokio::task::spawn_blocking(move || tracer.stop()).await?;
        }
        ended?;
        tracing::info!("stopped");
        Ok(ExitCode::SUCCESS)
    }
}

/// Has the policy read again when its files change, and on SIGHUP.
fn reread_policy(config: &Path, watch: Switch, reloader: Arc<Reloader>) -> std::io::Result<()> {
    reread::start(vec![config.to_owned()], watch, move |cause| {
        let reloader = Arc::clone(&reloader);
        async move {
            // The reloader logs the result.
            let _ = reloader.reload(cause).await;
        }
    })
}

/// Has the certificates read again when their files change, and on SIGHUP.
fn reread_certificates(watch: Switch, renewal: Option<Arc<Renewal>>) -> std::io::Result<()> {
    let Some(renewal) = renewal else { return Ok(()) };
    reread::start(renewal.paths(), watch, move |cause| {
        let renewal = Arc::clone(&renewal);
        async move { renewal.renew(cause).await }
    })
}

/// The signals to stop so far.
#[derive(Debug, Clone, Copy)]
struct Signals {
    count: u32,
    /// What the first of them asks for.
    first: Stop,
}

/// Receives SIGTERM and SIGINT from now on. SIGINT skips the drain delay: a person who presses Ctrl-C waits for the end.
fn signals() -> std::io::Result<watch::Receiver<Signals>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (count, counted) = watch::channel(Signals { count: 0, first: Stop::AfterDelay });
    tokio::spawn(async move {
        loop {
            let (name, stop) = tokio::select! {
                _ = terminate.recv() => ("SIGTERM", Stop::AfterDelay),
                _ = interrupt.recv() => ("SIGINT", Stop::WithoutDelay),
            };
            count.send_modify(|signals| {
                if signals.count == 0 {
                    signals.first = stop;
                }
                signals.count += 1;
            });
            tracing::info!(signal = name, "stopping: calls in flight finish");
        }
    });
    Ok(counted)
}

/// Completes with the signal of this number, counted from 1.
async fn received(mut signals: watch::Receiver<Signals>, number: u32) {
    if signals.wait_for(|signals| signals.count >= number).await.is_err() {
        std::future::pending().await
    }
}

/// Completes with the first signal.
async fn stopped(signals: watch::Receiver<Signals>) -> Stop {
    received(signals.clone(), 1).await;
    signals.borrow().first
}

/// Arguments of `query` that match the policy's first table; none if a shell would need quotes for them.
fn example(policy: &Policy) -> Option<String> {
    let mut entries = vec![format!("--domain {}", policy.domain())];
    if let Some(tree) = policy.tree() {
        entries.extend(tree.example()?.iter().map(|(key, value)| format!("{key}={value}")));
        return plain(&entries);
    }
    let table = policy.tables().first()?;
    let keys = policy.keys();
    if let Rows::Selected { by, .. } = table.rows() {
        let row = table.rows().iter().min_by_key(|row| row.id())?;
        entries.push(format!("{}={}", keys.name(*by), row.name()));
    }
    let names = policy.key_set(table.key())?.names(keys);
    entries.extend(names.iter().map(|name| format!("{name}=acme")));
    plain(&entries)
}

/// Arguments as a shell reads them without quotes; none if it needs quotes.
fn plain(arguments: &[String]) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.= ".contains(c);
    Some(arguments.join(" ")).filter(|arguments| arguments.chars().all(is_plain))
}

fn print_example_call(out: &mut dyn Write, grpc: &Address, entries: &str) -> std::io::Result<()> {
    writeln!(
        out,
        "\nTry a call, from another terminal:\n\n  \
         cargo run -- query --addr {grpc} {entries}\n"
    )?;
    out.flush()
}
