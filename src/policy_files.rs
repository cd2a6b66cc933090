//! Policies from files, reloaded while the server runs.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::clock::{Clock, Now};
use crate::config::ratelimit::{self, RuntimeFolder, Settings};
use crate::config::{self, Compiled, Problems, Source};
use crate::live::{ActivePolicies, LoadedPolicies, PolicySource, PolicyVersion, VersionedPolicies};
use crate::policy::fingerprint::FingerprintKey;
use crate::reading::{ReadError, Reader};

/// Where policies are read from.
#[derive(Debug, Clone)]
pub enum Location {
    /// A file, or a folder of them: policies and ratelimit configurations.
    Path(PathBuf),
    /// A folder of envoyproxy/ratelimit, in which every file is a ratelimit configuration.
    RuntimeFolder(RuntimeFolder),
}

impl Location {
    /// Reads the texts; see [`config::read`] and [`ratelimit::read`].
    ///
    /// # Errors
    /// All problems of the files.
    pub fn read(&self) -> Result<Vec<Source>, Problems> {
        match self {
            Self::Path(path) => config::read(path),
            Self::RuntimeFolder(folder) => ratelimit::read(folder),
        }
    }

    /// Compiles the texts, as [`compile`] does.
    ///
    /// # Errors
    /// All problems of all files.
    pub fn compile(
        &self,
        sources: &[Source],
        key: FingerprintKey,
        settings: &Settings,
    ) -> Result<VersionedPolicies, Problems> {
        let compiled = match self {
            Self::Path(_) => config::compile_with_settings(sources, key, settings),
            Self::RuntimeFolder(_) => ratelimit::compile_texts(sources, key, settings),
        };
        compiled.map(|compiled| versioned(compiled, sources))
    }

    /// The path whose changes may change the policies.
    pub fn watched(&self) -> PathBuf {
        match self {
            Self::Path(path) => path.clone(),
            Self::RuntimeFolder(folder) => folder.watched(),
        }
    }
}

/// Compiles files, one policy each, each with a domain of its own. The version's id is the SHA-256 of their texts, in
/// hexadecimal digits, as printed by `cat FILES | sha256sum`; it does not depend on file names.
///
/// # Errors
/// All problems of all files.
pub fn compile(sources: &[Source], key: FingerprintKey) -> Result<VersionedPolicies, Problems> {
    config::compile_with_warnings(sources, key).map(|compiled| versioned(compiled, sources))
}

fn versioned(compiled: Compiled, sources: &[Source]) -> VersionedPolicies {
    let Compiled { policies, warnings } = compiled;
    VersionedPolicies { policies, version: version(sources), warnings: warnings.lines() }
}

/// The most warnings of one load that are logged.
const MAX_LOGGED_WARNINGS: usize = 20;

/// Logs what the policies that came into force are warned of.
pub(crate) fn log_warnings(policies: &LoadedPolicies) {
    let all = policies.warnings();
    for warning in all.iter().take(MAX_LOGGED_WARNINGS) {
        tracing::warn!(%warning, "the policy may limit less than it seems");
    }
    let omitted = all.len().saturating_sub(MAX_LOGGED_WARNINGS);
    if omitted > 0 {
        tracing::warn!(omitted, "the policy has more warnings; `tollgate check` lists them");
    }
}

fn version(sources: &[Source]) -> PolicyVersion {
    let mut hash = Sha256::new();
    for source in sources {
        hash.update(&source.text);
    }
    let id = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let sources = sources
        .iter()
        .map(|source| PolicySource { name: source.name.clone(), length: source.text.len() });
    PolicyVersion::new(id, sources.collect())
}

/// The result of a successful reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// New policies are in force.
    Changed,
    /// The files have the text of the policies in force.
    Unchanged,
}

/// A policy file or a folder of them, and the policies in force that a reload replaces.
pub struct PolicyFiles {
    location: Location,
    settings: Settings,
    key: FingerprintKey,
    policies: Arc<ActivePolicies>,
}

impl PolicyFiles {
    /// The policies at a path. `key` hashes the names of their buckets.
    pub fn new(path: PathBuf, key: FingerprintKey, policies: Arc<ActivePolicies>) -> Self {
        Self::at(Location::Path(path), Settings::default(), key, policies)
    }

    /// The policies at a location, with the settings of the ratelimit configurations there.
    pub const fn at(
        location: Location,
        settings: Settings,
        key: FingerprintKey,
        policies: Arc<ActivePolicies>,
    ) -> Self {
        Self { location, settings, key, policies }
    }

