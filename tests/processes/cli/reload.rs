//! `serve` and changed files, or SIGHUP: another policy comes into force as a whole, or the one before stays and it is told why.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;

use super::eventually;
use super::query::query;
use super::serve::{QUIET, Served};

/// So many a day, so that time does not matter.
fn policy(size: u32) -> String {
    format!(
        "domain: d\ntables: [{{ name: t, key: [k], rows: {{ all: [{{ per_day: {size} }}] }} }}]\n"
    )
}

/// What `sha256sum` tells of the policy in the test of versions.
const VERSION: &str = "0db30443480e8c981ae97544cb35a95d49ec399d69486d7c304bf5917cc5898e";

fn serve(path: &Path, watch: &str) -> Served {
    let args = ["--config", path.to_str().unwrap(), "--watch", watch, "--log-level", "debug"];
    Served::start(&[&QUIET[..], &args].concat(), &[])
}

pub(crate) fn get(server: &Served, path: &str) -> String {
    let mut stream = TcpStream::connect(server.http).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{text}");
    body.to_owned()
}

fn config(server: &Served) -> Value {
    serde_json::from_str(&get(server, "/config")).unwrap()
}

fn in_force(server: &Served) -> Value {
    config(server)["policies"][0]["tables"][0]["rows"][0]["buckets"][0].clone()
}

#[test]
fn a_changed_policy_comes_into_force_and_what_was_used_stays_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, policy(2)).unwrap();
    let server = serve(&path, "off");
    let ask = || query(&server, &[&["--domain", "d", "k=1"]]).code;
    assert_eq!([ask(), ask(), ask()], [Some(0), Some(0), Some(1)]);
    std::fs::write(&path, policy(4)).unwrap();
    server.signal("HUP");
    eventually("the other policy", || in_force(&server) == "4 per day");
    assert_eq!(get(&server, "/readyz"), "ready\n");
    // Two were used: of four, two are left.
    assert_eq!([ask(), ask(), ask()], [Some(0), Some(0), Some(1)]);
    assert_eq!(query(&server, &[&["--domain", "d", "k=2"]]).code, Some(0));
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn a_wrong_policy_is_told_of_until_a_right_one_comes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, policy(2)).unwrap();
    let server = serve(&path, "off");
    assert_eq!(config(&server)["rejected"], Value::Null);
    let errors = || {
        let metrics = get(&server, "/metrics");
        let name = "tollgate_config_reload_errors_total ";
        metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(errors(), 0);
    std::fs::write(&path, "domain: d\ntabels: []\n").unwrap();
    server.signal("HUP");
    eventually("it is refused", || errors() == 1);
    let refused = config(&server)["rejected"].clone();
    let problem = refused["problems"][0].as_str().unwrap();
    assert!(problem.contains("policy.yaml:1:1: `tables` is missing"), "{problem}");
    let at = refused["at"].as_str().unwrap();
    let ready = get(&server, "/readyz");
    let told =
        format!("ready\nthe previous policy stays in force; the one read at {at} was rejected:\n");
    assert!(ready.starts_with(&told) && ready.contains(problem), "{ready}");
    assert_eq!(in_force(&server), "2 per day");
    assert_eq!(query(&server, &[&["--domain", "d", "k=1"]]).code, Some(0));
    std::fs::remove_file(&path).unwrap();
    server.signal("HUP");
    eventually("a file that is gone is refused", || errors() == 2);
    assert_eq!(in_force(&server), "2 per day");
    std::fs::write(&path, policy(3)).unwrap();
    server.signal("HUP");
    eventually("the right one", || in_force(&server) == "3 per day");
    assert_eq!(config(&server)["rejected"], Value::Null);
    assert_eq!(get(&server, "/readyz"), "ready\n");
    let (code, log) = server.stop();
    assert_eq!(code, Some(0));
    let told = |text: &str| log.iter().filter(|line| line.contains(text)).count();
    assert_eq!((told("the previous version stays"), told("a new version is in force")), (2, 1));
}

#[test]
fn the_version_is_the_hash_of_what_was_read_and_the_same_again_is_no_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    let text = "domain: d\ntables: [{ name: t, key: [k], rows: { all: unlimited } }]\n";
    std::fs::write(&path, text).unwrap();
    let server = serve(&path, "off");
    let before = config(&server);
    assert_eq!(before["version"], VERSION);
    assert_eq!(before["sources"], serde_json::json!([path.to_str().unwrap()]));
    std::fs::write(&path, "domain: d\n").unwrap();
    server.signal("HUP");
    eventually("it is refused", || config(&server)["rejected"] != Value::Null);
    assert_eq!(config(&server)["version"], VERSION);
    std::fs::write(&path, text).unwrap();
    server.signal("HUP");
    eventually("it is right again", || config(&server)["rejected"] == Value::Null);
    assert_eq!(
        config(&server),
        before,
        "nothing has changed, nor the time since when it is in force"
    );
    let (_, log) = server.stop();
    let told = |text: &str| log.iter().filter(|line| line.contains(text)).count();
    let again = "policy is valid again: the version in force is unchanged";
    assert_eq!((told(again), told("a new version is in force")), (1, 0), "{log:?}");
}

/// A policy with as many warnings as tables.
fn warned(tables: usize) -> String {
    let table = |at| {
        format!("  - {{ name: t{at}, select: k, key: [k], rows: {{ one: [{{ per_day: 2 }}] }} }}\n")
    };
    format!("domain: d\ntables:\n{}", (0..tables).map(table).collect::<String>())
}

