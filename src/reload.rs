//! The policies in force: one immutable snapshot, replaced as a whole.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use hashbrown::HashMap;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::clock::{Clock, Timestamp};
use crate::config::{self, Problems, Source};
use crate::policy::Policy;
use crate::policy::fingerprint::FingerprintKey;
use crate::reading::{Reader, Unread};
use crate::reply::Denials;
use crate::telemetry::{PolicyCounters, Telemetry};
use crate::wire;

/// What a request sees, from its first step to its last.
#[derive(Debug)]
pub struct Snapshot {
    by_domain: HashMap<Box<str>, LoadedPolicy>,
    content: Content,
    loaded_at: Timestamp,
}

/// A policy, and what is made of it once, when it is loaded.
#[derive(Debug)]
pub struct LoadedPolicy {
    /// The policy.
    pub policy: Policy,
    /// The handles of its metrics.
    pub counters: PolicyCounters,
    /// Its denials as they go out.
    pub denials: Denials,
}

impl Snapshot {
    /// The policy of a domain.
    pub fn of(&self, domain: &str) -> Option<&LoadedPolicy> {
        self.by_domain.get(domain)
    }

    /// Every policy, ordered by domain.
    pub fn policies(&self) -> Vec<&Policy> {
        let mut policies: Vec<_> = self.by_domain.values().map(|loaded| &loaded.policy).collect();
        policies.sort_unstable_by(|a, b| a.domain().cmp(b.domain()));
        policies
    }

    /// What it was compiled from.
    pub const fn content(&self) -> &Content {
        &self.content
    }

    /// When it came into force.
    pub const fn loaded_at(&self) -> Timestamp {
        self.loaded_at
    }
}

/// The texts that policies were compiled from, by name, length and hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Lengths as well as names: what moves from one file to the next is a change.
    sources: Vec<(String, usize)>,
    hash: [u8; 32],
}

impl Content {
    fn of(sources: &[Source]) -> Self {
        let mut hash = Sha256::new();
        for source in sources {
            hash.update(&source.text);
        }
        let sources = sources.iter().map(|source| (source.name.clone(), source.text.len()));
        Self { sources: sources.collect(), hash: hash.finalize().into() }
    }

    /// What each text is called, in order.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(|(name, _)| &**name)
    }

    /// SHA-256 of the texts, one after another, in hexadecimal digits: what `cat FILES | sha256sum` tells.
    /// It is the same on every replica that has the same policies, whatever their files are called.
    pub fn version(&self) -> String {
        self.hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Policies that were read and did not come into force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// When they were read.
    pub at: Timestamp,
    /// Everything that is wrong with them, one problem a line.
    pub problems: String,
}

/// What became of policies that were read and are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// They are in force.
    Changed,
    /// They say what those say that are in force, to the letter.
    Unchanged,
}

/// The snapshot in force, and the means to replace it.
#[derive(Debug)]
pub struct Live {
    snapshot: ArcSwap<Snapshot>,
    refused: ArcSwapOption<Refused>,
    /// The one before. It is kept until the next comes, so that it is taken apart here, and not by
    /// whichever request was the last to read it: ten thousand rows take milliseconds.
    replaced: Mutex<Option<Arc<Snapshot>>>,
    key: FingerprintKey,
    telemetry: Arc<Telemetry>,
}

