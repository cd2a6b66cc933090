//! TLS, users, passwords, databases and prefixes; and that a password is told to nobody but the store.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::process::Tollgate;
use super::redis_server::{self, Redis};
use super::support::{call, eventually, give_back, request};

const DAILY: &str =
    "domain: d\ntables: [{ name: t, key: [k], rows: { all: [{ per_day: 200 }] } }]\n";

/// What vouches for a server, and what the server shows.
struct Certificates {
    _folder: TempDir,
    root: String,
    certificate: String,
    key: String,
}

impl Certificates {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &root).unwrap();
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        Self {
            root: write("root.pem", root.pem()),
            certificate: write("certificate.pem", certificate.pem()),
            key: write("key.pem", key.serialize_pem()),
            _folder: folder,
        }
    }

    /// A server that is asked over TLS, and where.
    fn server(&self, more: &[&str]) -> (Redis, String) {
        let port = redis_server::free_address().port().to_string();
        let own = ["--tls-port", &port, "--tls-cert-file", &self.certificate];
        let rest = ["--tls-key-file", &self.key, "--tls-ca-cert-file", &self.root];
        let auth = ["--tls-auth-clients", "no"];
        let redis = Redis::with(&[&own[..], &rest, &auth, more].concat());
        (redis, format!("127.0.0.1:{port}"))
    }
}

