//! Commands that call a server over TLS: the same flags for each, and errors that say what to do.

use super::certificates::Authority;
use super::serve::{QUIET, Served};
use super::{Ended, run, run_in};

/// A server whose sides both verify callers, and who may call it.
struct Lab {
    callers: Authority,
    folder: tempfile::TempDir,
    server: Served,
}

const NAMES: [(&str, &str); 2] =
    [("TOLLGATE_GRPC_TLS_CLIENT_NAME", "job"), ("TOLLGATE_HTTP_TLS_CLIENT_NAME", "job")];

impl Lab {
    fn start() -> Self {
        let (ours, callers) = (Authority::new(), Authority::new());
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        ours.issue(&["localhost"]).write(folder.path(), "server");
        callers.issue(&["job"]).write(folder.path(), "job");
        callers.issue(&["guest"]).write(folder.path(), "guest");
        Authority::new().issue(&["job"]).write(folder.path(), "stranger");
        std::fs::write(path("ours.pem"), ours.pem()).unwrap();
        std::fs::write(path("callers.pem"), callers.pem()).unwrap();
        let side = |side: &str| {
            [("cert", "server.cert.pem"), ("key", "server.key.pem"), ("client-ca", "callers.pem")]
                .map(|(flag, name)| [format!("--{side}-tls-{flag}"), path(name)])
                .concat()
        };
        let flags = [side("grpc"), side("http")].concat();
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let server = Served::start(&[&QUIET[..], &flags].concat(), &NAMES);
        Self { callers, folder, server }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// The flags of a caller with this certificate, if it has one.
    fn flags(&self, shown: Option<&str>) -> Vec<String> {
        let mut flags = vec!["--tls-ca".to_owned(), self.path("ours.pem")];
        for (flag, end) in [("--tls-cert", "cert"), ("--tls-key", "key")] {
            let pair = shown.map(|name| [flag.to_owned(), self.path(&format!("{name}.{end}.pem"))]);
            flags.extend(pair.into_iter().flatten());
        }
        flags
    }

    fn grpc(&self, scheme: &str) -> String {
        format!("{scheme}localhost:{}", self.server.grpc.port())
    }

    fn http(&self, scheme: &str) -> String {
        format!("{scheme}localhost:{}", self.server.http.port())
    }
}

fn call(args: &[&str], flags: &[String]) -> Ended {
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    run(&[args, &flags].concat())
}

const IMPORT: [&str; 3] =
    ["tenant=acme", "tenant_type=startup", "endpoint_group=create_import_users_job"];

#[test]
fn a_query_is_answered_over_mutual_tls_and_ends_a_job() {
    let lab = Lab::start();
    let (grpc, http) = (lab.grpc("https://"), lab.http("https://"));
    // The domain comes from the HTTP side.
    let query = |args: &[&str]| {
        let address = ["query", "--addr", &grpc, "--http", &http];
        call(&[&address[..], args].concat(), &lab.flags(Some("job")))
    };
    let first = query(&IMPORT);
    assert_eq!((first.code, &*first.err), (Some(0), ""), "{first:?}");
    let lease = first.out.lines().find_map(|line| line.strip_prefix("  x-tollgate-lease: "));
    let lease = format!("lease={}", lease.unwrap());
    assert_eq!([query(&IMPORT).code, query(&IMPORT).code], [Some(0), Some(1)]);
    let released = query(&["--release", &lease]);
    assert!(released.code == Some(0) && released.out.contains("released: 1"), "{released:?}");
    assert_eq!(query(&IMPORT).code, Some(0));
}

#[test]
fn every_command_takes_the_same_flags_and_variables() {
    let lab = Lab::start();
    let (grpc, http) =
        (format!("https://{}", lab.server.grpc), format!("https://{}", lab.server.http));
    let commands: [&[&str]; 5] = [
        &["query", "--addr", &grpc, "--domain", "d", "k=1"],
        &["query", "--addr", &grpc, "--http", &http, "k=1"],
        &["health", "--addr", &http],
        &["admin", "--addr", &http, "leases"],
        &["admin", "reload", "--addr", &http],
    ];
    let flags = lab.flags(Some("job"));
    let named = [&flags[..], &["--tls-name".to_owned(), "localhost".to_owned()]].concat();
    let variables = [
        ("TOLLGATE_ADMIN_TLS_CA", lab.path("ours.pem")),
        ("TOLLGATE_ADMIN_TLS_CERT", lab.path("job.cert.pem")),
        ("TOLLGATE_ADMIN_TLS_KEY", lab.path("job.key.pem")),
        ("TOLLGATE_ADMIN_TLS_NAME", "localhost".to_owned()),
    ];
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, &**value)).collect();
    for command in commands {
        let ended = call(command, &named);
        assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{command:?}: {ended:?}");
        let ended = run_in(command, &variables);
        assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{command:?}: {ended:?}");
        // The certificate is for another name than the address.
        let ended = call(command, &flags);
        assert_ne!(ended.code, Some(0), "{command:?}");
        let told = ended.out + &ended.err;
        assert!(told.contains("set --tls-name to a name that it has"), "{command:?}: {told}");
    }
}