impl Live {
    /// Compiles the first policies.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn new(
        sources: &[Source],
        key: FingerprintKey,
        telemetry: Arc<Telemetry>,
        now: Timestamp,
    ) -> Result<Self, Problems> {
        let snapshot = ArcSwap::from_pointee(snapshot(sources, key, &telemetry, now)?);
        let refused = ArcSwapOption::empty();
        telemetry.reloads().taken(now);
        Ok(Self { snapshot, refused, replaced: Mutex::default(), key, telemetry })
    }

    /// The snapshot in force.
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// The same, for who keeps it longer than a moment.
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// What was read last, if it was refused.
    pub fn refused(&self) -> Option<Arc<Refused>> {
        self.refused.load_full()
    }

    /// Reads policies from a file or a folder and puts them in force, as [`Self::replace`] does, unless they say
    /// nothing new. What is wrong is counted, and told by [`Self::refused`] until what is read is right.
    ///
    /// # Errors
    /// Everything that is wrong; the old ones stay in force then.
    pub fn reload(&self, path: &Path, now: Timestamp) -> Result<Reloaded, Problems> {
        self.settle(self.read(path, now), now)
    }

    /// Reads policies and compiles them, where they say anything new.
    fn read(&self, path: &Path, now: Timestamp) -> Result<Option<Snapshot>, Problems> {
        let sources = config::read(path)?;
        if Content::of(&sources) == *self.load().content() {
            return Ok(None);
        }
        snapshot(&sources, self.key, &self.telemetry, now).map(Some)
    }

    /// Puts in force what was read, or tells why that is not possible.
    fn settle(
        &self,
        read: Result<Option<Snapshot>, Problems>,
        now: Timestamp,
    ) -> Result<Reloaded, Problems> {
        let settled = read.map(|next| match next {
            Some(next) => {
                self.put(next, now);
                Reloaded::Changed
            }
            None => {
                self.telemetry.reloads().unchanged();
                Reloaded::Unchanged
            }
        });
        let refused = settled.as_ref().err().map(|problems| {
            self.telemetry.reloads().refused();
            Arc::new(Refused { at: now, problems: problems.to_string() })
        });
        self.refused.store(refused);
        settled
    }

    fn put(&self, next: Snapshot, now: Timestamp) {
        let replaced = self.snapshot.swap(Arc::new(next));
        *self.replaced.lock() = Some(replaced);
        self.telemetry.reloads().taken(now);
    }

    /// Compiles other policies and puts them in force as a whole. Buckets whose domain, table, row, key
    /// and period are the same keep their state.
    ///
    /// # Errors
    /// Everything that is wrong with them; the old ones stay in force then.
    pub fn replace(&self, sources: &[Source], now: Timestamp) -> Result<(), Problems> {
        let next = snapshot(sources, self.key, &self.telemetry, now)?;
        self.put(next, now);
        Ok(())
    }
}

fn snapshot(
    sources: &[Source],
    key: FingerprintKey,
    telemetry: &Telemetry,
    now: Timestamp,
) -> Result<Snapshot, Problems> {
    let policies: Vec<_> = config::compile(sources, key)?.into_policies().collect();
    let counters = telemetry.for_policies(&policies);
    let loaded = policies.into_iter().zip(counters).map(|(policy, counters)| {
        let denials = Denials::of(&policy, wire::place);
        (policy.domain().into(), LoadedPolicy { policy, counters, denials })
    });
    Ok(Snapshot { by_domain: loaded.collect(), content: Content::of(sources), loaded_at: now })
}

/// Reads the policies again, whoever asks for it: one at a time, so that what was read last is in force, and on
/// a thread of its own, so that a path that hangs holds up nobody. See [`Reader`].
pub struct Reloader {
    live: Arc<Live>,
    clock: Arc<dyn Clock>,
    path: PathBuf,
    reader: Reader,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Reloader {
    /// For the policies in a file or a folder.
    pub fn new(live: Arc<Live>, clock: Arc<dyn Clock>, path: PathBuf) -> Self {
        Self { live, clock, path, reader: Reader::default() }
    }

    /// As [`Live::reload`], and logs what came of it and why it was read. Where nothing can be read in time,
    /// or reading panics, that is a problem like others.
    ///
    /// # Errors
    /// Everything that is wrong; the old ones stay in force then.
    pub async fn reload(&self, cause: Cause) -> Result<Reloaded, Problems> {
        let (live, clock, path) =
            (Arc::clone(&self.live), Arc::clone(&self.clock), self.path.clone());
        let read = move || live.read(&path, clock.now());
        let (live, clock, path) =
            (Arc::clone(&self.live), Arc::clone(&self.clock), self.path.clone());
        let settle = move |read: Result<_, Unread>| {
            let read = read.unwrap_or_else(|unread| {
                Err(Problems::of_path(&path, &format!("cannot be read: {unread}")))
            });
            let settled = live.settle(read, clock.now());
            tell(&settled, &live.load().content().version(), cause);
            settled
        };
        self.reader.read(read, settle).await
    }
}

/// Logs what came of it.
fn tell(settled: &Result<Reloaded, Problems>, version: &str, cause: Cause) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn whoever_reads_a_replaced_snapshot_last_does_not_take_it_apart() {
        let text = "domain: d\ntables:\n  - { name: t, key: [], rows: { always: unlimited } }\n";
        let sources = [Source { name: "test.yaml".into(), text: text.into() }];
        let telemetry = Arc::new(Telemetry::new(Arc::new(MemoryStore::new(64))));
        let now = Timestamp::default();
        let live = Live::new(&sources, FingerprintKey::fixed(7), telemetry, now).unwrap();
        let reading = live.load();
        let read = Arc::downgrade(&reading);
        live.replace(&sources, now).unwrap();
        drop(reading);
        assert!(read.upgrade().is_some(), "the reader took it apart");
        live.replace(&sources, now).unwrap();
        assert!(read.upgrade().is_none(), "it is kept for ever");
    }
}
