//! TLS: whoever the reference takes is taken, and whoever it refuses is refused, by callers and by Redis.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tollgate::wire::RateLimitServiceClient;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::certificates::{Authority, Pair};
use super::process::eventually;
use super::redis_server::{Redis, free_address};
use super::sides::{Deployment, Service, Store};
use super::support::{descriptor, request, runtime};

const CONFIG: &str =
    "domain: d\ndescriptors: [{ key: k, rate_limit: { unit: year, requests_per_unit: 100 } }]\n";

/// Longer than any call takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who calls: whom it trusts, if it speaks TLS at all, and what it shows.
#[derive(Clone, Copy)]
struct Caller<'a> {
    trusts: Option<&'a Authority>,
    shows: Option<&'a Pair>,
}

impl Caller<'_> {
    /// Makes a call, on a connection of its own.
    fn call(self, service: &Service) -> Result<(), String> {
        let scheme = if self.trusts.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{}", service.grpc)).unwrap();
        let endpoint = match self.trusts {
            None => endpoint,
            Some(authority) => {
                let ca = Certificate::from_pem(authority.pem());
                let tls = ClientTlsConfig::new().ca_certificate(ca).domain_name("localhost");
                let identity = |pair: &Pair| Identity::from_pem(&pair.certificate, &pair.key);
                let tls = match self.shows.map(identity) {
                    None => tls,
                    Some(identity) => tls.identity(identity),
                };
                endpoint.tls_config(tls).unwrap()
            }
        };
        let call = async {
            let channel = endpoint.connect().await.map_err(|error| format!("{error:?}"))?;
            let mut client = RateLimitServiceClient::new(channel);
            let asked = request("d", &[descriptor(&[("k", "v")])]);
            let said = client.should_rate_limit(asked).await;
            said.map(|_| ()).map_err(|status| format!("{status:?}"))
        };
        runtime().block_on(async { tokio::time::timeout(PATIENCE, call).await.unwrap() })
    }
}

/// The reference and tollgate, where gRPC is spoken over TLS.
struct Secured {
    ours: Authority,
    folder: TempDir,
    services: [Service; 2],
}

