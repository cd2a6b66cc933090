//! Builds the server from its checked flags, and runs it until a signal ends it.

mod policies;
mod signals;

use std::io::{Write, stdout};
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tracing::field::display;

pub(in crate::cli) use self::policies::PolicySource;
use self::policies::Updates;
use self::signals::{received, signals, stopped};

use crate::cli::Failure;
use crate::cli::logging::Log;
use crate::cli::output::write_in_background;
use crate::cli::reread;
use crate::cli::tls::Renewal;
use crate::cli::values::Switch;
use crate::clock::{Clock, Now};
use crate::listener::Address;
use crate::observe::denied_log::Logged;
use crate::observe::statsd;
use crate::observe::telemetry::Telemetry;
use crate::observe::traces::Tracer;
use crate::policy::fingerprint::FingerprintKey;
use crate::policy::table::Rows;
use crate::policy::{LimitHistory, Policy};
use crate::server::{Options, ReferenceAddresses, Server};
use crate::service::{Core, Stores};
use crate::shared::target::Target;
use crate::shared::{self, Settings};
use crate::snapshot::{SnapshotFile, Writer};
use crate::store::MemoryStore;
use crate::tls::Identity;

/// What serves, and how. Files are read, certificates and secrets are parsed; no store and no port is open yet.
pub(in crate::cli) struct Plan {
    pub(in crate::cli) policies: PolicySource,
    /// Whether files are read again when they change, and not only on SIGHUP.
    pub(in crate::cli) watch: Switch,
    /// The most token buckets in memory.
    pub(in crate::cli) max_keys: usize,
    /// Where the state of the memory store is kept, and how often it is written.
    pub(in crate::cli) snapshot: Option<(SnapshotFile, Duration)>,
    /// `None` for the memory store.
    pub(in crate::cli) shared: Option<Settings>,
    pub(in crate::cli) tracer: Option<Arc<Tracer>>,
    /// How many denials are logged in a second, and which.
    pub(in crate::cli) denied_log: Option<(NonZeroU32, Logged)>,
    /// The reloader is still missing in its controls.
    pub(in crate::cli) options: Options,
    /// Whether ports are opened before the source has delivered any policies.
    pub(in crate::cli) opens_without_policies: bool,
    /// Whether standard output has an example of a call.
    pub(in crate::cli) prints_example: bool,
}

/// Runs the server until a signal ends it.
///
/// # Errors
/// If another process uses the snapshot, a store cannot be opened, or an address cannot be listened on.
pub(in crate::cli) fn run(
    plan: Plan,
    log: &Log,
    clock: Arc<dyn Clock>,
    runtime: Runtime,
) -> Result<ExitCode, Failure> {
    // Held until the last snapshot is written.
    let _lock = plan.snapshot.as_ref().map(|(file, _)| file.lock()).transpose()?;
    let assembled = assemble(plan, log, clock, &runtime)?;
    let ended = runtime.block_on(assembled.serve());
    // Dropping it would wait for its blocking threads, without end if they look up files on a file system that hangs.
    runtime.shutdown_background();
    ended
}

/// Everything that serves, not started yet.
struct Assembled {
    core: Arc<Core>,
    options: Options,
    writer: Option<(Writer, Duration)>,
    updates: Updates,
    watch: Switch,
    renewal: Option<Arc<Renewal>>,
    tracer: Option<Arc<Tracer>>,
    statsd: Option<statsd::Sender>,
    opens_without_policies: bool,
    shown: Shown,
}

/// What is told at the start.
struct Shown {
    /// The source of the policies.
    config: String,
    /// Without the credentials for it.
    store: String,
    /// The arguments of a `query` that the policy limits.
    example: Option<String>,
}

