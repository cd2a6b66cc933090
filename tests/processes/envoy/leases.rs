//! `leases.yaml`: a slot is taken when a request comes in and given back when it ends, however it ends.

use super::http::{Client, Message};
use super::lab::{Lab, Sample, assert_admitted, assert_denied};
use super::process::eventually;

const ACME: [(&str, &str); 1] = [("x-tenant", "acme")];

const ACTIVE: &str = "cluster.upstream.upstream_rq_active";

/// Two requests that are with the upstream, so that both have their leases.
fn two_slow_ones(lab: &Lab) -> [Client; 2] {
    let others = lab.stat(ACTIVE);
    let clients = [(); 2].map(|()| {
        let mut client = lab.client();
        client.send("GET /slow", &ACME);
        client
    });
    eventually("two requests with the upstream", || (lab.stat(ACTIVE) == others + 2).then_some(()));
    assert_eq!(lab.metric("tollgate_leases"), 2);
    clients
}

fn assert_is_full(lab: &Lab) {
    let denial = lab.client().call("GET /fast", &ACME);
    let published =
        "There are 2 requests in flight, please wait until one of them is finished and try again";
    assert_eq!(assert_denied(&denial), published);
    assert_eq!(denial.number("x-ratelimit-limit"), 2);
    assert!((1..=60).contains(&denial.number("retry-after")), "{denial:?}");
}

fn until_admitted(lab: &Lab) -> Message {
    eventually("a free slot", || {
        let answer = lab.client().call("GET /fast", &ACME);
        (answer.status() == 200).then_some(answer)
    })
}

fn until_no_lease_is_held(lab: &Lab) {
    eventually("no lease held", || (lab.metric("tollgate_leases") == 0).then_some(()));
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn a_third_request_at_a_time_is_denied_until_one_ends() {
    let lab = Lab::start(Sample::leases().patient());
    let slow = two_slow_ones(&lab);
    assert_is_full(&lab);
    let another = lab.client().call("GET /fast", &[("x-tenant", "globex")]);
    assert_admitted(&another);
    for mut client in slow {
        assert_admitted(&client.answer());
    }
    assert_admitted(&until_admitted(&lab));
    until_no_lease_is_held(&lab);
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn a_denied_request_gives_nobodys_slot_back() {
    let lab = Lab::start(slower());
    let _slow = two_slow_ones(&lab);
    for _ in 0..20 {
        assert_is_full(&lab);
    }
    assert_eq!(lab.metric("tollgate_leases"), 2);
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn a_client_that_hangs_up_frees_its_slot_and_no_other() {
    let lab = Lab::start(slower());
    let [stays, hangs_up] = two_slow_ones(&lab);
    assert_is_full(&lab);
    drop(hangs_up);
    assert_admitted(&until_admitted(&lab));
    eventually("one request left, and its lease", || {
        (lab.metric("tollgate_leases") == 1 && lab.stat(ACTIVE) == 1).then_some(())
    });
    drop(stays);
    until_no_lease_is_held(&lab);
}

/// With requests that outlast the test: what frees a slot is not their end.
fn slower() -> Sample {
    Sample::leases()
        .patient()
        .with("fixed_delay: 5s", "fixed_delay: 600s")
        .with("timeout: 25s", "timeout: 600s")
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn requests_one_after_another_never_meet_the_limit() {
    let lab = Lab::start(Sample::leases().patient());
    let mut client = lab.client();
    let mut leases = Vec::new();
    for _ in 0..20 {
        let answer = client.call("GET /fast", &[ACME[0], ("x-tollgate-lease", "forged")]);
        assert_admitted(&answer);
        leases.push(answer.json()["lease"].as_str().unwrap().to_owned());
    }
    assert!(leases.iter().all(|lease| lease.len() == 32), "{leases:?}");
    leases.sort_unstable();
    leases.dedup();
    assert_eq!(leases.len(), 20, "no lease is given twice");
    until_no_lease_is_held(&lab);
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn leases_of_a_tollgate_that_died_give_back_nothing_of_the_next_one() {
    let mut lab = Lab::start(slower());
    let older = two_slow_ones(&lab);
    lab.tollgate.process.kill();
    lab.restart_tollgate();
    let _newer = two_slow_ones(&lab);
    assert_is_full(&lab);
    drop(older);
    eventually("the end of the older two", || (lab.stat(ACTIVE) == 2).then_some(()));
    for _ in 0..20 {
        assert_is_full(&lab);
    }
    assert_eq!(lab.metric("tollgate_leases"), 2);
}