impl Secured {
    /// With further variables, which may name files of a folder.
    fn start(more: impl Fn(&Path) -> Vec<(&'static str, PathBuf)>) -> Self {
        let (ours, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        let (certificate, key) = ours.issue(&["localhost"]).write(folder.path(), "server");
        let mut variables = vec![
            ("GRPC_SERVER_USE_TLS", "true".into()),
            ("GRPC_SERVER_TLS_CERT", certificate),
            ("GRPC_SERVER_TLS_KEY", key),
        ];
        variables.extend(more(folder.path()));
        let variables = variables.iter().map(|(name, path)| (*name, path.to_str().unwrap()));
        let given = Deployment::of(&[("a.yaml", CONFIG)], &variables.collect::<Vec<_>>());
        let services = [Service::reference(&given), Service::ours(Store::Redis, &given)];
        Self { ours, folder, services }
    }

    fn caller<'a>(&'a self, shows: Option<&'a Pair>) -> Caller<'a> {
        Caller { trusts: Some(&self.ours), shows }
    }

    /// Waits until both take one who has to be taken.
    fn wait_for(&self, caller: Caller<'_>) {
        for service in &self.services {
            let mut last = Ok(());
            eventually(service.name, || {
                last = caller.call(service);
                last.is_ok().then_some(())
            });
        }
    }

    /// Whether both take a caller, or both refuse it.
    fn take(&self, what: &str, caller: Caller<'_>) -> bool {
        let [reference, ours] = self.services.each_ref().map(|service| caller.call(service));
        assert_eq!(ours.is_ok(), reference.is_ok(), "{what}: {reference:?}, and here {ours:?}");
        reference.is_ok()
    }
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn a_server_with_a_certificate_takes_callers_who_trust_it() {
    // The variable that Envoy Gateway sets, and that nobody reads.
    let secured = Secured::start(|folder| {
        let ca = folder.join("ca.pem");
        std::fs::write(&ca, Authority::new().pem()).unwrap();
        vec![("GRPC_SERVER_TLS_CA_CERT", ca)]
    });
    secured.wait_for(secured.caller(None));
    let (other, stranger) = (Authority::new(), Authority::new().issue(&["stranger"]));
    let distrustful = Caller { trusts: Some(&other), shows: None };
    let plain = Caller { trusts: None, shows: None };
    assert!(secured.take("one who shows a certificate unasked", secured.caller(Some(&stranger))));
    assert!(!secured.take("one who trusts another CA", distrustful));
    assert!(!secured.take("one without TLS", plain));
    // Certificates that are renewed are shown without a restart.
    other.issue(&["localhost"]).write(secured.folder.path(), "server");
    secured.wait_for(distrustful);
    assert!(!secured.take("one who trusts the CA of before", secured.caller(None)));
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn callers_need_a_certificate_from_the_ca_that_is_given() {
    let callers = Authority::new();
    let secured = Secured::start(|folder| {
        let ca = folder.join("callers.pem");
        std::fs::write(&ca, callers.pem()).unwrap();
        vec![("GRPC_CLIENT_TLS_CACERT", ca)]
    });
    let known = callers.issue(&["any"]);
    secured.wait_for(secured.caller(Some(&known)));
    let (stranger, expired) = (Authority::new().issue(&["any"]), callers.issue_expired(&["any"]));
    for (what, shows, is_taken) in [
        ("one who shows nothing", None, false),
        ("one from another CA", Some(&stranger), false),
        ("one whose certificate has expired", Some(&expired), false),
        ("one from the CA", Some(&known), true),
    ] {
        assert_eq!(secured.take(what, secured.caller(shows)), is_taken, "{what}");
    }
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn and_the_name_that_is_given() {
    let callers = Authority::new();
    let secured = Secured::start(|folder| {
        let ca = folder.join("callers.pem");
        std::fs::write(&ca, callers.pem()).unwrap();
        vec![("GRPC_CLIENT_TLS_CACERT", ca), ("GRPC_CLIENT_TLS_SAN", "envoy.mesh.example".into())]
    });
    let envoy = callers.issue(&["envoy.mesh.example"]);
    secured.wait_for(secured.caller(Some(&envoy)));
    for (what, names, is_taken) in [
        ("one with the name among others", &["other.mesh.example", "envoy.mesh.example"][..], true),
        ("one with the name in capitals", &["Envoy.Mesh.Example"], true),
        ("one with another name", &["other.mesh.example"], false),
        ("one with a name below it", &["a.envoy.mesh.example"], false),
        ("one with the name as a URI", &["spiffe://envoy.mesh.example"], false),
        ("one with a wildcard for its label", &["*.mesh.example"], true),
        ("one with a wildcard for two labels", &["*.example"], false),
    ] {
        let pair = callers.issue(names);
        assert_eq!(secured.take(what, secured.caller(Some(&pair))), is_taken, "{what}");
    }
}

/// A Redis that is asked over TLS.
struct SecuredRedis {
    ours: Authority,
    folder: TempDir,
    redis: Redis,
    address: String,
}

impl SecuredRedis {
    /// Under this name, with further arguments.
    fn start(name: &str, more: &[&str]) -> Self {
        let (ours, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        let (certificate, key) = ours.issue(&[name]).write(folder.path(), "redis");
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, ours.pem()).unwrap();
        let [certificate, key, ca] = [&certificate, &key, &ca].map(|path| path.to_str().unwrap());
        let port = free_address().port().to_string();
        let own = ["--tls-port", &port, "--tls-cert-file", certificate, "--tls-key-file", key];
        let redis = Redis::with(&[&own[..], &["--tls-ca-cert-file", ca], more].concat());
        Self { ours, folder, redis, address: format!("127.0.0.1:{port}") }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Whether the reference and tollgate both count in it, or neither does.
    fn take(&self, what: &str, variables: &[(&'static str, &str)]) -> bool {
        let own = [("REDIS_URL", &*self.address), ("REDIS_TIMEOUT", "2s"), ("LOG_LEVEL", "warn")];
        let given = Deployment::of(&[("a.yaml", CONFIG)], &[&own[..], variables].concat());
        let services = [Service::reference(&given), Service::ours(Store::Redis, &given)];
        let [reference, ours] = services.each_ref().map(counts);
        assert_eq!(ours, reference, "{what}: {}", services[1].log());
        reference
    }
}

/// Whether a service gets on with its Redis.
fn counts(service: &Service) -> bool {
    eventually(service.name, || {
        if (Caller { trusts: None, shows: None }).call(service).is_ok() {
            return Some(true);
        }
        // The reference opens no port before it has its Redis; the pinned version ends.
        let log = service.log();
        let is_told = |what| log.contains(what);
        let failures =
            ["creating redis connection error", "panic: ", "the shared store is unavailable"];
        failures.into_iter().any(is_told).then_some(false)
    })
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn redis_over_tls_must_show_a_certificate_that_is_trusted_for_its_name() {
    let lax = ["--tls-auth-clients", "no"];
    let secured = SecuredRedis::start("127.0.0.1", &lax);
    let other = secured.file("other.pem");
    std::fs::write(&other, Authority::new().pem()).unwrap();
    let ca = secured.file("ca.pem");
    let tls = ("REDIS_TLS", "true");
    assert!(secured.take("its CA", &[tls, ("REDIS_TLS_CACERT", &ca)]));
    assert!(!secured.take("another CA", &[tls, ("REDIS_TLS_CACERT", &other)]));
    assert!(!secured.take("the CAs of the system", &[tls]));
    assert!(!secured.take("without TLS", &[]));
    let misnamed = SecuredRedis::start("redis.example", &lax);
    let ca = misnamed.file("ca.pem");
    let by_ca = [tls, ("REDIS_TLS_CACERT", &*ca)];
    assert!(!misnamed.take("under another name", &by_ca));
    let any_name = [&by_ca[..], &[("REDIS_TLS_SKIP_HOSTNAME_VERIFICATION", "true")]].concat();
    assert!(misnamed.take("under any name", &any_name));
    let any_name = [tls, ("REDIS_TLS_CACERT", &other), any_name[2]];
    assert!(!misnamed.take("under any name, from another CA", &any_name));
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn redis_over_tls_is_shown_a_certificate() {
    let secured = SecuredRedis::start("127.0.0.1", &["--tls-auth-clients", "yes"]);
    let ca = secured.file("ca.pem");
    let by_ca = [("REDIS_TLS", "true"), ("REDIS_TLS_CACERT", &*ca)];
    assert!(!secured.take("nothing is shown", &by_ca));
    for (what, pair, is_taken) in [
        ("one from its CA", secured.ours.issue(&["ratelimit"]), true),
        ("one from another CA", Authority::new().issue(&["ratelimit"]), false),
    ] {
        pair.write(secured.folder.path(), "client");
        let (certificate, key) = (secured.file("client.cert.pem"), secured.file("client.key.pem"));
        let shown = [("REDIS_TLS_CLIENT_CERT", &*certificate), ("REDIS_TLS_CLIENT_KEY", &*key)];
        assert_eq!(secured.take(what, &[&by_ca[..], &shown].concat()), is_taken, "{what}");
    }
}
