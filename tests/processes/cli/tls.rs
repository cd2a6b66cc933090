//! `serve` over TLS: its flags, what SIGHUP does to certificates, and what it logs of who is refused.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::certificates::{Authority, client, exchange, get};
use super::serve::{QUIET, Served};
use super::{eventually, run, run_in};

/// What a server needs of files, in a folder.
struct Certificates {
    ours: Authority,
    callers: Authority,
    folder: tempfile::TempDir,
}

impl Certificates {
    fn new() -> Self {
        let (ours, callers) = (Authority::new(), Authority::new());
        let folder = tempfile::tempdir().unwrap();
        ours.issue(&["localhost"]).write(folder.path(), "server");
        std::fs::write(folder.path().join("callers.pem"), callers.pem()).unwrap();
        Self { ours, callers, folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// The flags of one side, `grpc` or `http`, callers' names left out.
    fn flags(&self, side: &str) -> Vec<String> {
        let flag = |flag: &str, file: &str| [format!("--{side}-tls-{flag}"), self.path(file)];
        [
            flag("cert", "server.cert.pem"),
            flag("key", "server.key.pem"),
            flag("client-ca", "callers.pem"),
        ]
        .concat()
    }
}

fn serve(flags: &[String], more: &[&str], env: &[(&str, &str)]) -> Served {
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    Served::start(&[&QUIET[..], &flags, more].concat(), env)
}

#[test]
fn a_flag_without_those_it_needs_and_a_name_that_is_none_end_it_with_2() {
    for side in ["grpc", "http"] {
        let flag = |name: &str| format!("--{side}-tls-{name}");
        for args in [
            vec![flag("cert"), "x".into()],
            vec![flag("key"), "x".into()],
            vec![flag("client-ca"), "x".into()],
            vec![flag("client-name"), "envoy".into()],
        ] {
            let args: Vec<_> = args.iter().map(String::as_str).collect();
            let ended = run(&[&["serve"], &args[..]].concat());
            assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
            assert!(ended.err.contains(&format!("--{side}-tls-")), "{args:?}: {ended:?}");
        }
        for (name, told) in [
            ("*.example.org", "names are matched as a whole, so `*` matches nothing"),
            ("a b", "write a DNS name or a URI, as in"),
            ("envoy,", "write a DNS name or a URI, as in"),
        ] {
            let ended = run(&["serve", &flag("client-name"), name]);
            assert_eq!(ended.code, Some(2), "{ended:?}");
            assert!(ended.err.contains(told), "{name}: {ended:?}");
        }
        let ended = run(&["serve", &flag("cert"), "nowhere.pem", &flag("key"), "nowhere.pem"]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.starts_with("cannot read the certificate in nowhere.pem: "), "{ended:?}");
        let twin = format!("TOLLGATE_{}_TLS_CLIENT_NAME", side.to_uppercase());
        let ended = run_in(&["serve"], &[(&twin, "envoy,*")]);
        assert!(ended.code == Some(2) && ended.err.contains("matches nothing"), "{ended:?}");
    }
}

#[test]
fn the_line_of_the_start_names_store_and_tls() {
    let certificates = Certificates::new();
    let [grpc, http] = ["grpc", "http"].map(|side| certificates.flags(side));
    // Without the client CA, the last flag of the three.
    let plain = |flags: &[String]| flags[..4].to_vec();
    for (flags, grpc_tls, http_tls) in [
        (plain(&grpc), "on", "off"),
        (plain(&http), "off", "on"),
        ([grpc.clone(), plain(&http)].concat(), "mutual", "on"),
        ([grpc, http].concat(), "mutual", "mutual"),
    ] {
        let server = serve(&flags, &[], &[]);
        let line: Value = serde_json::from_str(server.log.last().unwrap()).unwrap();
        let told = ["message", "store", "grpc_tls", "http_tls"].map(|name| &line["fields"][name]);
        assert_eq!(told, ["started", "memory", grpc_tls, http_tls], "{flags:?}");
    }
}

#[test]
fn who_is_refused_is_logged_without_the_control_characters_of_its_names() {
    let certificates = Certificates::new();
    let hostile = certificates.callers.issue(&["spiffe://a/\nFORGED \u{1b}[31mred"]);
    let envoy = certificates.callers.issue(&["envoy"]);
    for log in ["text", "json"] {
        let more = ["--log-format", log, "--log-level", "debug"];
        let names = ("TOLLGATE_GRPC_TLS_CLIENT_NAME", "front,spiffe://a/b,envoy");
        let args = [&QUIET[..5], &more].concat();
        let flags = certificates.flags("grpc");
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let server = Served::start(&[&args[..], &flags].concat(), &[names]);
        // One who is let in is hung up on for what it says, and not told by an alert.
        let call = |shown| {
            let config = client(&certificates.ours, Some(shown), b"h2");
            exchange(server.grpc, config, &[b'?'; 24]).map_err(|error| error.to_string())
        };
        let refused = call(&hostile).unwrap_err();
        assert!(refused.contains("AccessDenied"), "{refused}");
        assert!(!call(&envoy).is_err_and(|error| error.contains("AccessDenied")));
        let (code, lines) = server.stop();
        assert_eq!(code, Some(0));
        let is_plain = |line: &String| !line.contains(char::is_control);
        assert!(lines.iter().all(is_plain), "{lines:?}");
        assert!(!lines.iter().any(|line| line.starts_with("FORGED")), "{lines:?}");
        let told = |text| lines.iter().filter(|line| line.contains(text)).count();
        assert_eq!(told("a client certificate has no allowed name"), 1, "{lines:?}");
        assert_eq!(told("its TLS handshake failed: "), 1, "{lines:?}");
    }
}

#[test]
fn changed_certificates_are_read_at_a_signal_and_broken_ones_are_counted() {
    let certificates = Certificates::new();
    let flags = [certificates.flags("grpc"), certificates.flags("http")].concat();
    let server = serve(&flags, &["--watch", "off"], &[]);
    let ask = |trusted: &Authority, path: &str| get(server.http, trusted, None, path);
    assert!(ask(&certificates.ours, "/healthz").is_ok());
    let folder: &Path = certificates.folder.path();
    let next = Authority::new();
    next.issue(&["localhost"]).write(folder, "server");
    server.signal("HUP");
    eventually("the other certificate", || ask(&next, "/healthz").is_ok());
    assert!(ask(&certificates.ours, "/healthz").is_err());
    let errors = || {
        let metrics = ask(&next, "/metrics").unwrap();
        let name = "tollgate_tls_reload_errors_total ";
        metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(errors(), 0);
    let key: PathBuf = folder.join("server.key.pem");
    std::fs::write(key, Authority::new().issue(&["localhost"]).key).unwrap();
    server.signal("HUP");
    // Of both sides.
    eventually("they are refused", || errors() == 2);
    let (code, log) = server.stop();
    assert_eq!(code, Some(0));
    let told = |text: &str| log.iter().filter(|line| line.contains(text)).count();
    assert_eq!(told("new certificates are in force"), 2, "{log:?}");
    assert_eq!(told("the previous certificates stay in force"), 2, "{log:?}");
}

/// As Kubernetes mounts a Secret: each file is a link to one in `..data`, which is a link to a folder.
#[test]
fn certificates_that_are_mounted_are_read_when_they_are_replaced() {
    let certificates = Certificates::new();
    let folder = certificates.folder.path();
    let volume = folder.join("volume");
    let replace = |ours: &Authority, number: u32| {
        let version = format!("..{number}");
        std::fs::create_dir_all(volume.join(&version)).unwrap();
        ours.issue(&["localhost"]).write(&volume.join(&version), "server");
        symlink(&version, volume.join("..new")).unwrap();
        std::fs::rename(volume.join("..new"), volume.join("..data")).unwrap();
    };
    replace(&certificates.ours, 1);
    for name in ["server.cert.pem", "server.key.pem"] {
        std::fs::remove_file(folder.join(name)).unwrap();
        symlink(Path::new("volume/..data").join(name), folder.join(name)).unwrap();
    }
    let server = serve(&certificates.flags("http"), &[], &[]);
    let ask = |trusted: &Authority| get(server.http, trusted, None, "/healthz");
    assert!(ask(&certificates.ours).is_ok());
    for number in 2..4 {
        let next = Authority::new();
        replace(&next, number);
        eventually("the other certificate", || ask(&next).is_ok());
        assert!(ask(&certificates.ours).is_err());
    }
}
