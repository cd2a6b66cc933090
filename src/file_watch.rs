//! Notices that files may have changed: written in place, replaced by renaming, or reached by a symbolic link with a
//! new target, which is how Kubernetes updates mounted files.
//!
//! Watching a file is not enough: renaming another file over it is an event of the folder. So every folder is watched
//! in which a component of the path, or of a link on it, is looked up.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// A series of events counts as complete after this time without another.
const QUIET: Duration = Duration::from_millis(100);

/// The longest wait for a series to complete: the files may be written all the time.
const MAX_SETTLING: Duration = Duration::from_secs(2);

/// Attempts to set up a watch while the paths change.
const MAX_ATTEMPTS: usize = 16;

/// Symbolic links that are followed on one path, as many as Linux follows.
const MAX_LINKS: usize = 40;

/// A watch on files and folders.
#[derive(Debug)]
pub struct FileWatch {
    paths: Vec<PathBuf>,
    changes: Arc<Notify>,
    /// Watches until it is dropped.
    watcher: RecommendedWatcher,
}

impl FileWatch {
    /// Watches files, and folders with the files in them, from now on. They need not exist.
    ///
    /// # Errors
    /// If none of the folders on their paths can be watched.
    pub async fn start(paths: Vec<PathBuf>) -> notify::Result<Self> {
        let paths = paths.iter().map(std::path::absolute).collect::<Result<Vec<_>, _>>()?;
        let changes = Arc::new(Notify::new());
        let watcher = watch(&paths, &changes).await?;
        Ok(Self { paths, changes, watcher })
    }

    /// Completes when a file may have changed since the start or the previous call, and the series of events is over.
    /// A read after it gets the newest content, or the next call completes at once.
    pub async fn changed(&mut self) {
        self.changes.notified().await;
        let first = Instant::now();
        while first.elapsed() < MAX_SETTLING
            && timeout(QUIET, self.changes.notified()).await.is_ok()
        {}
        // Links may have new targets by now, and folders may have been replaced.
        match watch(&self.paths, &self.changes).await {
            Ok(watcher) => self.watcher = watcher,
            Err(error) => {
                tracing::warn!(%error, "cannot renew the watch: changes of files may go unnoticed")
            }
        }
    }
}

/// On a blocking thread, since looking up paths may take long.
async fn watch(paths: &[PathBuf], changes: &Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let (paths, changes) = (paths.to_vec(), Arc::clone(changes));
    let watcher = tokio::task::spawn_blocking(move || watcher(&paths, &changes));
    watcher.await.unwrap_or_else(|error| Err(notify::Error::generic(&error.to_string())))
}

fn watcher(paths: &[PathBuf], changes: &Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let mut watched = WatchSet::of(paths);
    for _ in 0..MAX_ATTEMPTS {
        let watcher = watch_all(watched.clone(), Arc::clone(changes))?;
        // A link may have changed before it was watched.
        let again = WatchSet::of(paths);
        if again == watched {
            return Ok(watcher);
        }
        watched = again;
    }
    Err(notify::Error::generic("the paths change all the time"))
}

fn watch_all(watched: WatchSet, changes: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let watched = Arc::new(watched);
    let in_handler = Arc::clone(&watched);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // After an error, any file may have changed.
        if event.is_err() || event.is_ok_and(|event| in_handler.concerns(&event)) {
            changes.notify_one();
        }
    })?;
    let mut failure = None;
    let mut watches_any = false;
    for path in watched.watch_paths() {
        // A folder that cannot be read or does not exist does not prevent watching the others.
        match watcher.watch(path, RecursiveMode::NonRecursive) {
            Ok(()) => watches_any = true,
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if !watches_any => Err(error),
        _ => Ok(watcher),
    }
}

fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().map(|part| part.as_os_str().to_owned())
}

/// The names that some paths depend on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct WatchSet {
    /// Every name that is looked up on the paths.
    names: BTreeSet<PathBuf>,
    /// The targets of the paths: files, or folders in which every file matters.
    targets: BTreeSet<PathBuf>,
}

impl WatchSet {
    fn of(paths: &[PathBuf]) -> Self {
        let mut watched = Self::default();
        for path in paths {
            let target = watched.resolve(path);
            let entries = std::fs::read_dir(&target).into_iter().flatten();
            let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
            for link in files.filter(|path| path.is_symlink()) {
                watched.resolve(&link);
            }
            watched.targets.insert(target);
        }
        watched
    }

