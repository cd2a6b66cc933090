//! A runtime folder of envoyproxy/ratelimit: which of its files are read, and that they are read again as new versions
//! come, by a new root or by a ConfigMap.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code: a failure is a panic")]

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tollgate::clock::Clock;
use tollgate::config::ratelimit::{self, RuntimeFolder, Settings};
use tollgate::file_watch::FileWatch;
use tollgate::policy::fingerprint::FingerprintKey;
use tollgate::policy_files::{Location, PolicyFiles, Reloaded};

use super::support::Parts;

/// How long an event of the file system may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

fn write_domain(path: &Path, domain: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!("domain: {domain}\ndescriptors: [{{ key: a }}]\n")).unwrap();
}

/// Writes a file below a root, of a domain of that name.
fn write(root: &Path, path: &str) {
    write_domain(&root.join(path), path);
}

/// Replaces a link as deployments do: by renaming another over it.
fn replace(link: &Path, target: &str) {
    let new = link.with_file_name("new_link");
    symlink(target, &new).unwrap();
    std::fs::rename(new, link).unwrap();
}

/// Reloads the folder when `change` is noticed, and returns its domains before and after.
async fn reloaded(folder: RuntimeFolder, change: impl FnOnce()) -> [Vec<String>; 2] {
    let location = Location::RuntimeFolder(folder);
    let parts = Parts::new(&[], 1000);
    let files = PolicyFiles::at(
        location.clone(),
        Settings::default(),
        parts.key,
        Arc::clone(&parts.policies),
    );
    let domains = || -> Vec<String> {
        let policies = parts.policies.load();
        policies.policies().iter().map(|policy| policy.domain().to_owned()).collect()
    };
    let mut watch = FileWatch::start(vec![location.watched()]).await.unwrap();
    assert_eq!(files.reload(parts.clock.now()).unwrap(), Reloaded::Changed);
    let before = domains();
    change();
    timeout(PATIENCE, watch.changed()).await.unwrap();
    assert_eq!(files.reload(parts.clock.now()).unwrap(), Reloaded::Changed);
    [before, domains()]
}

#[tokio::test]
async fn a_new_root_is_noticed_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("current");
    write_domain(&folder.path().join("one/ratelimit/config/a.yaml"), "one");
    write_domain(&folder.path().join("two/ratelimit/config/b"), "two");
    symlink("one", &root).unwrap();
    let runtime = RuntimeFolder {
        root: root.clone(),
        subdirectory: "ratelimit".into(),
        app_directory: "config".into(),
        ignores_dotfiles: false,
        watches_root: true,
    };
    let domains = reloaded(runtime, || replace(&root, "two")).await;
    assert_eq!(domains, [["one"], ["two"]]);
}

#[tokio::test]
async fn a_new_version_of_a_config_map_is_noticed_and_read() {
    let root = tempfile::tempdir().unwrap();
    let config = root.path().join("config");
    write_domain(&config.join("..2026_1/a.yaml"), "one");
    write_domain(&config.join("..2026_2/a.yaml"), "two");
    symlink("..2026_1", config.join("..data")).unwrap();
    symlink("..data/a.yaml", config.join("a.yaml")).unwrap();
    let runtime = RuntimeFolder {
        root: root.path().to_owned(),
        subdirectory: "".into(),
        app_directory: "config".into(),
        ignores_dotfiles: true,
        watches_root: false,
    };
    let domains = reloaded(runtime, || replace(&config.join("..data"), "..2026_2")).await;
    assert_eq!(domains, [["one"], ["two"]]);
}

#[test]
fn a_fault_keeps_what_is_in_force() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("config/a.yaml");
    write_domain(&file, "one");
    let folder = RuntimeFolder {
        root: root.path().to_owned(),
        subdirectory: "".into(),
        app_directory: "config".into(),
        ignores_dotfiles: false,
        watches_root: false,
    };
    let parts = Parts::new(&[], 1000);
    let location = Location::RuntimeFolder(folder);
    let files =
        PolicyFiles::at(location, Settings::default(), parts.key, Arc::clone(&parts.policies));
    assert_eq!(files.reload(parts.clock.now()).unwrap(), Reloaded::Changed);
    // Every file there is a ratelimit configuration.
    std::fs::write(root.path().join("config/README.md"), "# Limits\n").unwrap();
    let told = files.reload(parts.clock.now()).unwrap_err().to_string();
    let expected = "README.md:2:1: expected a ratelimit configuration: `domain` and `descriptors`, found nothing";
    assert!(told.ends_with(expected), "{told}");
    assert!(parts.policies.load().get("one").is_some());
    assert!(parts.policies.rejected().is_some());
}

fn folder(root: &Path) -> RuntimeFolder {
    RuntimeFolder {
        root: root.to_owned(),
        subdirectory: "ratelimit".into(),
        app_directory: "config".into(),
        ignores_dotfiles: false,
        watches_root: false,
    }
}