    /// Reads the policies and puts them in force, unless they are in force already. Problems are counted, and
    /// returned by [`ActivePolicies::rejected`].
    ///
    /// # Errors
    /// All problems; the previous policies then stay in force.
    pub fn reload(&self, now: impl Into<Now>) -> Result<Reloaded, Problems> {
        let now = now.into();
        self.apply(self.read(now), now)
    }

    /// Reads and prepares policies; `None` if they are in force already.
    fn read(&self, now: Now) -> Result<Option<LoadedPolicies>, Problems> {
        let sources = self.location.read()?;
        if version(&sources) == *self.policies.load().version() {
            return Ok(None);
        }
        let compiled = self.location.compile(&sources, self.key, &self.settings)?;
        Ok(Some(self.policies.prepare(compiled, now)))
    }

    /// Puts the policies that were read in force, or records their problems.
    fn apply(
        &self,
        read: Result<Option<LoadedPolicies>, Problems>,
        now: Now,
    ) -> Result<Reloaded, Problems> {
        match read {
            Ok(Some(next)) => {
                self.policies.activate(next, now);
                Ok(Reloaded::Changed)
            }
            Ok(None) => {
                self.policies.record_unchanged();
                Ok(Reloaded::Unchanged)
            }
            Err(problems) => {
                self.policies.record_rejected(problems.to_string(), now);
                Err(problems)
            }
        }
    }
}

/// Reloads the policies for all causes: one reload at a time, so that the files that were read last are in force, and
/// on a thread of its own, so that a path that hangs blocks no other work. See [`Reader`].
pub struct Reloader {
    files: Arc<PolicyFiles>,
    clock: Arc<dyn Clock>,
    reader: Reader,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").field("location", &self.files.location).finish_non_exhaustive()
    }
}

impl Reloader {
    /// The path whose changes are to cause a reload.
    pub fn watched(&self) -> PathBuf {
        self.files.location.watched()
    }

    /// A reloader of the policies in a file or a folder.
    pub fn new(files: PolicyFiles, clock: Arc<dyn Clock>) -> Self {
        Self { files: Arc::new(files), clock, reader: Reader::default() }
    }

    /// Does what [`PolicyFiles::reload`] does, and logs the result with its cause. A read that exceeds its deadline
    /// or panics is a problem like any other.
    ///
    /// # Errors
    /// All problems; the previous policies then stay in force.
    pub async fn reload(&self, cause: Cause) -> Result<Reloaded, Problems> {
        let (files, clock) = (Arc::clone(&self.files), Arc::clone(&self.clock));
        let read = move || files.read(clock.read());
        let (files, clock) = (Arc::clone(&self.files), Arc::clone(&self.clock));
        let apply = move |read: Result<_, ReadError>| {
            let read = read.unwrap_or_else(|error| {
                Err(Problems::of_path(
                    &files.location.watched(),
                    &format!("cannot be read: {error}"),
                ))
            });
            let was_rejected = files.policies.rejected().is_some();
            let result = files.apply(read, clock.read());
            let policies = files.policies.load();
            log(&result, was_rejected, policies.version().id(), cause);
            if matches!(result, Ok(Reloaded::Changed)) {
                log_warnings(&policies);
            }
            result
        };
        self.reader.read(read, apply).await
    }
}

/// Logs the result of a reload. `was_rejected` is whether the policy read before was.
fn log(result: &Result<Reloaded, Problems>, was_rejected: bool, version: &str, cause: Cause) {
    match result {
        Ok(Reloaded::Changed) => {
            tracing::info!(%version, %cause, "policy reloaded: a new version is in force");
        }
        // The last line about the policy was an error.
        Ok(Reloaded::Unchanged) if was_rejected => {
            tracing::info!(%version, %cause, "policy is valid again: the version in force is unchanged");
        }
        // Files may be touched often without a change.
        Ok(Reloaded::Unchanged) if cause == Cause::FileChange => {
            tracing::debug!(%version, %cause, "policy not reloaded: it is unchanged");
        }
        Ok(Reloaded::Unchanged) => {
            tracing::info!(%version, %cause, "policy not reloaded: it is unchanged");
        }
        Err(problems) => {
            tracing::error!(%problems, %version, %cause,
                "policy not reloaded: the previous version stays in force");
        }
    }
}

/// The cause of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Their files may have changed.
    FileChange,
    /// SIGHUP was received.
    Hangup,
    /// A request over HTTP.
    Request,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FileChange => "file change",
            Self::Hangup => "SIGHUP",
            Self::Request => "request",
        })
    }
}