fn degraded(replica: &Tollgate) -> bool {
    replica.get("/readyz").starts_with("ready, degraded: the shared store is unavailable")
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn over_tls_the_store_is_asked_if_the_right_one_vouches_for_it() {
    let ours = Certificates::new("127.0.0.1");
    let (redis, address) = ours.server(&[]);
    let url = format!("rediss://{address}");
    let replica = Tollgate::start(DAILY, &["--store", &url, "--store-tls-ca", &ours.root]);
    let mut client = replica.client();
    for left in [199, 198] {
        assert_eq!(client.ask(call(&[("k", "1")])).remaining(), [left]);
    }
    assert_eq!(replica.metric("tollgate_shared_store_local_decisions_total"), 0);
    assert_eq!(redis.command(&["KEYS", "*{*"]).matches('{').count(), 1);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_store_that_others_vouch_for_is_not_asked_and_the_mode_holds() {
    let (ours, other) = (Certificates::new("127.0.0.1"), Certificates::new("127.0.0.1"));
    let elsewhere = Certificates::new("another.example");
    let (redis, address) = ours.server(&[]);
    let (misnamed, misnamed_at) = elsewhere.server(&[]);
    let (url, misnamed_url) = (format!("rediss://{address}"), format!("rediss://{misnamed_at}"));
    // Another's, the system's, and the right one for a server of another name.
    let cases: [(&Redis, &[&str]); 3] = [
        (&redis, &["--store", &url, "--store-tls-ca", &other.root]),
        (&redis, &["--store", &url]),
        (&misnamed, &["--store", &misnamed_url, "--store-tls-ca", &elsewhere.root]),
    ];
    for (redis, arguments) in cases {
        for (mode, admitted) in [("local", 1), ("allow", 3), ("deny", 0)] {
            let policy = DAILY
                .replace("200", "1")
                .replace("tables", &format!("on_store_error: {mode}\ntables"));
            let replica = Tollgate::start(&policy, arguments);
            let mut client = replica.client();
            let count = (0..3).filter(|_| client.ask(call(&[("k", "1")])).is_ok()).count();
            assert_eq!(count, admitted, "{mode} {arguments:?}");
            assert!(degraded(&replica), "{arguments:?}");
            let log = replica.log();
            assert!(
                log.contains("the shared store is unavailable") && log.contains("certificate"),
                "{log}"
            );
            assert_eq!(redis.command(&["KEYS", "*{*"]), "array([])");
        }
    }
}

#[test]
fn certificates_that_cannot_be_read_end_the_start() {
    let arguments =
        ["serve", "--store", "rediss://127.0.0.1:1", "--config", super::support::SHIPPED];
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tollgate"));
    let output = command.args(arguments).args(["--store-tls-ca", "/nowhere/root.pem"]).output();
    let output = output.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("/nowhere/root.pem"), "{told}");
}

fn password_file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

const USER: &str = "gate on >battery-staple ~gate:* resetchannels &* -@all \
                    +fcall +function|load +set +get +mget +del +time +client +select";

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_user_a_password_file_a_database_and_a_prefix_are_what_the_store_is_asked_with() {
    let redis = Redis::with_user(USER, &[]);
    let (_folder, path) = password_file("battery-staple\n");
    let url = format!("redis://{}/3", redis.address);
    let file = path.to_str().unwrap();
    let arguments = ["--store", &url, "--store-user", "gate", "--store-password-file", file];
    let replica = Tollgate::start(DAILY, &[&arguments[..], &["--store-prefix", "gate"]].concat());
    let mut client = replica.client();
    for left in [199, 198] {
        assert_eq!(client.ask(call(&[("k", "1")])).remaining(), [left]);
    }
    assert_eq!(replica.metric("tollgate_shared_store_local_decisions_total"), 0);
    let mut connection = redis.connect();
    let keys = |connection: &mut redis::Connection| {
        redis::cmd("KEYS").arg("*").query::<Vec<String>>(connection).unwrap()
    };
    assert_eq!(keys(&mut connection), Vec::<String>::new(), "it is in database 0");
    redis::cmd("SELECT").arg(3).exec(&mut connection).unwrap();
    let keys = keys(&mut connection);
    assert!(keys.len() == 1 && keys[0].starts_with("gate:{"), "{keys:?}");
    // The same bucket under another prefix is another bucket, and one that this user may not touch.
    let other = Tollgate::start(DAILY, &[&arguments[..], &["--store-prefix", "other"]].concat());
    assert_eq!(other.client().ask(call(&[("k", "1")])).remaining(), [199]);
    assert!(degraded(&other), "{}", other.log());
}

const HOURLY: &str = "domain: d
tables:
  - { name: t, key: [k], rows: { all: [{ size: 60, per_hour: 60 }] } }
  - { name: jobs, when: { job: { present: true } }, key: [job], rows: { all: [{ concurrent: 1, ttl: 1h }] } }
";

/// A replica whose store's user is as told, once it has gone through the keys for a slower limit or may not, and one
/// bucket has been charged before.
fn slowed_as(redis: &Redis, outcome: &str, prefix: &str) -> Tollgate {
    let url = format!("redis://gate:battery-staple@{}", redis.address);
    let replica = Tollgate::start(HOURLY, &["--store", &url, "--store-prefix", prefix]);
    let mut client = replica.client();
    for job in ["7", "8"] {
        assert!(client.ask(call(&[("k", "1"), ("job", job)])).is_ok());
    }
    replica.reload(&HOURLY.replace("per_hour: 60", "per_hour: 6"));
    let series = format!("tollgate_shared_store_walks_total{{outcome=\"{outcome}\"}}");
    eventually("it is done, or refused", || replica.metric(&series) == 1);
    // Two minutes are owed, or 20 at the slower rate.
    assert_eq!(client.ask(call(&[("k", "1")])).remaining(), [57]);
    assert_eq!(replica.metric("tollgate_shared_store_local_decisions_total"), 0);
    replica
}

const SLOTS: &str = "+zadd +zcard +zrange +zremrangebyscore +pexpireat";

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_user_who_may_not_keep_keys_longer_is_told_once_what_is_missing_and_what_follows() {
    for (more, quoted) in [("", "'scan'"), ("+scan", "executing the script|ACL failure")] {
        let redis = Redis::with_user(&format!("{USER} {SLOTS} {more}"), &[]);
        let replica = slowed_as(&redis, "refused", "gate");
        let log = replica.log();
        let lines: Vec<_> =
            log.lines().filter(|line| line.contains("slower than before")).collect();
        let [line] = &*lines else { panic!("{log}") };
        assert!(
            line.contains("\"WARN\"") && quoted.split('|').any(|part| line.contains(part)),
            "{line}"
        );
        for part in ["no request meets", "SCAN, GET, PTTL, TIME and PEXPIREAT"] {
            assert!(line.contains(part), "{line}");
        }
        assert_eq!(replica.metric("tollgate_shared_store_lengthened_keys_total"), 0);
        assert_eq!(replica.get("/readyz"), "ready\n");
    }
}

/// The user in the documentation, with this password.
fn documented_user() -> String {
    let docs = std::fs::read_to_string("docs/operations.md").unwrap();
    let line = docs.lines().find_map(|line| line.strip_prefix("user tollgate ")).unwrap();
    format!("gate {}", line.replace(">PASSWORD", ">battery-staple"))
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn the_documented_user_may_do_all_that_is_done_and_no_more_is_tried() {
    let user = documented_user();
    let old = user.replace("+fcall +function|load ", "");
    let without = ["--rename-command", "FUNCTION", "", "--rename-command", "FCALL", ""];
    for (user, more) in [(&user, &[][..]), (&old, &without)] {
        let redis = Redis::with_user(user, more);
        let replica = slowed_as(&redis, "finished", "tollgate");
        assert_eq!(replica.metric("tollgate_shared_store_lengthened_keys_total"), 1);
        let mut client = replica.client();
        let taken = client.ask(call(&[("k", "2"), ("job", "9")]));
        let lease = taken.request_header("x-tollgate-lease").unwrap().to_owned();
        assert!(!client.ask(call(&[("k", "2"), ("job", "9")])).is_ok());
        let release = request("d", &[give_back(1, &[("lease", &lease)])]);
        assert_eq!(client.ask(release).released(), Some(1));
        assert_eq!(replica.get("/readyz"), "ready\n");
        assert_eq!(redis.command(&["ACL", "LOG"]), "array([])");
    }
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn the_documented_user_may_do_all_that_is_done_on_a_cluster() {
    let user = format!("{} +cluster|slots", documented_user());
    let words: Vec<_> = std::iter::once("--user").chain(user.split(' ')).collect();
    let servers = super::cluster::with(&words);
    let at = format!("redis://gate:battery-staple@{},{}", servers[0].address, servers[1].address);
    let replica = Tollgate::start(DAILY, &["--store", &at]);
    let mut client = replica.client();
    (0..12).for_each(|key| assert!(client.ask(call(&[("k", &key.to_string())])).is_ok()));
    replica.reload(&DAILY.replace("per_day: 200", "size: 200, rate: 20, every: 1d"));
    eventually("the keys are gone through", || {
        replica.metric("tollgate_shared_store_lengthened_keys_total") == 12
    });
    assert_eq!(replica.metric("tollgate_shared_store_local_decisions_total"), 0);
    for server in &servers {
        assert_eq!(server.command(&["ACL", "LOG"]), "array([])");
    }
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_password_is_in_no_log_no_metric_and_no_page_whether_it_is_right_or_wrong() {
    let redis = Redis::with_user(USER, &["--requirepass", "correct-horse"]);
    let (_folder, path) = password_file("battery-staple");
    let file = path.to_str().unwrap();
    let at = redis.address;
    let (plain, as_gate) = (format!("redis://{at}"), format!("redis://gate:battery-staple@{at}"));
    let sentinel = format!("redis+sentinel://gate:battery-staple@{at}/main");
    let cluster = format!("redis://gate:battery-staple@{at},{at}");
    let secure = format!("rediss://gate:battery-staple@{at}");
    let right = ["--store-prefix", "gate", "--log-level", "trace"];
    let cases: [(&[&str], bool); 6] = [
        (&["--store", &as_gate], true),
        (&["--store", &plain, "--store-user", "gate", "--store-password-file", file], true),
        // Refused: no such user; and what is no sentinel, no cluster, and not asked over TLS.
        (&["--store", &plain, "--store-user", "nobody", "--store-password-file", file], false),
        (&["--store", &sentinel], false),
        (&["--store", &cluster], false),
        (&["--store", &secure], false),
    ];
    for (arguments, is_right) in cases {
        let replica = Tollgate::start(DAILY, &[arguments, &right].concat());
        assert!(replica.client().ask(call(&[("k", "1")])).is_ok());
        eventually("it is told", || {
            is_right || replica.log().contains("the shared store is unavailable")
        });
        assert_eq!(degraded(&replica), !is_right, "{arguments:?}");
        let pages = ["/metrics", "/readyz", "/healthz", "/config"];
        let told = pages.map(|page| replica.get(page)).concat() + &replica.log();
        for word in ["battery-staple", "correct-horse"] {
            assert!(!told.contains(word), "{arguments:?}: {told}");
        }
    }
}
