//! Where a snapshot lies: written beside and renamed, so that there is always a whole one, and set aside
//! where it cannot be read.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::clock::{Nanos, Timestamp};
use crate::file;
use crate::policy::fingerprint::FingerprintKey;
use crate::store::MemoryStore;
use crate::store::memory::snapshot::{self, Restored, SnapshotError};

/// Who reads the key in a snapshot can make values whose buckets collide, and who reads a lease can give it
/// back: nobody but the owner may.
const OWNER_ONLY: u32 = 0o600;

/// The most links that are followed to one file: as many as Linux follows.
const MAX_LINKS: usize = 40;

/// Bytes that are written to the disk at a time.
const FLUSH_BYTES: usize = 1 << 20;

/// A path that can be no snapshot.
#[derive(Debug, thiserror::Error)]
#[error("{} is not a file; --snapshot takes the path of one, which need not be there yet", .0.display())]
pub struct NotAFile(PathBuf);

/// Another process keeps its state there.
#[derive(Debug, thiserror::Error)]
#[error(
    "another process keeps its state in {}: end it first, or give each its own --snapshot",
    .0.display()
)]
pub struct InUse(PathBuf);

/// Keeps other processes out of a snapshot's path, until it is dropped or the process dies.
#[derive(Debug)]
pub struct PathLock {
    /// None where the file system has no locks, or the folder cannot be written to.
    _lock: Option<File>,
}

/// The file of one process. Two that write to the same one overwrite each other's state.
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    /// No symbolic link.
    path: PathBuf,
    /// Where the next one is written until it is whole.
    temp_path: PathBuf,
    /// Where one goes that is not restored.
    damaged_path: PathBuf,
    /// Locked by whose snapshot it is: the file itself is replaced again and again.
    lock_path: PathBuf,
}

impl SnapshotFile {
    /// A file that is there or can be. Of a symbolic link it is the file that the link leads to: what lies beside
    /// it then lies in its folder, too, and renaming leaves the link as it is.
    ///
    /// # Errors
    /// [`NoFile`] for a folder, a device or the like, and for links that lead round in a circle.
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

    /// Claims the path for this process. Where nothing can be locked it is not claimed, and the log says so.
    ///
    /// # Errors
    /// [`InUse`] where another process has claimed it.
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
                tracing::warn!(%lock, %error, "nobody keeps other processes out of the snapshot");
                Ok(PathLock { _lock: None })
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a snapshot in place of the one before, as readable by its owner only. Whenever the process or
    /// the machine dies, one of the two is there whole. Returns how many keys it holds.
    ///
    /// # Errors
    /// Where the folder cannot be written to, or the disk is full; the one before is untouched then.
    pub fn write(
        &self,
        store: &MemoryStore,
        key: FingerprintKey,
        now: Timestamp,
    ) -> io::Result<usize> {
        let written = self.write_temp(store, key, now);
        if written.is_err() {
            // What is half written only takes room. It may not even be there.
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
        now: Timestamp,
    ) -> io::Result<usize> {
        // One may lie there from a process that was killed, with who knows what permissions.
        match fs::remove_file(&self.temp_path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(OWNER_ONLY).open(&self.temp_path)?;
        let writer = FlushingWriter { file: &file, unflushed: 0 };
        let keys = snapshot::write(store, key, now, BufWriter::new(writer))?;
        file.sync_all()?;
        Ok(keys)
    }

    fn folder(&self) -> &Path {
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        parent.unwrap_or(Path::new("."))
    }

    /// What the file tells, in a store of at most `max_keys` keys; `None` where there is none yet, or none
    /// that can be read to its end and is whole. Such a one is set aside for a person to look at, in place
    /// of an earlier one, so that there is one at most. Either way the log says what was done.
    pub fn restore(&self, max_keys: usize, now: Timestamp) -> Option<Restored> {
        let path = self.path.display();
        match self.read(max_keys, now) {
            Ok(restored) => {
                log_restored(&restored, &self.path);
                Some(restored)
            }
            Err(SnapshotError::Unreadable(error)) if error.kind() == ErrorKind::NotFound => {
                tracing::info!(%path, "no snapshot yet: starting with every bucket full");
                None
            }
            Err(problem) => {
                let done = self.quarantine();
                tracing::error!(
                    %path, %problem, done,
                    "the snapshot is not restored: starting with every bucket full"
                );
                None
            }
        }
    }

    fn read(&self, max_keys: usize, now: Timestamp) -> Result<Restored, SnapshotError> {
        snapshot::read(BufReader::new(file::open(&self.path)?), max_keys, now)
    }

    /// Tells what became of a file that is of no use.
    fn quarantine(&self) -> String {
        let (aside, had_one) = (self.damaged_path.display(), self.damaged_path.exists());
        match fs::rename(&self.path, &self.damaged_path) {
            Ok(()) if had_one => format!("set aside as {aside}, in place of an earlier one"),
            Ok(()) => format!("set aside as {aside}"),
            Err(error) => {
                format!("cannot be set aside as {aside}, and the next takes its place: {error}")
            }
        }
    }
}

/// Where symbolic links lead, be there a file or not.
fn resolve_links(path: PathBuf) -> Result<PathBuf, NotAFile> {
    let mut end = path.clone();
    for _ in 0..=MAX_LINKS {
        let Ok(target) = fs::read_link(&end) else { return Ok(end) };
        // A relative one counts from where the link lies.
        end = end.parent().map_or_else(|| target.clone(), |folder| folder.join(&target));
    }
    Err(NotAFile(path))
}

/// Has the disk write a piece as soon as there is one. A file of 200 MB that was written at the end, all at
/// once, had other threads stand still for 4 to 7 ms, whatever they were at; see docs/performance.md.
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
            "the snapshot is from the future, the clock was set back: it counts as taken now"
        );
    }
}
