//! `envoy.yaml`: a trusted front names the caller, and tollgate finds the endpoint.

use serde_json::Value;

use super::http::{Client, Message, Upstream};
use super::lab::{Lab, Sample, assert_admitted, assert_denied, unix_time};
use super::support::{self, descriptor, request};

/// Five a day: what is spent stays spent while a test looks.
const ROTATE: &str = "POST /api/v2/keys/signing/rotate";
const DAY_INTERVAL: u64 = 86_400 / 5;
const IMPORT: &str = "POST /api/v2/jobs/users-imports";

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn a_sidecar_is_asked_over_a_unix_domain_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("grpc.sock");
    let lab = Lab::start(Sample::sidecar(&socket).patient());
    let caller = [("x-tenant", "acme"), ("x-tenant-type", "startup")];
    let (admitted, denial) = lab.client().drain(ROTATE, &caller, 5);
    assert_eq!(admitted, 5);
    assert!(assert_denied(&denial).contains("5 per day"));
    assert_eq!(lab.stat("cluster.upstream.ratelimit.error"), 0);
}

/// Names of clusters that control planes make: Istio's, Envoy Gateway's, and one that is no authority of a URI at all.
pub const CLUSTERS: [&str; 3] =
    ["outbound|8081||tollgate.default.svc", "envoy-gateway-system/tollgate/ratelimit", "a [b:c d"];

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn tollgate_answers_whatever_its_cluster_is_called() {
    let folder = tempfile::tempdir().unwrap();
    for name in CLUSTERS {
        let socket = folder.path().join("grpc.sock");
        for sample in [Sample::front(), Sample::sidecar(&socket)] {
            let lab = Lab::start(sample.patient().cluster(name));
            let caller = [("x-tenant", "acme"), ("x-tenant-type", "startup")];
            let (admitted, denial) = lab.client().drain(ROTATE, &caller, 5);
            assert_eq!(admitted, 5, "{name}");
            assert!(assert_denied(&denial).contains("5 per day"));
            assert_eq!(lab.stat("cluster.upstream.ratelimit.error"), 0, "{name}");
        }
    }
}

