//! `quota.yaml`: Envoy limits by itself, by the shares that tollgate assigns.
//!
//! The first request of a bucket id passes unasked, and so do those that come before Envoy has its share: the tests wait for
//! that.

use serde_json::{Value, json};

use super::http::{Client, Headers};
use super::lab::{Lab, Sample};
use super::process::eventually;
use super::support::{self, hits, request};

/// Five a day.
const ROTATE: &str = "POST /api/v2/keys/signing/rotate";
const ROTATE_GROUP: &str = "rotate_signing_keys";
/// Another group of the same tenant's.
const USERS: &str = "GET /api/v2/users";
const KIND: &str = "self_service";
/// How many requests may pass before the first answer, on a busy machine.
const UNASKED: u32 = 2;

fn caller(tenant: &str) -> [(&str, &str); 2] {
    [("x-tenant", tenant), ("x-tenant-type", KIND)]
}

/// What `/shares` tells of a tenant's group.
fn share(lab: &Lab, tenant: &str, group: &str) -> Option<Value> {
    let shares = lab.page("/shares");
    let id = json!([["endpoint_group", group], ["tenant", tenant], ["tenant_type", KIND]]);
    shares["items"].as_array().unwrap().iter().find(|share| share["id"] == id).cloned()
}

/// Tokens a second of a share that is assigned.
fn per_second(share: &Value) -> Option<f64> {
    share["assignment"]["token_bucket"]["per_second"].as_f64()
}

/// Waits until tollgate gives newcomers their whole part: six seconds after its start, all Envoys are back that had shares.
fn settle(lab: &Lab) {
    let answer = lab.client().call(USERS, &caller("settler"));
    assert_eq!(answer.status(), 200, "{answer:?}");
    eventually("a whole share", || {
        let share = share(lab, "settler", "read_users")?;
        per_second(&share).filter(|rate| *rate > 30.0)
    });
}

/// Makes the first request of a bucket id, and waits until its Envoy has been told.
fn begin(lab: &Lab, client: &mut Client, endpoint: &str, headers: &Headers<'_>, group: &str) {
    let answer = client.call(endpoint, headers);
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert_eq!(answer.json()["group"], group);
    let tenant = headers[0].1;
    eventually("a share", || per_second(&share(lab, tenant, group)?));
}

