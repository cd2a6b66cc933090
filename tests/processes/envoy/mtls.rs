//! `mtls.yaml`: Envoy and tollgate show each other certificates.

use tempfile::TempDir;

use super::certificates::{Authority, Pair, client, shown_by};
use super::lab::{Lab, Sample, assert_denied};
use super::process::eventually;

const CALLER: [(&str, &str); 2] = [("x-tenant", "acme"), ("x-tenant-type", "startup")];
/// Five a day.
const ROTATE: &str = "POST /api/v2/keys/signing/rotate";
const ERRORS: &str = "cluster.upstream.ratelimit.error";

/// The name that the sample asks for, and one for this test's own client.
const TOLLGATE: [&str; 2] = ["tollgate.example.org", "localhost"];
const ENVOY: &str = "envoy.example.org";
const SPIFFE: &str = "spiffe://example.org/ns/edge/sa/envoy";

/// The certificates of both, in files.
struct Certificates {
    authority: Authority,
    envoy: Pair,
    tollgate: Pair,
    folder: TempDir,
}

impl Certificates {
    fn new(tollgate: &[&str], envoy: &[&str]) -> Self {
        let authority = Authority::new();
        let (tollgate, envoy) = (authority.issue(tollgate), authority.issue(envoy));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        tollgate.write(folder.path(), "tollgate");
        envoy.write(folder.path(), "envoy");
        Self { authority, envoy, tollgate, folder }
    }

    /// The sample, and a tollgate that lets in one name alone.
    fn lab(&self, allowed: &str) -> Lab {
        self.lab_of(allowed, |sample| sample)
    }

    fn lab_of(&self, allowed: &str, change: impl FnOnce(Sample) -> Sample) -> Lab {
        let path = |name: &str| self.folder.path().join(name).to_str().unwrap().to_owned();
        let flag = |flag: &str, value| [format!("--grpc-tls-{flag}"), value];
        let flags = [
            flag("cert", path("tollgate.cert.pem")),
            flag("key", path("tollgate.key.pem")),
            flag("client-ca", path("ca.pem")),
            flag("client-name", allowed.to_owned()),
        ];
        Lab::start(change(Sample::mutual_tls(self.folder.path(), flags.concat()).patient()))
    }
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn tollgate_answers_over_tls_whatever_its_cluster_is_called() {
    let certificates = Certificates::new(&TOLLGATE, &[ENVOY]);
    for name in super::front::CLUSTERS {
        let lab = certificates.lab_of(ENVOY, |sample| sample.cluster(name));
        let (admitted, denial) = lab.client().drain(ROTATE, &CALLER, 5);
        assert_eq!(admitted, 5, "{name}");
        assert!(assert_denied(&denial).contains("5 per day"));
        assert_eq!(lab.stat(ERRORS), 0, "{name}");
    }
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn an_envoy_with_an_allowed_name_is_answered() {
    for allowed in [ENVOY, SPIFFE] {
        let certificates = Certificates::new(&TOLLGATE, &[allowed]);
        let lab = certificates.lab(allowed);
        let (admitted, denial) = lab.client().drain(ROTATE, &CALLER, 5);
        assert_eq!(admitted, 5, "{allowed}");
        assert!(assert_denied(&denial).contains("5 per day"));
        assert_eq!(lab.stat(ERRORS), 0, "{allowed}");
        assert!(lab.stat("cluster.tollgate.ssl.handshake") > 0, "it speaks plain text");
    }
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn whoever_is_not_who_the_other_expects_is_an_error_that_envoy_counts() {
    for (tollgate, envoy) in [(&TOLLGATE[..], "other.example.org"), (&["localhost"], ENVOY)] {
        let certificates = Certificates::new(tollgate, &[envoy]);
        let lab = certificates.lab(ENVOY);
        let mut client = lab.client();
        for _ in 0..10 {
            let answer = client.call(ROTATE, &CALLER);
            assert_eq!(answer.status(), 200, "{answer:?}");
            assert_eq!(answer.header("x-ratelimit-limit"), None, "{answer:?}");
        }
        assert_eq!(lab.stat(ERRORS), 10, "{tollgate:?} {envoy}");
        assert_eq!(lab.metric("tollgate_invalid_requests_total"), 0);
    }
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn a_certificate_that_is_renewed_is_shown_to_new_connections_and_harms_no_old_one() {
    let certificates = Certificates::new(&TOLLGATE, &[ENVOY]);
    let lab = certificates.lab(ENVOY);
    let authority = &certificates.authority;
    let shown = || {
        shown_by(lab.tollgate.grpc, client(authority, Some(&certificates.envoy), b"h2")).unwrap()
    };
    let mut edge = lab.client();
    assert_eq!(edge.call(ROTATE, &CALLER).number("x-ratelimit-remaining"), 4);
    assert_eq!(shown(), certificates.tollgate.der());
    let next = authority.issue(&TOLLGATE);
    next.write(certificates.folder.path(), "tollgate");
    eventually("the renewed certificate", || (shown() == next.der()).then_some(()));
    assert_eq!(edge.call(ROTATE, &CALLER).number("x-ratelimit-remaining"), 3);
    assert_eq!(lab.stat(ERRORS), 0);
}