#[test]
fn warnings_are_logged_once_for_each_load_and_refuse_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, warned(1)).unwrap();
    let server = serve(&path, "off");
    let of = |server: &Served| config(server)["warnings"].clone();
    let position = "policy.yaml:3:17: warning: tables[0].select: the table has no row `default`";
    assert_eq!(of(&server).as_array().unwrap().len(), 1);
    assert!(of(&server)[0].as_str().unwrap().contains(position), "{}", of(&server));
    // The same again is no load.
    server.signal("HUP");
    std::fs::write(&path, warned(25)).unwrap();
    server.signal("HUP");
    eventually("the other policy", || of(&server).as_array().unwrap().len() == 25);
    std::fs::write(&path, policy(2)).unwrap();
    server.signal("HUP");
    eventually("the last policy", || of(&server) == serde_json::json!([]));
    let (code, log) = server.stop();
    assert_eq!(code, Some(0));
    let lines = |text: &str| log.iter().filter(|line| line.contains(text)).collect::<Vec<_>>();
    let told = lines("the policy may limit less than it seems");
    assert_eq!(told.len(), 1 + 20, "{log:?}");
    assert!(told[0].contains("\"WARN\"") && told[0].contains(position), "{}", told[0]);
    let more = lines("the policy has more warnings");
    assert!(more.len() == 1 && more[0].contains("\"omitted\":5"), "{more:?}");
}

/// Watches while `change` is made, after which the policy allows 3 a day.
fn is_seen(path: &Path, change: impl FnOnce()) {
    let server = serve(path, "on");
    assert_eq!(in_force(&server), "2 per day");
    change();
    eventually("the changed policy", || in_force(&server) == "3 per day");
    // Once for each change, and not for ever.
    std::fs::write(path, policy(4)).unwrap();
    eventually("the policy that was changed again", || in_force(&server) == "4 per day");
    let (code, log) = server.stop();
    assert_eq!(code, Some(0));
    let told = |text: &str| log.iter().filter(|line| line.contains(text)).count();
    assert_eq!(told("a new version is in force"), 2, "{log:?}");
    assert!(told("policy not reloaded: it is unchanged") < 10, "{log:?}");
}

#[test]
fn a_file_written_in_place_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, policy(2)).unwrap();
    is_seen(&path, || std::fs::write(&path, policy(3)).unwrap());
}

/// As in a container into which the file is mounted alone: nothing happens in its folder.
#[test]
fn a_file_written_by_another_name_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("policy.yaml"), tempfile::tempdir_in(folder.path()));
    let other = other.unwrap();
    std::fs::write(&path, policy(2)).unwrap();
    let name = other.path().join("another.yaml");
    std::fs::hard_link(&path, &name).unwrap();
    is_seen(&path, || std::fs::write(&name, policy(3)).unwrap());
}

#[test]
fn a_file_renamed_over_the_policy_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, policy(2)).unwrap();
    is_seen(&path, || {
        let new = path.with_extension("new");
        std::fs::write(&new, policy(3)).unwrap();
        std::fs::rename(&new, &path).unwrap();
    });
}

#[test]
fn a_folder_put_in_the_place_of_the_policys_is_read_again() {
    let root = tempfile::tempdir().unwrap();
    let folder = |name: &str, size| {
        let folder = root.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("policy.yaml"), policy(size)).unwrap();
        folder
    };
    let (first, second) = (folder("policies", 2), folder("next", 3));
    is_seen(&first.join("policy.yaml"), || {
        std::fs::rename(&first, root.path().join("old")).unwrap();
        std::fs::rename(&second, &first).unwrap();
    });
}

/// A volume as Kubernetes mounts a ConfigMap, and how it replaces one.
struct Volume(tempfile::TempDir);

impl Volume {
    fn new() -> Self {
        let volume = Self(tempfile::tempdir().unwrap());
        volume.put("..1", &policy(2));
        symlink("..data/policy.yaml", volume.0.path().join("policy.yaml")).unwrap();
        volume
    }

    fn put(&self, folder: &str, text: &str) {
        let root = self.0.path();
        std::fs::create_dir(root.join(folder)).unwrap();
        std::fs::write(root.join(folder).join("policy.yaml"), text).unwrap();
        symlink(folder, root.join("..data_tmp")).unwrap();
        std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    }

    fn replace(&self) {
        self.put("..2", &policy(3));
        std::fs::remove_dir_all(self.0.path().join("..1")).unwrap();
    }
}

#[test]
fn a_mounted_file_that_kubernetes_replaces_is_read_again() {
    let volume = Volume::new();
    is_seen(&volume.0.path().join("policy.yaml"), || volume.replace());
}

#[test]
fn a_mounted_folder_that_kubernetes_replaces_is_read_again() {
    let volume = Volume::new();
    let server = serve(volume.0.path(), "on");
    assert_eq!(in_force(&server), "2 per day");
    volume.replace();
    eventually("the changed policy", || in_force(&server) == "3 per day");
    // Another domain, and none of it any more.
    let domains = || config(&server)["policies"].as_array().unwrap().len();
    let other = volume.0.path().join("other.yaml");
    std::fs::write(&other, policy(1).replace("domain: d", "domain: e")).unwrap();
    eventually("one more", || domains() == 2);
    std::fs::remove_file(&other).unwrap();
    eventually("one less", || domains() == 1);
    // A wrong one is told of until it is right.
    std::fs::write(&other, "domain: d\n").unwrap();
    eventually("it is refused", || config(&server)["rejected"] != Value::Null);
    assert_eq!(in_force(&server), "3 per day");
    std::fs::remove_file(&other).unwrap();
    eventually("it is right", || config(&server)["rejected"] == Value::Null);
}
