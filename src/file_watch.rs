//! Whether files may have changed: written in place, replaced by renaming, or reached by a link that now leads
//! elsewhere, which is how Kubernetes replaces what it mounts.
//!
//! To watch a file is not enough, since what is renamed over it is another file. So are the folders in which its
//! name, and those of all folders and links on the way to it, are looked up.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// What is written in several steps is complete when there was none for so long.
const QUIET: Duration = Duration::from_millis(100);

/// How long to wait for that. Somebody may be writing all the time.
const MAX_SETTLING: Duration = Duration::from_secs(2);

/// How often it is tried to watch what changes meanwhile.
const MAX_TRIES: usize = 16;

/// How many links are followed, as by the system itself.
const MAX_LINKS: usize = 40;

/// Files and folders that are watched.
#[derive(Debug)]
pub struct FileWatch {
    paths: Vec<PathBuf>,
    changes: Arc<Notify>,
    /// Dropped, it watches no more.
    watcher: RecommendedWatcher,
}

impl FileWatch {
    /// Watches files, and folders with the files in them, from now on. They need not be there.
    ///
    /// # Errors
    /// Where the system does not watch, or none of the folders that lead to them.
    pub async fn start(paths: Vec<PathBuf>) -> notify::Result<Self> {
        let paths = paths.iter().map(std::path::absolute).collect::<Result<Vec<_>, _>>()?;
        let changes = Arc::new(Notify::new());
        let watcher = watch(&paths, &changes).await?;
        Ok(Self { paths, changes, watcher })
    }

    /// Completes when something may have changed since the start or the last time, and is complete as far as
    /// one can tell. What is read then is either the newest, or the next call completes at once.
    pub async fn changed(&mut self) {
        self.changes.notified().await;
        let first = Instant::now();
        while first.elapsed() < MAX_SETTLING
            && timeout(QUIET, self.changes.notified()).await.is_ok()
        {}
        // Links may lead elsewhere by now, and folders be others of the same name.
        match watch(&self.paths, &self.changes).await {
            Ok(watcher) => self.watcher = watcher,
            Err(error) => tracing::warn!(%error, "changed files may go unnoticed from now on"),
        }
    }
}

/// Elsewhere, since a disk may take its time.
async fn watch(paths: &[PathBuf], changes: &Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let (paths, changes) = (paths.to_vec(), Arc::clone(changes));
    let watching = tokio::task::spawn_blocking(move || watcher(&paths, &changes));
    watching.await.unwrap_or_else(|error| Err(notify::Error::generic(&error.to_string())))
}

fn watcher(paths: &[PathBuf], changes: &Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let mut watched = WatchSet::of(paths);
    for _ in 0..MAX_TRIES {
        let watcher = watch_all(watched.clone(), Arc::clone(changes))?;
        // A link that came to lead elsewhere before it was watched has told nobody.
        let again = WatchSet::of(paths);
        if again == watched {
            return Ok(watcher);
        }
        watched = again;
    }
    Err(notify::Error::generic("what leads to it changes all the time"))
}

fn watch_all(watched: WatchSet, changes: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let watched = Arc::new(watched);
    let told = Arc::clone(&watched);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // Where it is not known what happened, anything may have.
        if event.is_err() || event.is_ok_and(|event| told.concerns(&event)) {
            changes.notify_one();
        }
    })?;
    let mut refused = None;
    let mut is_watching = false;
    for place in watched.watch_paths() {
        // One on the way that may not be read, or is not there, is no reason not to watch the others.
        match watcher.watch(place, RecursiveMode::NonRecursive) {
            Ok(()) => is_watching = true,
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) if !is_watching => Err(error),
        _ => Ok(watcher),
    }
}

fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().map(|part| part.as_os_str().to_owned())
}

/// What matters to some paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct WatchSet {
    /// Everything that is looked up on the way to them.
    names: BTreeSet<PathBuf>,
    /// Where they lead: to a folder, in which everything matters, or to a file.
    ends: BTreeSet<PathBuf>,
}

impl WatchSet {
    fn of(paths: &[PathBuf]) -> Self {
        let mut watched = Self::default();
        for path in paths {
            let end = watched.resolve(path);
            let entries = std::fs::read_dir(&end).into_iter().flatten();
            let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
            for link in files.filter(|path| path.is_symlink()) {
                watched.resolve(&link);
            }
            watched.ends.insert(end);
        }
        watched
    }

    /// Notes every name on the way to an absolute path, and returns where it leads.
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
                // The root, from which the way begins anew.
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

    /// What there is to watch, each once: the folders where the names are, and the ends. A file among these may
    /// be written by another name, as one is that is mounted alone into a container.
    fn places(&self) -> BTreeSet<&Path> {
        let of_names = self.names.iter().filter_map(|name| name.parent());
        of_names.chain(self.ends.iter().map(|end| &**end)).collect()
    }

    fn concerns(&self, event: &Event) -> bool {
        let is_change = match event.kind {
            // It is read by ourselves, too.
            EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
            _ => true,
        };
        let is_ours = |path: &PathBuf| {
            self.names.contains(path)
                || path.parent().is_some_and(|folder| self.ends.contains(folder))
        };
        is_change && (event.need_rescan() || event.paths.iter().any(is_ours))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// As Kubernetes lays it out: the file is a link to one in `..data`, which is a link to a folder.
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
    fn every_name_on_the_way_to_a_file_matters_and_no_other() {
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
        let places = watched.watch_paths();
        let folder = volume.join("..2026_1");
        for place in [&root, &volume, &folder, &folder.join("policy.yaml")] {
            assert!(places.contains(&**place), "{place:?}");
        }
    }

    #[test]
    fn everything_in_a_folder_matters_and_what_its_links_lead_to() {
        let root = mounted();
        let volume = root.path().canonicalize().unwrap().join("volume");
        let watched = WatchSet::of(std::slice::from_ref(&volume));
        for name in ["new.yaml", "..2026_2", "..2026_1/policy.yaml"] {
            assert!(watched.concerns(&changed(&volume.join(name))), "{name}");
        }
        assert!(!watched.concerns(&changed(&volume.join("..2026_1/other.yaml"))));
    }

    #[test]
    fn reading_a_file_is_no_change() {
        let root = mounted();
        let path = root.path().canonicalize().unwrap().join("volume/policy.yaml");
        let watched = WatchSet::of(std::slice::from_ref(&path));
        let of = |kind| watched.concerns(&event(EventKind::Access(kind), &path));
        let read = AccessKind::Open(AccessMode::Any);
        let written = AccessKind::Close(AccessMode::Write);
        assert_eq!((of(read), of(written)), (false, true));
    }

    #[test]
    fn links_in_a_circle_come_to_an_end() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().canonicalize().unwrap().join("a");
        symlink("b", &path).unwrap();
        symlink("./a", path.with_file_name("b")).unwrap();
        let watched = WatchSet::of(std::slice::from_ref(&path));
        assert!(watched.names.contains(&path.with_file_name("b")));
    }
}
