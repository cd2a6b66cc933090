use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Once;

use tempfile::TempDir;

use super::*;
use crate::clock::{ManualClock, Nanos};
use crate::descriptor::Hits;
use crate::limit::{Bucket, Unit};
use crate::live::{PolicyVersion, VersionedPolicies};
use crate::observe::telemetry::Telemetry;
use crate::policy::{LimitHistory, Policies};
use crate::store::memory::tests::{NOW, charge, is_admitted, tokens};

const KEY: FingerprintKey = FingerprintKey::fixed(7);

/// A folder, a snapshot path in it, and a store to write there.
struct Fixture {
    folder: TempDir,
    path: PathBuf,
    store: Arc<MemoryStore>,
    day: Bucket,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (store, day) = (Arc::new(MemoryStore::new(1_000)), tokens(1, Unit::Day));
        Self { folder, path, store, day }
    }

    fn file(&self) -> SnapshotFile {
        SnapshotFile::new(self.path.clone()).unwrap()
    }

    fn writer(&self) -> Writer {
        Writer {
            file: self.file(),
            store: Arc::clone(&self.store),
            key: KEY,
            policies: self.policies(),
            clock: Arc::new(ManualClock::at(NOW)),
            counters: SnapshotCounters::default(),
        }
    }

    fn policies(&self) -> Arc<ActivePolicies> {
        let none = VersionedPolicies {
            policies: Policies::default(),
            version: PolicyVersion::new("1".to_owned(), Vec::new()),
            warnings: Vec::new(),
        };
        let telemetry = Arc::new(Telemetry::new(Arc::clone(&self.store)));
        Arc::new(ActivePolicies::new(none, telemetry, NOW))
    }

    /// Makes the store one key larger.
    fn spend(&self, name: &str) {
        assert!(is_admitted(&self.store, NOW, &[charge(name, &self.day, Hits::ONE)]));
    }

    /// The number of keys in the file.
    fn keys(&self) -> Option<usize> {
        Some(self.file().restore(1_000, NOW)?.store.len())
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }
}

/// The log of the thread, while it is kept.
struct ThreadLog;

thread_local! {
    static KEPT: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

impl Write for ThreadLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        KEPT.with_borrow_mut(|kept| kept.iter_mut().for_each(|kept| kept.extend(bytes)));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log lines of this thread.
///
/// All threads have one subscriber. A subscriber of this thread alone would miss lines: if a thread without one is the
/// first to reach a line of the code that logs, `tracing` takes it that nobody wants it, for all threads.
fn log_of(what: impl FnOnce()) -> Vec<String> {
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| {
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(|| ThreadLog);
        tracing::subscriber::set_global_default(log.finish()).unwrap();
    });
    KEPT.set(Some(Vec::new()));
    what();
    let text = String::from_utf8(KEPT.take().unwrap_or_default()).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("never: {what}");
}

