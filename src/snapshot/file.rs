//! The snapshot file: written to a temporary file and renamed, so that it is always whole, and moved to quarantine if
//! it cannot be read.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::clock::{Nanos, Now};
use crate::file;
use crate::policy::LimitHistory;
use crate::policy::fingerprint::FingerprintKey;
use crate::store::MemoryStore;
use crate::store::memory::snapshot::{self, Restored, SnapshotError};

/// Permissions of the file. With the key in a snapshot one can construct values whose buckets collide, and with a lease
/// release it, so only the owner may read it.
const OWNER_ONLY: u32 = 0o600;

/// Symbolic links that are followed to one file, as many as Linux follows.
const MAX_LINKS: usize = 40;

/// Bytes that are written before a flush to the disk.
const FLUSH_BYTES: usize = 1 << 20;

/// A path that cannot be a snapshot file.
#[derive(Debug, thiserror::Error)]
#[error("{} is not a file; --snapshot takes the path of a file, which need not exist yet", .0.display())]
pub struct NotAFile(PathBuf);

/// Another process has locked the path.
#[derive(Debug, thiserror::Error)]
#[error(
    "another process keeps its state in {}: stop it first, or give each process its own --snapshot",
    .0.display()
)]
pub struct InUse(PathBuf);

/// Keeps other processes from using a snapshot's path until this is dropped or the process dies.
#[derive(Debug)]
pub struct PathLock {
    /// `None` if the file system has no locks, or the folder is not writable.
    _lock: Option<File>,
}

/// The snapshot file of one process.
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    /// With symbolic links resolved.
    path: PathBuf,
    /// The next snapshot until it is complete.
    temp_path: PathBuf,
    /// The quarantine: the last snapshot that could not be restored.
    damaged_path: PathBuf,
    /// A file to lock in place of the snapshot, which is replaced at every write.
    lock_path: PathBuf,
}

impl SnapshotFile {
    /// A file that exists or may be created. Symbolic links are resolved first: the temporary file is then in the
    /// folder of the target, and renaming it does not replace the link.
    ///
    /// # Errors
    /// [`NotAFile`] for a folder, a device or the like, and for a loop of links.
    pub fn new(path: PathBuf) -> Result<Self, NotAFile> {
        let path = resolve_links(path)?;
        let is_other = fs::metadata(&path).is_ok_and(|what| !what.is_file());
        let Some(name) = path.file_name().filter(|_| !is_other) else {
            return Err(NotAFile(path));
        };
        let sibling = |end: &str| {
            let mut sibling = name.to_owned();
            sibling.push(end);
            path.with_file_name(sibling)
        };
        Ok(Self {
            temp_path: sibling(".new"),
            damaged_path: sibling(".damaged"),
            lock_path: sibling(".lock"),
            path,
        })
    }

    /// Locks the path for this process. If it cannot be locked, logs a warning and goes on without.
    ///
    /// # Errors
    /// [`InUse`] if another process has locked it.
    pub fn lock(&self) -> Result<PathLock, InUse> {
        let mut options = OpenOptions::new();
        let opened = options.create(true).append(true).mode(OWNER_ONLY).open(&self.lock_path);
        let locked = opened.map_err(TryLockError::Error).and_then(|lock| {
            lock.try_lock()?;
            Ok(lock)
        });
        match locked {
            Ok(lock) => Ok(PathLock { _lock: Some(lock) }),
            Err(TryLockError::WouldBlock) => Err(InUse(self.path.clone())),
            Err(TryLockError::Error(error)) => {
                let lock = self.lock_path.display();
                tracing::warn!(%lock, %error, "cannot lock the snapshot: another process may overwrite it");
                Ok(PathLock { _lock: None })
            }
        }
    }