/// The files of a runtime folder, below its root.
fn names(folder: &RuntimeFolder) -> Vec<String> {
    let sources = ratelimit::read(folder).unwrap_or_else(|problems| panic!("{problems}"));
    let root = format!("{}/ratelimit/", folder.root.display());
    sources.iter().map(|source| source.name.strip_prefix(&root).unwrap().to_owned()).collect()
}

#[test]
fn every_file_below_the_app_folder_is_read() {
    let root = tempfile::tempdir().unwrap();
    for path in ["b.yaml", "a", "inner/c.txt", ".hidden", "inner/.d/e", "README.md"] {
        write(root.path(), &format!("ratelimit/config/{path}"));
    }
    for path in [
        "ratelimit/other.yaml",
        "ratelimit/config.yaml",
        "ratelimit/config.d/a",
        "config/a",
        "linked/x",
    ] {
        write(root.path(), path);
    }
    let config = root.path().join("ratelimit/config");
    symlink(root.path().join("config/a"), config.join("file")).unwrap();
    symlink(root.path().join("linked"), config.join("folder")).unwrap();
    symlink("gone", config.join("nowhere")).unwrap();
    let mut folder = folder(root.path());
    let all = [".hidden", "README.md", "a", "b.yaml", "file", "inner/.d/e", "inner/c.txt"];
    let all = all.map(|name| format!("config/{name}"));
    assert_eq!(names(&folder), all);
    folder.ignores_dotfiles = true;
    let without_dots: Vec<_> = all.iter().filter(|name| !name.contains("/.")).cloned().collect();
    assert_eq!(names(&folder), without_dots);
    folder.watches_root = true;
    assert_eq!(
        names(&folder).iter().filter(|name| without_dots.contains(name)).count(),
        without_dots.len()
    );
    assert_eq!(names(&folder).len(), without_dots.len() + ["config.d/a", "config.yaml"].len());
}

#[test]
fn a_folder_that_is_not_there_is_told_unless_the_root_is_yet_to_come() {
    let root = tempfile::tempdir().unwrap();
    let mut folder = folder(root.path());
    let told = ratelimit::read(&folder).unwrap_err().to_string();
    let begins = format!("{}/ratelimit/config: cannot be read: ", root.path().display());
    let ends = "; configurations are read from RUNTIME_ROOT, RUNTIME_SUBDIRECTORY and \
                RUNTIME_APPDIRECTORY, joined to a path";
    assert!(told.starts_with(&begins) && told.ends_with(ends), "{told}");
    folder.watches_root = true;
    assert_eq!(ratelimit::read(&folder).unwrap(), []);
}

/// As the reference does: a trap that it is worth a line in the log.
#[test]
fn nothing_is_read_without_the_names_that_are_needed() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "config/a");
    write(root.path(), "ratelimit/config/a");
    let needed = folder(root.path());
    let without_subdirectory = RuntimeFolder { subdirectory: "".into(), ..needed.clone() };
    assert_eq!(ratelimit::read(&without_subdirectory).unwrap().len(), 1);
    let off = [
        RuntimeFolder { watches_root: true, ..without_subdirectory },
        RuntimeFolder { app_directory: "".into(), ..needed.clone() },
        RuntimeFolder { app_directory: "a/b".into(), watches_root: true, ..needed.clone() },
    ];
    for folder in off {
        assert!(folder.is_off());
        assert_eq!(ratelimit::read(&folder).unwrap(), []);
    }
    assert!(!needed.is_off());
}

/// As Kubernetes mounts a ConfigMap: each file is there twice, once behind a name that begins with a dot.
#[test]
fn a_config_map_is_read_once_without_dotfiles_and_else_told_how() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "ratelimit/config/..2026_1/a.yaml");
    let config = root.path().join("ratelimit/config");
    symlink("..2026_1", config.join("..data")).unwrap();
    symlink("..data/a.yaml", config.join("a.yaml")).unwrap();
    let mut folder = folder(root.path());
    let sources = ratelimit::read(&folder).unwrap();
    assert_eq!(sources.len(), 2);
    let compiled =
        ratelimit::compile_texts(&sources, FingerprintKey::fixed(0), &Settings::default());
    let told = compiled.unwrap_err().to_string();
    let ends = "RUNTIME_IGNOREDOTFILES=true leaves out what begins with a dot, as in a ConfigMap";
    assert!(told.ends_with(ends), "{told}");
    folder.ignores_dotfiles = true;
    assert_eq!(names(&folder), ["config/a.yaml"]);
}

#[test]
fn a_folder_of_too_many_files_is_told() {
    let root = tempfile::tempdir().unwrap();
    (0..1001).for_each(|at| write(root.path(), &format!("ratelimit/config/{at}")));
    let told = ratelimit::read(&folder(root.path())).unwrap_err().to_string();
    assert!(
        told.contains("it contains more than 1000 files; keep only configurations there"),
        "{told}"
    );
}
