//! Where the policies of a server come from, at the start and later.

use std::path::PathBuf;
use std::sync::Arc;

use crate::cli::Failure;
use crate::cli::reread;
use crate::cli::values::Switch;
use crate::clock::{Clock, Now};
use crate::config::ratelimit::{self, RuntimeFolder};
use crate::config::{Problems, Source};
use crate::live::{ActivePolicies, VersionedPolicies};
use crate::observe::telemetry::Telemetry;
use crate::policy::LimitHistory;
use crate::policy::fingerprint::FingerprintKey;
use crate::policy_files::{self, Location, PolicyFiles, Reloader};
use crate::reading::{self, caught};
use crate::xds::{self, Compile, Subscription};

/// Where the policies come from.
pub(in crate::cli) enum PolicySource {
    /// The files at a path, with their texts, which compile, and the settings of ratelimit configurations.
    Files(PathBuf, Vec<Source>, ratelimit::Settings),
    /// A folder of ratelimit configurations, which need not be valid.
    Ratelimit(RuntimeFolder, ratelimit::Settings),
    /// A control plane.
    ControlPlane(Box<xds::Settings>, ratelimit::Settings),
}

impl PolicySource {
    /// The path of files, or the address of a control plane.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Files(path, ..) => path.display().to_string(),
            Self::Ratelimit(folder, _) => folder.watched().display().to_string(),
            Self::ControlPlane(settings, _) => settings.server.to_string(),
        }
    }
}

/// Where new policies come from.
pub(super) enum Updates {
    Files(Arc<Reloader>),
    ControlPlane(Box<Subscription>),
}

impl Updates {
    /// Puts the policies of files in force, or awaits those of a control plane.
    pub(super) fn start(
        from: PolicySource,
        key: FingerprintKey,
        before: LimitHistory,
        telemetry: &Arc<Telemetry>,
        clock: &Arc<dyn Clock>,
    ) -> Result<(Self, Arc<ActivePolicies>), Failure> {
        let (files, policies) = match from {
            PolicySource::Files(path, sources, settings) => {
                let location = Location::Path(path);
                let compile = || location.compile(&sources, key, &settings);
                let policies = activate(compile, &before, telemetry, clock.read())?;
                (PolicyFiles::at(location, settings, key, Arc::clone(&policies)), policies)
            }
            PolicySource::Ratelimit(folder, settings) => {
                let location = Location::RuntimeFolder(folder);
                let first = first_of(&location, &settings, key)?;
                let (telemetry, now) = (Arc::clone(telemetry), clock.read());
                let policies = Arc::new(match first {
                    Ok(first) => ActivePolicies::after(&before, first, telemetry, now),
                    Err(problems) => {
                        tracing::error!(%problems, "no policy is in force: calls fail until one is valid");
                        let problems = problems.to_string();
                        ActivePolicies::without_first(problems, before, telemetry, now)
                    }
                });
                let files = PolicyFiles::at(location, settings, key, Arc::clone(&policies));
                (files, policies)
            }
            PolicySource::ControlPlane(server, settings) => {
                let compile = Compile { key, settings };
                let (telemetry, clock) = (Arc::clone(telemetry), Arc::clone(clock));
                let subscription = Subscription::new(*server, compile, before, telemetry, clock);
                let policies = Arc::clone(subscription.policies());
                return Ok((Self::ControlPlane(Box::new(subscription)), policies));
            }
        };
        policy_files::log_warnings(&policies.load());
        let reloader = Reloader::new(files, Arc::clone(clock));
        Ok((Self::Files(Arc::new(reloader)), policies))
    }

    /// The reloader of files.
    pub(super) fn reloader(&self) -> Option<Arc<Reloader>> {
        match self {
            Self::Files(reloader) => Some(Arc::clone(reloader)),
            Self::ControlPlane(_) => None,
        }
    }

    /// Has new policies put in force from now on.
    pub(super) fn begin(self, watch: Switch) -> std::io::Result<()> {
        match self {
            Self::Files(reloader) => reread_policy(watch, reloader),
            Self::ControlPlane(subscription) => {
                tokio::spawn(subscription.run());
                Ok(())
            }
        }
    }
}

/// The ratelimit configurations that are there at the start.
///
/// # Errors
/// If they cannot be read in time.
fn first_of(
    location: &Location,
    settings: &ratelimit::Settings,
    key: FingerprintKey,
) -> Result<Result<VersionedPolicies, Problems>, Failure> {
    let owned = location.clone();
    let sources = reading::read_now(move || owned.read())
        .map_err(|error| format!("{}: {error}", location.watched().display()))?;
    Ok(match sources {
        Ok(sources) => caught(|| location.compile(&sources, key, settings))?,
        Err(problems) => Err(problems),
    })
}

fn activate(
    compile: impl FnOnce() -> Result<VersionedPolicies, Problems>,
    before: &LimitHistory,
    telemetry: &Arc<Telemetry>,
    now: Now,
) -> Result<Arc<ActivePolicies>, Failure> {
    let policies = caught(|| {
        let first = compile()?;
        Ok::<_, Problems>(ActivePolicies::after(before, first, Arc::clone(telemetry), now))
    })?;
    Ok(Arc::new(policies?))
}

/// Has the policy read again when its files change, and on SIGHUP.
fn reread_policy(watch: Switch, reloader: Arc<Reloader>) -> std::io::Result<()> {
    reread::start(vec![reloader.watched()], watch, move |cause| {
        let reloader = Arc::clone(&reloader);
        async move {
            // The reloader logs the result.
            let _ = reloader.reload(cause).await;
        }
    })
}