    /// The path, with symbolic links resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the snapshot, and returns its number of keys. If the process or the machine dies meanwhile, either the
    /// old or the new snapshot is there and whole. Only the owner may read it.
    ///
    /// # Errors
    /// If the folder is not writable or the disk is full; the old snapshot is then unchanged.
    pub fn write(
        &self,
        store: &MemoryStore,
        key: FingerprintKey,
        limits: &LimitHistory,
        now: impl Into<Now>,
    ) -> io::Result<usize> {
        let written = self.write_temp(store, key, limits, now.into());
        if written.is_err() {
            // An incomplete file only takes space. It may not exist at all.
            let _ = fs::remove_file(&self.temp_path);
        }
        let keys = written?;
        fs::rename(&self.temp_path, &self.path)?;
        File::open(self.folder())?.sync_all()?;
        Ok(keys)
    }

    fn write_temp(
        &self,
        store: &MemoryStore,
        key: FingerprintKey,
        limits: &LimitHistory,
        now: Now,
    ) -> io::Result<usize> {
        // A process that was killed may have left one, with other permissions.
        match fs::remove_file(&self.temp_path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(OWNER_ONLY).open(&self.temp_path)?;
        let writer = FlushingWriter { file: &file, unflushed: 0 };
        let keys = snapshot::write(store, key, limits, now, BufWriter::new(writer))?;
        file.sync_all()?;
        Ok(keys)
    }

    fn folder(&self) -> &Path {
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        parent.unwrap_or(Path::new("."))
    }

    /// Restores the snapshot to a store of at most `max_keys` keys; `None` if there is none, or it is damaged. A
    /// damaged one is moved to quarantine, where it replaces an earlier one. Logs the result.
    pub fn restore(&self, max_keys: usize, now: impl Into<Now>) -> Option<Restored> {
        let path = self.path.display();
        match self.read(max_keys, now.into()) {
            Ok(restored) => {
                log_restored(&restored, &self.path);
                Some(restored)
            }
            Err(SnapshotError::Unreadable(error)) if error.kind() == ErrorKind::NotFound => {
                tracing::info!(%path, "there is no snapshot yet: every bucket starts full");
                None
            }
            Err(problem) => {
                let done = self.quarantine();
                tracing::error!(
                    %path, %problem, done,
                    "the snapshot cannot be restored: every bucket starts full"
                );
                None
            }
        }
    }

    fn read(&self, max_keys: usize, now: Now) -> Result<Restored, SnapshotError> {
        snapshot::read(BufReader::new(file::open(&self.path)?), max_keys, now)
    }

    /// Moves a damaged snapshot away, and describes the result for the log.
    fn quarantine(&self) -> String {
        let (damaged, had_one) = (self.damaged_path.display(), self.damaged_path.exists());
        match fs::rename(&self.path, &self.damaged_path) {
            Ok(()) if had_one => format!("moved to {damaged}, in place of an earlier one"),
            Ok(()) => format!("moved to {damaged}"),
            Err(error) => {
                format!("cannot be moved to {damaged}, and the next snapshot replaces it: {error}")
            }
        }
    }
}

/// The target of symbolic links, whether it exists or not.
fn resolve_links(path: PathBuf) -> Result<PathBuf, NotAFile> {
    let mut end = path.clone();
    for _ in 0..=MAX_LINKS {
        let Ok(target) = fs::read_link(&end) else { return Ok(end) };
        // A relative target is relative to the folder of the link.
        end = end.parent().map_or_else(|| target.clone(), |folder| folder.join(&target));
    }
    Err(NotAFile(path))
}

/// Flushes to the disk after every [`FLUSH_BYTES`]. A file of 200 MB flushed only at the end stopped all other threads
/// for 4 to 7 ms; see docs/performance.md.
struct FlushingWriter<'a> {
    file: &'a File,
    unflushed: usize,
}

impl Write for FlushingWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.file.write(bytes)?;
        self.unflushed += taken;
        if self.unflushed >= FLUSH_BYTES {
            self.file.sync_data()?;
            self.unflushed = 0;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn log_restored(restored: &Restored, path: &Path) {
    let (path, store) = (path.display(), &restored.store);
    let (keys, leases, evicted) = (store.len(), store.lease_count(), store.evictions());
    tracing::info!(%path, keys, leases, evicted, "the snapshot is restored");
    if restored.ahead > Nanos::ZERO {
        tracing::warn!(
            %path, ahead = %restored.ahead,
            "the snapshot is from the future, since the clock was set back: it counts as taken now"
        );
    }
}