/// Envoy has two implementations of HTTP/2, nghttp2 and oghttp2.
#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn envoy_is_answered_whichever_http2_it_speaks() {
    for codec in ["use_oghttp2_codec: false", "use_oghttp2_codec: true"] {
        let keepalive = "connection_keepalive: { interval: 30s, timeout: 5s }";
        let both = format!("{codec}\n              {keepalive}");
        let lab = Lab::start(Sample::front().patient().with(keepalive, &both));
        let caller = [("x-tenant", "acme"), ("x-tenant-type", "startup")];
        let mut client = lab.client();
        let (admitted, denial) = client.drain(ROTATE, &caller, 5);
        assert_eq!(admitted, 5, "{codec}");
        assert!(assert_denied(&denial).contains("5 per day"));
        // A few hundred more on the same streams' connection.
        client.drain("GET /api/v2/users", &caller, 300);
        assert_eq!(lab.stat("cluster.upstream.ratelimit.error"), 0, "{codec}");
        assert!(lab.stat("cluster.upstream.ratelimit.over_limit") > 1, "{codec}");
        assert_eq!(lab.stat("cluster.tollgate.upstream_cx_protocol_error"), 0, "{codec}");
    }
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn a_burst_gets_200s_and_then_429s_that_say_why_and_until_when() {
    let lab = Lab::start(Sample::front().patient());
    let mut client = lab.client();
    let caller = [("x-tenant", "acme"), ("x-tenant-type", "free")];
    let first = client.call("GET /api/v2/users", &caller);
    assert_admitted(&first);
    assert_eq!((first.number("x-ratelimit-limit"), first.number("x-ratelimit-remaining")), (10, 9));
    let (admitted, denial) = client.drain("GET /api/v2/users", &caller, 300);
    assert!(admitted >= 9, "only {admitted} after the first");
    assert_eq!(denial.number("x-ratelimit-limit"), 10);
    assert_eq!(denial.number("retry-after"), 1);
    let message = assert_denied(&denial);
    assert!(message.contains("10 per second"), "{message}");
    let names = |answer: &Message| -> Vec<_> {
        answer.headers.iter().map(|(name, _)| name.clone()).collect()
    };
    for _ in 0..20 {
        let answer = client.call("GET /api/v2/users", &caller);
        if answer.status() == 200 {
            assert_admitted(&answer);
        } else {
            assert_eq!(assert_denied(&answer), message);
            assert_eq!(names(&answer), names(&denial));
        }
    }
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn what_remains_counts_down_to_the_denial_for_each_tenant_alone() {
    let lab = Lab::start(Sample::front().patient());
    let mut client = lab.client();
    let caller = [("x-tenant", "acme"), ("x-tenant-type", "startup")];
    let before = unix_time();
    let mut reset = 0;
    for used in 1..=5 {
        let answer = client.call(ROTATE, &caller);
        assert_admitted(&answer);
        assert_eq!(answer.number("x-ratelimit-limit"), 5);
        assert_eq!(answer.number("x-ratelimit-remaining"), 5 - used);
        let start = answer.number("x-ratelimit-reset") - used * DAY_INTERVAL;
        assert!((before..=unix_time() + 1).contains(&start), "full at {start} without these");
        reset = answer.number("x-ratelimit-reset");
    }
    for _ in 0..3 {
        let denial = client.call(ROTATE, &caller);
        let message = assert_denied(&denial);
        assert!(message.contains("5 per day"), "{message}");
        assert_eq!(denial.number("x-ratelimit-limit"), 5);
        assert_eq!(denial.number("x-ratelimit-reset"), reset, "a denial costs nothing");
        assert!((DAY_INTERVAL - 60..=DAY_INTERVAL).contains(&denial.number("retry-after")));
    }
    let another = [("x-tenant", "globex"), ("x-tenant-type", "startup")];
    assert_eq!(client.call(ROTATE, &another).number("x-ratelimit-remaining"), 4);
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn all_spellings_of_a_path_share_one_bucket() {
    let lab = Lab::start(Sample::front().patient());
    let mut client = lab.client();
    let caller = [("x-tenant", "acme"), ("x-tenant-type", "startup")];
    let spellings = [
        "POST /api/v2/keys/signing/rotate",
        "POST /api/v2/keys/signing/rotate/",
        "POST /api/v2/keys/signing/rotate?force=true/",
        "POST //api/v2//keys/signing/rotate",
        "POST /api/v2/%6beys/signing/./rotat%65",
        "POST /api/v2/users/../keys/signing/rotate/?",
    ];
    for (used, spelling) in (1..=5).zip(spellings) {
        let answer = client.call(spelling, &caller);
        assert_admitted(&answer);
        assert_eq!(answer.number("x-ratelimit-remaining"), 5 - used, "{spelling}");
    }
    for spelling in spellings {
        let message = assert_denied(&client.call(spelling, &caller));
        assert!(message.contains("5 per day"), "{spelling}: {message}");
    }
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn what_could_be_read_in_two_ways_is_refused_and_not_counted() {
    let lab = Lab::start(Sample::front().patient());
    let caller = ("x-tenant", "acme");
    let refused = [
        ("GET /api%2fv2/users", vec![caller]),
        ("GET /api/v2/users%2F..%2fkeys", vec![caller]),
        ("GET /api/v2/users", vec![caller, ("x_tenant", "globex")]),
        ("GET /api/v2/users", vec![]),
        ("GET /api/v2/users", vec![("x-tenant", "")]),
    ];
    let (_, rows) = lab.rows(|| {
        for (endpoint, headers) in &refused {
            let answer = lab.client().call(endpoint, headers);
            assert_eq!(answer.status(), 400, "{endpoint} {headers:?}");
        }
    });
    assert_eq!(rows, Vec::<String>::new());
    let answer = lab.client().call("GET /api/v2/users", &[]);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.json()["message"], "the x-tenant header is missing");
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn an_endpoint_with_less_than_its_tenant_is_denied_alone() {
    let lab = Lab::start(Sample::front().patient());
    let mut client = lab.client();
    let caller = [("x-tenant", "acme"), ("x-tenant-type", "self_service")];
    let ((admitted, denial), rows) =
        lab.rows(|| client.drain("GET /api/v2/clients/c1", &caller, 100));
    assert!(admitted >= 5, "only {admitted}");
    let message = assert_denied(&denial);
    assert!(message.contains("5 per second"), "{message}");
    let decided = [
        "self-service endpoints/read_clients admitted",
        "self-service endpoints/read_clients over_limit",
        "tenant/self_service admitted",
    ];
    assert_eq!(rows, decided);
    let (answer, rows) = lab.rows(|| client.call("GET /api/v2/users", &caller));
    assert_admitted(&answer);
    assert_eq!(
        rows,
        ["self-service endpoints/read_users admitted", "tenant/self_service admitted"]
    );
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn forged_headers_reach_neither_the_upstream_nor_the_client() {
    let upstream = Upstream::listen();
    let sample = Sample::front().patient().upstream(upstream.address);
    let lab = Lab::start(sample);
    let caller = [
        ("x-tenant", "acme"),
        ("x-tenant-type", "startup"),
        ("x-tollgate-lease", "forged"),
        ("X-RateLimit-Limit", "forged"),
        ("x-ratelimit-remaining", "forged"),
        ("x-ratelimit-reset", "forged"),
    ];
    let answer = lab.client().call("GET /api/v2/users", &caller);
    assert_eq!(answer.header("x-upstream"), Some("here"));
    assert_admitted(&answer);
    let sent = upstream.request();
    assert_eq!(sent.header("x-tenant"), Some("acme"));
    assert!(!format!("{sent:?}").contains("forged"), "{sent:?}");

    lab.client().call(IMPORT, &caller);
    let lease = upstream.request().header("x-tollgate-lease").unwrap().to_owned();
    assert!(is_lease(&lease), "{lease}");
}

fn is_lease(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn an_import_job_holds_its_slot_until_its_lease_is_given_back() {
    let lab = Lab::start(Sample::front().patient());
    let mut client = lab.client();
    let caller = [("x-tenant", "acme"), ("x-tenant-type", "startup")];
    let started = [(); 2].map(|()| client.call(IMPORT, &caller));
    let leases = started.map(|answer| {
        assert_admitted(&answer);
        match answer.json()["lease"].take() {
            Value::String(lease) if is_lease(&lease) => lease,
            other => panic!("the upstream saw no lease: {other}"),
        }
    });
    assert_ne!(leases[0], leases[1]);
    assert_third_job_is_denied(&mut client, &caller);

    let mut job_runner = support::Client::connect(lab.tollgate.grpc);
    let mut release = |lease: &str| {
        let mut release = descriptor(&[("lease", lease)]);
        (release.hits_addend, release.is_negative_hits) = (Some(1), true);
        job_runner.ask(request("management-api", &[release])).released()
    };
    assert_eq!(release("0123456789abcdef0123456789abcdef"), Some(0), "no lease of ours");
    assert_third_job_is_denied(&mut client, &caller);
    assert_eq!(release(&leases[0]), Some(1));
    assert_eq!(release(&leases[0]), Some(0), "once is enough");
    assert_admitted(&client.call(IMPORT, &caller));
    assert_third_job_is_denied(&mut client, &caller);
}

fn assert_third_job_is_denied(client: &mut Client, caller: &[(&str, &str)]) {
    let denial = client.call(IMPORT, caller);
    let published = "There are 2 active import users jobs, please wait until some of them are \
        finished and try again";
    assert_eq!(assert_denied(&denial), published);
    assert_eq!(denial.number("x-ratelimit-limit"), 2);
    assert_eq!(denial.number("retry-after"), 5);
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn registrations_are_counted_by_the_address_that_the_front_wrote() {
    let lab = Lab::start(Sample::front().patient());
    let mut client = lab.client();
    let mut drain = |addresses: &[String]| {
        for (admitted, address) in addresses.iter().enumerate() {
            let caller = [("x-tenant", "acme"), ("x-tenant-type", "startup")];
            let headers = [caller[0], caller[1], ("x-forwarded-for", address)];
            let answer = client.call("POST /oidc/register", &headers);
            if answer.status() == 429 {
                assert!(assert_denied(&answer).contains("5 per second"));
                return admitted;
            }
        }
        panic!("all were admitted: {addresses:?}");
    };
    // Left of the last stands what clients claim.
    let claims =
        |front: &str| -> Vec<_> { (0..100).map(|n| format!("10.0.0.{n}, {front}")).collect() };
    let one_client = (0..100).map(|n| format!("2001:db8:0:1::{n}")).collect::<Vec<_>>();
    for addresses in [claims("192.0.2.1"), claims("192.0.2.2"), one_client] {
        let admitted = drain(&addresses);
        assert!(admitted >= 5, "only {admitted} of {}", addresses[0]);
    }
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn a_user_with_a_tenants_token_has_ten_calls_a_minute() {
    let lab = Lab::start(Sample::front().patient());
    let mut client = lab.client();
    let caller = |user, scope| {
        [("x-tenant", "acme"), ("x-tenant-type", "startup"), ("x-user", user), ("x-scope", scope)]
    };
    let (admitted, denial) = client.drain("GET /api/v2/users", &caller("u1", "current_user"), 20);
    assert!((10..=14).contains(&admitted), "{admitted}");
    assert!(assert_denied(&denial).contains("10 per minute"));
    assert_admitted(&client.call("GET /api/v2/users", &caller("u2", "current_user")));
    assert_admitted(&client.call("GET /api/v2/users", &caller("u1", "read:users")));
}
