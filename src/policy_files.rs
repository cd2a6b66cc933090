//! Policies from files, read again while the server runs.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::clock::{Clock, Timestamp};
use crate::config::{self, Problems, Source};
use crate::live::{ActivePolicies, LoadedPolicies, PolicySource, PolicyVersion, VersionedPolicies};
use crate::policy::fingerprint::FingerprintKey;
use crate::reading::{Reader, Unread};

/// Compiles texts, one policy each, every one of another domain. Their version is SHA-256 of the texts, one after
/// another, in hexadecimal digits, as `cat FILES | sha256sum` tells it: whatever the files are called.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn compile(sources: &[Source], key: FingerprintKey) -> Result<VersionedPolicies, Problems> {
    let policies = config::compile(sources, key)?;
    Ok(VersionedPolicies { policies, version: version(sources) })
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

/// What became of policies that were read and are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// They are in force.
    Changed,
    /// They say what those say that are in force, to the letter.
    Unchanged,
}

/// A file or a folder of policies, and the policies in force that it replaces.
pub struct PolicyFiles {
    path: PathBuf,
    key: FingerprintKey,
    active: Arc<ActivePolicies>,
}

impl PolicyFiles {
    /// The policies at a path, whose buckets are named under a key.
    pub const fn new(path: PathBuf, key: FingerprintKey, active: Arc<ActivePolicies>) -> Self {
        Self { path, key, active }
    }

    /// Reads the policies and puts them in force, unless they are in force already. Problems are counted, and told by
    /// [`ActivePolicies::rejected`].
    ///
    /// # Errors
    /// Everything that is wrong; those before stay in force then.
    pub fn reload(&self, now: Timestamp) -> Result<Reloaded, Problems> {
        self.settle(self.read(now), now)
    }

    /// Reads policies and prepares them; nothing where they are in force already.
    fn read(&self, now: Timestamp) -> Result<Option<LoadedPolicies>, Problems> {
        let sources = config::read(&self.path)?;
        if version(&sources) == *self.active.load().version() {
            return Ok(None);
        }
        Ok(Some(self.active.prepare(compile(&sources, self.key)?, now)))
    }

    /// Puts in force what was read, or tells why that is not possible.
    fn settle(
        &self,
        read: Result<Option<LoadedPolicies>, Problems>,
        now: Timestamp,
    ) -> Result<Reloaded, Problems> {
        match read {
            Ok(Some(next)) => {
                self.active.put(next, now);
                Ok(Reloaded::Changed)
            }
            Ok(None) => {
                self.active.keep();
                Ok(Reloaded::Unchanged)
            }
            Err(problems) => {
                self.active.reject(problems.to_string(), now);
                Err(problems)
            }
        }
    }
}

/// Reads the policies again, whoever asks for it: one at a time, so that what was read last is in force, and on
/// a thread of its own, so that a path that hangs holds up nobody. See [`Reader`].
pub struct Reloader {
    files: Arc<PolicyFiles>,
    clock: Arc<dyn Clock>,
    reader: Reader,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").field("path", &self.files.path).finish_non_exhaustive()
    }
}

impl Reloader {
    /// For the policies in a file or a folder.
    pub fn new(files: PolicyFiles, clock: Arc<dyn Clock>) -> Self {
        Self { files: Arc::new(files), clock, reader: Reader::default() }
    }

    /// As [`PolicyFiles::reload`], and logs what came of it and why it was read. Where nothing can be read in time,
    /// or reading panics, that is a problem like others.
    ///
    /// # Errors
    /// Everything that is wrong; those before stay in force then.
    pub async fn reload(&self, cause: Cause) -> Result<Reloaded, Problems> {
        let (files, clock) = (Arc::clone(&self.files), Arc::clone(&self.clock));
        let read = move || files.read(clock.now());
        let (files, clock) = (Arc::clone(&self.files), Arc::clone(&self.clock));
        let settle = move |read: Result<_, Unread>| {
            let read = read.unwrap_or_else(|unread| {
                Err(Problems::of_path(&files.path, &format!("cannot be read: {unread}")))
            });
            let settled = files.settle(read, clock.now());
            log(&settled, files.active.load().version().id(), cause);
            settled
        };
        self.reader.read(read, settle).await
    }
}

/// Logs what came of a reload.
fn log(settled: &Result<Reloaded, Problems>, version: &str, cause: Cause) {
    match settled {
        Ok(Reloaded::Changed) => {
            tracing::info!(%version, %cause, "reloaded: another policy is in force");
        }
        // Nobody asked, and nothing came of it.
        Ok(Reloaded::Unchanged) if cause == Cause::FileChange => {
            tracing::debug!(%version, %cause, "not reloaded: the policy says what it said");
        }
        Ok(Reloaded::Unchanged) => {
            tracing::info!(%version, %cause, "not reloaded: the policy says what it said");
        }
        Err(problems) => {
            tracing::error!(%problems, %version, %cause,
                "not reloaded: the policy before stays in force");
        }
    }
}

/// Why policies are read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Their files may have changed.
    FileChange,
    /// SIGHUP was received.
    Hangup,
    /// Somebody asked for it over HTTP.
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