/// Uses up what a tenant has of the five a day; returns how many requests passed.
fn use_up(lab: &Lab, client: &mut Client, tenant: &str) -> u32 {
    begin(lab, client, ROTATE, &caller(tenant), ROTATE_GROUP);
    1 + client.drain(ROTATE, &caller(tenant), 5 + UNASKED).0
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn envoy_denies_what_is_beyond_its_share_and_no_header_gets_around_it() {
    let lab = Lab::start(Sample::quota());
    settle(&lab);
    let mut client = lab.client();
    let acme = caller("acme");
    let passed = use_up(&lab, &mut client, "acme");
    assert!((5..=5 + UNASKED).contains(&passed), "{passed}");

    let denial = client.call(ROTATE, &acme);
    assert_eq!((denial.status(), denial.header("retry-after")), (429, Some("1")), "{denial:?}");
    assert_eq!(denial.header("content-type"), Some("application/json"));
    let message = "Too many requests: a limit has been reached, please retry later";
    let body = json!({ "statusCode": 429, "error": "Too Many Requests", "message": message });
    assert_eq!(denial.json(), body);
    // The group's limit, not the tenant's; and another tenant's is another.
    assert_eq!(client.call(USERS, &acme).status(), 200);
    assert_eq!(client.call(ROTATE, &caller("globex")).status(), 200);

    let with = |group| [acme[0], acme[1], ("x-tollgate-group", group)];
    for forged in ["other", "", "read_users"] {
        assert_eq!(client.call(ROTATE, &with(forged)).status(), 429, "{forged}");
    }
    let answer = client.call(USERS, &with(ROTATE_GROUP));
    assert_eq!((answer.status(), &answer.json()["group"]), (200, &json!("read_users")));

    // What has no bucket id would be limited by nothing.
    let missing: [&Headers<'_>; 4] =
        [&acme[1..], &acme[..1], &[("x-tenant", ""), acme[1]], &[acme[0], ("x-tenant-type", "")]];
    for headers in missing {
        let answer = lab.client().call(USERS, headers);
        assert_eq!(answer.status(), 400, "{headers:?}");
        assert!(answer.json()["message"].as_str().unwrap().ends_with("header is missing"));
    }
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn requests_that_tollgate_decides_and_those_that_envoy_lets_through_are_one_budget() {
    let lab = Lab::start(Sample::quota());
    settle(&lab);
    let mut asking = support::Client::connect(lab.tollgate.grpc);
    let mut ask = |tenant: &str, count| {
        let entries = [("tenant_type", KIND), ("tenant", tenant), ("endpoint_group", ROTATE_GROUP)];
        asking.ask(request("management-api", &[hits(count, &entries)]))
    };
    assert!(ask("acme", 3).is_ok());
    let passed = use_up(&lab, &mut lab.client(), "acme");
    assert!((2..=2 + UNASKED).contains(&passed), "{passed}");

    // What Envoy lets through is charged with its next report.
    let passed = use_up(&lab, &mut lab.client(), "globex");
    assert!((5..=5 + UNASKED).contains(&passed), "{passed}");
    eventually("nothing left", || (ask("globex", 0).remaining() == [0]).then_some(()));
    assert!(!ask("globex", 1).is_ok());
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn envoy_goes_on_by_its_share_while_tollgate_is_away_and_keeps_it_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let snapshot = folder.path().join("state").to_str().unwrap().to_owned();
    let mut lab = Lab::start(Sample::quota().flags(&["--snapshot".to_owned(), snapshot]));
    settle(&lab);
    let mut client = lab.client();
    use_up(&lab, &mut client, "acme");

    // An open stream does not keep it from ending.
    lab.tollgate.process.signal("TERM");
    assert!(lab.tollgate.process.wait().success());
    assert_eq!(client.call(ROTATE, &caller("acme")).status(), 429);
    assert_eq!(client.call(USERS, &caller("settler")).status(), 200);

    lab.restart_tollgate();
    eventually("the stream is back", || share(&lab, "acme", ROTATE_GROUP));
    assert_eq!(lab.metric("tollgate_quota_streams"), 1);
    assert_eq!(client.call(ROTATE, &caller("acme")).status(), 429);
    // Nor is there a second burst when it is answered.
    eventually("a share", || per_second(&share(&lab, "acme", ROTATE_GROUP)?));
    assert_eq!(client.call(ROTATE, &caller("acme")).status(), 429);
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn a_reload_reaches_envoy_before_its_next_report() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    let write = |row: &str| {
        let table = format!("{{ name: t, key: [tenant], rows: {{ all: {row} }} }}");
        std::fs::write(&path, format!("domain: management-api\ntables: [{table}]")).unwrap();
    };
    // A part of it, which newcomers get at first, is more than this test's.
    let limit = "[{ per_second: 1000000 }]";
    write(limit);
    let mut lab = Lab::start(Sample::quota().policy(path.to_str().unwrap()));
    let mut client = lab.client();
    begin(&lab, &mut client, USERS, &caller("acme"), "read_users");
    let reports = |lab: &Lab| lab.metric("tollgate_quota_answer_duration_seconds_count");
    let before = reports(&lab);
    for (row, status) in [("blocked", 429), (limit, 200)] {
        write(row);
        lab.tollgate.process.signal("HUP");
        eventually(row, || (client.call(USERS, &caller("acme")).status() == status).then_some(()));
        if status == 429 {
            assert_eq!(reports(&lab), before, "it was told with the answer to a report");
        }
    }
}