#[test]
fn a_snapshot_replaces_the_previous_one_and_only_its_owner_may_read_it() {
    let fixture = Fixture::new();
    // A temporary file of a process that was killed, and a snapshot that everyone may read.
    for name in ["state.new", "state"] {
        fs::write(fixture.folder.path().join(name), "left").unwrap();
        let everyone = fs::Permissions::from_mode(0o666);
        fs::set_permissions(fixture.folder.path().join(name), everyone).unwrap();
    }
    for (keys, name) in [(1, "a"), (2, "b")] {
        fixture.spend(name);
        assert_eq!(
            fixture.file().write(&fixture.store, KEY, &LimitHistory::default(), NOW).unwrap(),
            keys
        );
        assert_eq!(fs::metadata(&fixture.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!((fixture.keys(), fixture.names()), (Some(keys), vec!["state".to_owned()]));
    }
}

#[test]
fn a_snapshot_that_cannot_be_written_leaves_the_previous_one() {
    let fixture = Fixture::new();
    fixture.spend("a");
    fixture.file().write(&fixture.store, KEY, &LimitHistory::default(), NOW).unwrap();
    fixture.spend("b");
    fs::create_dir(fixture.folder.path().join("state.new")).unwrap();
    fixture.file().write(&fixture.store, KEY, &LimitHistory::default(), NOW).unwrap_err();
    assert_eq!(fixture.keys(), Some(1));
}

#[test]
fn every_failure_is_counted_and_the_first_and_the_end_are_logged() {
    let fixture = Fixture::new();
    let writer = fixture.writer();
    let in_the_way = fixture.folder.path().join("state.new");
    let mut is_failing = false;
    let mut write = || {
        let log = log_of(|| is_failing = writer.write(NOW.into(), is_failing));
        log.iter().map(|line| line.contains("ERROR")).collect::<Vec<_>>()
    };
    assert!(write().is_empty());
    fs::create_dir(&in_the_way).unwrap();
    assert_eq!([write(), write(), write()], [vec![true], vec![], vec![]]);
    assert_eq!(writer.counters.failed.get(), 3);
    fs::remove_dir(&in_the_way).unwrap();
    assert_eq!([write(), write()], [vec![false], vec![]]);
    fs::create_dir(&in_the_way).unwrap();
    assert_eq!(write(), [true]);
}

#[test]
fn a_missing_snapshot_is_not_an_error() {
    let fixture = Fixture::new();
    let log = log_of(|| assert!(fixture.keys().is_none()));
    assert!(log.len() == 1 && log[0].contains("INFO"), "{log:?}");
    assert_eq!(fixture.names(), Vec::<String>::new());
}

#[test]
fn a_damaged_file_is_logged_in_one_line_and_quarantined_in_place_of_an_earlier_one() {
    let fixture = Fixture::new();
    let (damaged, path) = (fixture.folder.path().join("state.damaged"), fixture.path.display());
    let endings = [format!("moved to {}", damaged.display()), "of an earlier one".to_owned()];
    for (damage, ending) in ["first", "second"].into_iter().zip(endings) {
        fs::write(&fixture.path, damage).unwrap();
        let log = log_of(|| assert!(fixture.keys().is_none()));
        assert_eq!(log.len(), 1, "{log:?}");
        for expected in ["ERROR", &format!("path={path}"), "it ends too early", &ending] {
            assert!(log[0].contains(expected), "{expected}: {log:?}");
        }
        assert_eq!(fs::read_to_string(&damaged).unwrap(), damage);
        assert_eq!(fixture.names(), ["state.damaged"]);
    }
}

#[test]
fn a_damaged_file_that_cannot_be_quarantined_is_logged_as_such() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.folder.path().join("state.damaged")).unwrap();
    fs::write(&fixture.path, "tollgate, but nothing of the kind").unwrap();
    let log = log_of(|| assert!(fixture.keys().is_none()));
    assert!(log.len() == 1 && log[0].contains("cannot be moved to"), "{log:?}");
}

#[test]
fn a_snapshot_from_the_future_is_logged() {
    let fixture = Fixture::new();
    fixture.spend("a");
    fixture
        .file()
        .write(&fixture.store, KEY, &LimitHistory::default(), NOW.after(Nanos::from_secs(90)))
        .unwrap();
    let log = log_of(|| assert_eq!(fixture.keys(), Some(1)));
    assert!(log.len() == 2 && log[1].contains("WARN") && log[1].contains("1m 30s"), "{log:?}");
}

#[test]
fn a_path_that_is_not_a_file_is_rejected_and_left_alone() {
    let fixture = Fixture::new();
    let folder = fixture.folder.path().to_owned();
    for path in [folder.clone(), folder.join(".."), "/".into(), "/dev/null".into()] {
        let refused = SnapshotFile::new(path.clone()).unwrap_err();
        assert!(refused.to_string().starts_with(&format!("{} is not a file", path.display())));
    }
    assert!(folder.is_dir());
    assert!(SnapshotFile::new("state".into()).is_ok());
}