/// What a command tells that gets no answer. `health` tells it on standard output, and ends with 1.
fn told(args: &[&str], flags: &[String]) -> String {
    let Ended { code, out, err } = call(args, flags);
    let is_health = args.first() == Some(&"health");
    assert_eq!(code, Some(if is_health { 1 } else { 2 }), "{args:?}: {out}{err}");
    let (told, other) = if is_health { (out, err) } else { (err, out) };
    assert_eq!((told.lines().count(), &*other), (1, ""), "{args:?}: {told}");
    told
}

#[test]
fn whoever_is_not_let_in_is_told_why_and_what_to_do() {
    let lab = Lab::start();
    let (grpc, http) = (lab.grpc("https://"), lab.http("https://"));
    let query: &[&str] = &["query", "--addr", &grpc, "--domain", "d", "k=1"];
    let health: &[&str] = &["health", "--addr", &http];
    let leases: &[&str] = &["admin", "leases", "--addr", &http];
    for command in [query, health, leases] {
        let told = |flags: &[String]| told(command, flags);
        assert!(told(&[]).contains(": set --tls-ca to a file with the CA certificates"));
        let other = ["--tls-ca".to_owned(), lab.path("callers.pem")];
        let unknown = told(&other);
        let expected = ": the server's certificate is not from a CA in --tls-ca; set --tls-ca to ";
        assert!(unknown.contains(expected), "{unknown}");
        let stranger = told(&lab.flags(Some("stranger")));
        let expected = ": the server rejects the client certificate (UnknownCA); set --tls-cert ";
        assert!(stranger.contains(expected), "{stranger}");
        let key = lab.path("job.key.pem");
        let no_certificate = told(&["--tls-ca".to_owned(), key.clone()]);
        assert!(no_certificate.contains(&format!("{key}: it contains no certificate")));
    }
    let none = told(query, &lab.flags(None));
    let expected = format!(
        "no server at {grpc}: the server requires a client certificate; set --tls-cert and --tls-key\n"
    );
    assert_eq!(none, expected);
    let guest = told(query, &lab.flags(Some("guest")));
    assert!(guest.contains("allows none of the names in the client certificate; "), "{guest}");
    // Over HTTP everybody may read.
    for shown in [None, Some("guest")] {
        assert_eq!(call(leases, &lab.flags(shown)).code, Some(0), "{shown:?}");
    }
    let expired = lab.callers.issue_expired(&["job"]);
    expired.write(lab.folder.path(), "expired");
    let expired = told(query, &lab.flags(Some("expired")));
    assert!(expired.contains("rejects the client certificate (CertificateExpired); "), "{expired}");
}

#[test]
fn plain_text_to_tls_and_tls_to_plain_text_are_told_as_such() {
    let lab = Lab::start();
    let plain = Served::start(&QUIET, &[]);
    let tls = "the server expects TLS here; write https://HOST:PORT, and set --tls-ca\n";
    let no_tls = "the server does not speak TLS here; write http:// instead of https://\n";
    let flags = lab.flags(Some("job"));
    for (grpc, http, expected) in [
        (lab.grpc(""), lab.http("http://"), tls),
        (format!("https://{}", plain.grpc), format!("https://{}", plain.http), no_tls),
    ] {
        for command in [
            &["query", "--addr", &grpc, "--domain", "d", "k=1"][..],
            &["health", "--addr", &http],
            &["admin", "leases", "--addr", &http],
        ] {
            let told = told(command, &flags);
            assert!(told.ends_with(&format!(": {expected}")), "{command:?}: {told}");
        }
    }
    let (grpc, http) = (lab.grpc("https://"), lab.http("https://"));
    for crossed in [
        &["query", "--addr", &http, "--domain", "d", "k=1"][..],
        &["admin", "leases", "--addr", &grpc],
    ] {
        let told = told(crossed, &flags);
        assert!(told.contains(": the server speaks another protocol here; "), "{told}");
    }
}