fn assemble(
    plan: Plan,
    log: &Log,
    clock: Arc<dyn Clock>,
    runtime: &Runtime,
) -> Result<Assembled, Failure> {
    let Plan { policies, watch, max_keys, snapshot, shared, tracer, denied_log, .. } = plan;
    let mut options = plan.options;
    let (store, key, limits) = match &shared {
        Some(_) => (MemoryStore::new(max_keys), FingerprintKey::shared(), LimitHistory::default()),
        None => restore(snapshot.as_ref().map(|(file, _)| file), max_keys, clock.read())?,
    };
    let mut shown = Shown {
        config: policies.shown(),
        store: shared.as_ref().map_or(Target::Memory, |of| of.target.clone()).to_string(),
        example: None,
    };
    let store = Arc::new(store);
    let telemetry = Telemetry::with_log(Arc::clone(&store), log.lines());
    let statistics = options.reference.as_ref().map(|reference| &reference.statistics);
    let telemetry = Arc::new(match statistics {
        Some(statistics) => telemetry.with_ratelimit_stats(statistics.into()),
        None => telemetry,
    });
    let statsd = statistics.and_then(|to| statsd::Sender::new(Arc::clone(&telemetry), to));
    telemetry.record_start(clock.read().wall);
    let stores = match shared {
        Some(settings) => {
            let (clock, telemetry) = (Arc::clone(&clock), Arc::clone(&telemetry));
            let local = Arc::clone(&store);
            Stores::Shared(shared::Store::new(settings, max_keys, local, clock, telemetry)?)
        }
        None => Stores::Memory(Arc::clone(&store)),
    };
    let limits = match &stores {
        Stores::Shared(shared) => runtime.block_on(shared.limits_before()),
        Stores::Memory(_) => limits,
    };
    let (updates, policies) = Updates::start(policies, key, limits, &telemetry, &clock)?;
    if plan.prints_example {
        shown.example = policies.load().policies().first().and_then(|policy| example(policy));
    }
    let writer = snapshot.map(|(file, interval)| {
        let writer = Writer {
            file,
            store: Arc::clone(&store),
            key,
            policies: Arc::clone(&policies),
            clock: Arc::clone(&clock),
            counters: telemetry.snapshots().clone(),
        };
        (writer, interval)
    });
    let identities = [&options.grpc_tls, &options.http_tls];
    let identities: Vec<Identity> = identities.into_iter().flatten().cloned().collect();
    let renewal = Renewal::new(identities, telemetry.certificates().clone()).map(Arc::new);
    let core = Core::new(clock, policies, stores, telemetry);
    let core = match denied_log {
        Some((lines, logged)) => core.with_denied_log(lines, logged),
        None => core,
    };
    let core = Arc::new(match &tracer {
        Some(tracer) => core.with_tracer(Arc::clone(tracer)),
        None => core,
    });
    options.controls.reloader = updates.reloader();
    let opens_without_policies = plan.opens_without_policies;
    Ok(Assembled {
        core,
        options,
        writer,
        updates,
        watch,
        renewal,
        tracer,
        statsd,
        opens_without_policies,
        shown,
    })
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

impl Assembled {
    async fn serve(self) -> Result<ExitCode, Failure> {
        let Self { core, options, writer, updates, watch, renewal, tracer, statsd, shown, .. } =
            self;
        let signals = signals()?;
        // Before the ports, so that the first policies may come from a control plane meanwhile.
        updates.begin(watch)?;
        if !self.opens_without_policies {
            tokio::select! {
                () = core.policies().loaded() => {}
                () = received(signals.clone(), 1) => return Ok(ExitCode::SUCCESS),
            }
        }
        let tls = [&options.grpc_tls, &options.http_tls].map(|tls| mode(tls.as_ref()));
        let server = Server::bind(options).await?;
        reread_certificates(watch, renewal)?;
        log_start(&server, &shown, tls);
        if let Some(entries) = shown.example {
            let grpc = server.grpc_address().clone();
            let print = move || drop(print_example_call(&mut stdout(), &grpc, &entries));
            // The server runs just as well without the example.
            drop(write_in_background(print));
        }
        let writer = writer.map(|(writer, interval)| writer.start(interval)).transpose()?;
        let (stop_sending, is_over) = oneshot::channel::<()>();
        let is_over = async { drop(is_over.await) };
        let sending = statsd.map(|statsd| tokio::spawn(statsd.run(is_over)));
        let ended = server.run(core, stopped(signals.clone()), received(signals, 2)).await;
        if let Some(writer) = writer {
            writer.finish();
        }
        drop(stop_sending);
        if let Some(sending) = sending {
            sending.await?;
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

/// Whether TLS is on, and whether client certificates are verified.
fn mode(tls: Option<&Identity>) -> &'static str {
    match tls {
        None => "off",
        Some(tls) if tls.verifies_clients() => "mutual",
        Some(_) => "on",
    }
}

/// Logs where the server listens. Fields of what is not served are left out.
fn log_start(
    server: &Server,
    Shown { config, store, .. }: &Shown,
    [grpc_tls, http_tls]: [&str; 2],
) {
    let grpc = server.grpc_address();
    match (server.http_address(), server.reference_addresses()) {
        (Some(http), None) => {
            tracing::info!(%grpc, %http, %config, %store, grpc_tls, http_tls, "started");
        }
        (admin, Some(ReferenceAddresses { http, debug, metrics })) => {
            // A field without a value is left out.
            let [admin, debugging, metrics] =
                [admin, debug, metrics].map(|address| address.map(display));
            tracing::info!(
                %grpc, %http, debug = debugging, metrics, admin, %config, %store, grpc_tls, "started"
            );
        }
        (None, None) => tracing::info!(%grpc, %config, %store, grpc_tls, "started"),
    }
}

/// Has the certificates read again when their files change, and on SIGHUP.
fn reread_certificates(watch: Switch, renewal: Option<Arc<Renewal>>) -> std::io::Result<()> {
    let Some(renewal) = renewal else { return Ok(()) };
    reread::start(renewal.paths(), watch, move |cause| {
        let renewal = Arc::clone(&renewal);
        async move { renewal.renew(cause).await }
    })
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