/// Writes through a link, and returns the names in its folder.
fn written_through(fixture: &Fixture, link: &std::path::Path) -> Vec<String> {
    let file = SnapshotFile::new(link.to_owned()).unwrap();
    let _lock = file.lock().unwrap();
    file.write(&fixture.store, KEY, &LimitHistory::default(), NOW).unwrap();
    assert!(fs::symlink_metadata(link).unwrap().is_symlink(), "the link is gone");
    assert_eq!(file.restore(1_000, NOW).unwrap().store.len(), fixture.store.len());
    fixture.names()
}

#[test]
fn a_symbolic_link_is_followed_and_stays() {
    let fixture = Fixture::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("kept");
    fs::write(&target, "left").unwrap();
    std::os::unix::fs::symlink(&target, &fixture.path).unwrap();
    fixture.spend("a");
    fixture.file().write(&fixture.store, KEY, &LimitHistory::default(), NOW).unwrap();
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(written_through(&fixture, &fixture.path), ["state"]);
    let names = fs::read_dir(elsewhere.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    assert_eq!(names, ["kept", "kept.lock"]);
}

#[test]
fn chains_of_links_and_dangling_links_are_followed() {
    let fixture = Fixture::new();
    let folder = fixture.folder.path();
    fs::create_dir(folder.join("inner")).unwrap();
    // state -> inner/next -> ../kept, which is not there.
    std::os::unix::fs::symlink("inner/next", &fixture.path).unwrap();
    std::os::unix::fs::symlink("../kept", folder.join("inner/next")).unwrap();
    for name in ["a", "b"] {
        fixture.spend(name);
        assert_eq!(
            written_through(&fixture, &fixture.path),
            ["inner", "kept", "kept.lock", "state"]
        );
    }
    assert!(fs::symlink_metadata(folder.join("inner/next")).unwrap().is_symlink());
    assert!(fs::symlink_metadata(folder.join("kept")).unwrap().is_file());
}

#[test]
fn a_lock_holds_for_a_link_to_the_path_too() {
    let fixture = Fixture::new();
    let link = fixture.folder.path().join("link");
    std::os::unix::fs::symlink(&fixture.path, &link).unwrap();
    let _lock = fixture.file().lock().unwrap();
    assert!(SnapshotFile::new(link).unwrap().lock().is_err());
}

#[test]
fn the_target_of_a_link_is_quarantined_in_its_own_folder() {
    let fixture = Fixture::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("kept");
    fs::write(&target, "damaged").unwrap();
    std::os::unix::fs::symlink(&target, &fixture.path).unwrap();
    let log = log_of(|| assert!(fixture.keys().is_none()));
    assert!(log.len() == 1 && log[0].contains("kept.damaged"), "{log:?}");
    assert_eq!(fs::read_to_string(elsewhere.path().join("kept.damaged")).unwrap(), "damaged");
    assert_eq!(fixture.names(), ["state"]);
}

#[test]
fn loops_of_links_and_links_to_other_than_files_are_rejected() {
    let fixture = Fixture::new();
    let folder = fixture.folder.path();
    for (link, target) in [("one", "two"), ("two", "one"), ("folder", "."), ("null", "/dev/null")] {
        std::os::unix::fs::symlink(target, folder.join(link)).unwrap();
    }
    for link in ["one", "folder", "null"] {
        let refused = SnapshotFile::new(folder.join(link)).unwrap_err().to_string();
        assert!(refused.contains(" is not a file; "), "{link}: {refused}");
    }
}

#[test]
fn a_snapshot_is_written_at_once_and_at_the_end() {
    let fixture = Fixture::new();
    let writing = fixture.writer().start(Duration::from_secs(86_400)).unwrap();
    eventually("it is written at once", || fixture.path.exists());
    fixture.spend("decided last");
    writing.finish();
    assert_eq!(fixture.keys(), Some(1));
}

#[test]
fn a_snapshot_is_written_at_every_interval() {
    let fixture = Fixture::new();
    let writing = fixture.writer().start(Duration::from_millis(1)).unwrap();
    for (keys, name) in [(1, "a"), (2, "b"), (3, "c")] {
        fixture.spend(name);
        eventually("it is written again", || fixture.keys() == Some(keys));
    }
    writing.finish();
}