    /// Adds every name on an absolute path, and returns its target.
    fn resolve(&mut self, path: &Path) -> PathBuf {
        let mut ahead: VecDeque<OsString> = parts(path).collect();
        let mut here = PathBuf::new();
        let mut links = 0;
        while let Some(part) = ahead.pop_front() {
            match Path::new(&part).components().next() {
                Some(Component::Normal(name)) => here.push(name),
                Some(Component::ParentDir) => {
                    here.pop();
                    continue;
                }
                Some(Component::CurDir) | None => continue,
                // The root, as of an absolute link.
                Some(Component::RootDir | Component::Prefix(_)) => {
                    here = PathBuf::from(part);
                    continue;
                }
            }
            self.names.insert(here.clone());
            if let Ok(target) = std::fs::read_link(&here)
                && links < MAX_LINKS
            {
                links += 1;
                here.pop();
                ahead = parts(&target).chain(ahead).collect();
            }
        }
        here
    }

    /// The folders of the names, and the targets. A target may be written under another name, as a single file mounted
    /// into a container is.
    fn watch_paths(&self) -> BTreeSet<&Path> {
        let of_names = self.names.iter().filter_map(|name| name.parent());
        of_names.chain(self.targets.iter().map(|target| &**target)).collect()
    }

    fn concerns(&self, event: &Event) -> bool {
        let is_change = match event.kind {
            // Reading the file is an access, too.
            EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
            _ => true,
        };
        let is_ours = |path: &PathBuf| {
            self.names.contains(path)
                || path.parent().is_some_and(|folder| self.targets.contains(folder))
        };
        is_change && (event.need_rescan() || event.paths.iter().any(is_ours))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// As Kubernetes mounts a file: a link to a file in `..data`, which is a link to a folder.
    fn mounted() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let volume = root.path().join("volume");
        std::fs::create_dir_all(volume.join("..2026_1")).unwrap();
        std::fs::write(volume.join("..2026_1/policy.yaml"), "").unwrap();
        symlink("..2026_1", volume.join("..data")).unwrap();
        symlink("..data/policy.yaml", volume.join("policy.yaml")).unwrap();
        root
    }

    fn event(kind: EventKind, path: &Path) -> Event {
        Event::new(kind).add_path(path.to_owned())
    }

    fn changed(path: &Path) -> Event {
        event(EventKind::Any, path)
    }

    #[test]
    fn every_name_on_the_path_to_a_file_matters_and_no_other() {
        let root = mounted();
        let root = root.path().canonicalize().unwrap();
        let volume = root.join("volume");
        let watched = WatchSet::of(&[volume.join("policy.yaml")]);
        let own = ["", "policy.yaml", "..data", "..2026_1", "..2026_1/policy.yaml"];
        for name in own {
            assert!(watched.concerns(&changed(&volume.join(name))), "{name}");
        }
        assert!(watched.concerns(&changed(&root)));
        for other in ["other.yaml", "..data/policy.yaml", "..2026_1/other.yaml"] {
            assert!(!watched.concerns(&changed(&volume.join(other))), "{other}");
        }
        let paths = watched.watch_paths();
        let folder = volume.join("..2026_1");
        for path in [&root, &volume, &folder, &folder.join("policy.yaml")] {
            assert!(paths.contains(&**path), "{path:?}");
        }
    }

    #[test]
    fn every_file_in_a_folder_matters_and_the_targets_of_its_links() {
        let root = mounted();
        let volume = root.path().canonicalize().unwrap().join("volume");
        let watched = WatchSet::of(std::slice::from_ref(&volume));
        for name in ["new.yaml", "..2026_2", "..2026_1/policy.yaml"] {
            assert!(watched.concerns(&changed(&volume.join(name))), "{name}");
        }
        assert!(!watched.concerns(&changed(&volume.join("..2026_1/other.yaml"))));
    }

    #[test]
    fn reading_a_file_is_not_a_change() {
        let root = mounted();
        let path = root.path().canonicalize().unwrap().join("volume/policy.yaml");
        let watched = WatchSet::of(std::slice::from_ref(&path));
        let of = |kind| watched.concerns(&event(EventKind::Access(kind), &path));
        let read = AccessKind::Open(AccessMode::Any);
        let written = AccessKind::Close(AccessMode::Write);
        assert_eq!((of(read), of(written)), (false, true));
    }

    #[test]
    fn following_a_loop_of_links_ends() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().canonicalize().unwrap().join("a");
        symlink("b", &path).unwrap();
        symlink("./a", path.with_file_name("b")).unwrap();
        let watched = WatchSet::of(std::slice::from_ref(&path));
        assert!(watched.names.contains(&path.with_file_name("b")));
    }
}
