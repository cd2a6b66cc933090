//! What an answer holds, whatever the limits are.

use tollgate::wire::RateLimitRequest;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::compare;
use super::process::eventually;
use super::script::{self, Case};
use super::sides::{Deployment, Service, Sides, Store};
use super::support::{descriptor, request};

const CASES: &[Case] = &[
    Case::new(
        "each descriptor has a status, in order",
        "descriptors:
  - { key: two, rate_limit: { unit: minute, requests_per_unit: 2, name: pair } }
  - { key: five, rate_limit: { unit: HOUR, requests_per_unit: 5 } }
  - { key: any, rate_limit: { unlimited: true, name: free } }
  - { key: none }
  - { key: parent, descriptors: [{ key: child, rate_limit: { unit: day, requests_per_unit: 1 } }] }
",
        |script| {
            let of = |key| descriptor(&[(key, "v")]);
            let all = ["none", "two", "any", "other", "five", "parent"].map(of);
            let line =
                "OK: OK, OK 1 of 2 a MINUTE \"pair\", OK unlimited, OK, OK 4 of 5 a HOUR, OK";
            assert_eq!(script.ask(&all)?, line);
            Ok(())
        },
    ),
    Case::new(
        "a denial has a code and statuses, and nothing else",
        "descriptors: [{ key: k, rate_limit: { unit: day, requests_per_unit: 1, name: one } }]\n",
        |script| {
            let asked = [descriptor(&[("k", "v")])];
            assert_eq!(script.ask(&asked)?, "OK: OK 0 of 1 a DAY \"one\"");
            let denied = script.answer(&asked)?;
            assert_eq!(compare::line(&denied), "OVER_LIMIT: OVER_LIMIT 0 of 1 a DAY \"one\"");
            assert!(denied.raw_body.is_empty());
            assert!(denied.request_headers_to_add.is_empty());
            assert!(denied.response_headers_to_add.is_empty());
            assert_eq!(denied.dynamic_metadata, None);
            Ok(())
        },
    ),
    Case::new(
        "what matches nothing is no error",
        "descriptors: [{ key: k, rate_limit: { unit: day, requests_per_unit: 0 } }]\n",
        |script| {
            for asked in [
                descriptor(&[]),
                descriptor(&[("", "")]),
                descriptor(&[("", "v")]),
                descriptor(&[("other", "")]),
                descriptor(&[("K", "v")]),
            ] {
                assert_eq!(script.ask(&[asked])?, "OK: OK");
            }
            let unknown = request("nobody's", &[descriptor(&[("k", "v")]), descriptor(&[])]);
            assert_eq!(compare::line(&script.send(&unknown)?.unwrap()), "OK: OK, OK");
            Ok(())
        },
    ),
    Case::new(
        "a request without a domain or a descriptor fails",
        "descriptors: [{ key: k, rate_limit: { unit: day, requests_per_unit: 9 } }]\n",
        |script| {
            let one = [descriptor(&[("k", "v")])];
            let domain = script.domain().to_owned();
            for wrong in [
                request("", &one),
                request(&domain, &[]),
                request("nobody's", &[]),
                request("", &[]),
            ] {
                assert!(script.send(&wrong)?.is_err(), "{wrong:?}");
            }
            assert_eq!(script.ask(&one)?, "OK: OK 8 of 9 a DAY", "and is not counted");
            Ok(())
        },
    ),
    Case::new(
        "the window of each unit",
        "descriptors:
  - { key: second, rate_limit: { unit: second, requests_per_unit: 9 } }
  - { key: minute, rate_limit: { unit: Minute, requests_per_unit: 9 } }
  - { key: hour, rate_limit: { unit: hOUR, requests_per_unit: 9 } }
  - { key: day, rate_limit: { unit: DAY, requests_per_unit: 9 } }
  - { key: week, rate_limit: { unit: week, requests_per_unit: 9 } }
  - { key: month, rate_limit: { unit: month, requests_per_unit: 9 } }
  - { key: year, rate_limit: { unit: year, requests_per_unit: 9 } }
",
        |script| {
            // That each resets at the end of its window is checked of every answer.
            for unit in ["second", "minute", "hour", "day", "week", "month", "year"] {
                let line = script.ask(&[descriptor(&[(unit, "v")])])?;
                assert_eq!(line, format!("OK: OK 8 of 9 a {}", unit.to_uppercase()));
            }
            Ok(())
        },
    ),
];

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn answers() {
    script::run(&Sides::all(&script::deployment(CASES, &[])), CASES);
}

/// What each says of the health of a service.
fn health(sides: &Sides, service: &'static str) -> Vec<(&'static str, Result<i32, tonic::Code>)> {
    sides.each(|channel| async move {
        let asked = HealthCheckRequest { service: service.into() };
        let said = HealthClient::new(channel).check(asked).await;
        said.map(|said| said.into_inner().status).map_err(|status| status.code())
    })
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn health_is_told_of_the_server_and_of_the_name_ratelimit() {
    let sides = Sides::all(&Deployment::of(&[("a.yaml", "domain: d\n")], &[]));
    // tollgate opens its ports before its store has answered.
    eventually("all are healthy", || {
        let told = health(&sides, "ratelimit");
        told.iter().all(|(_, said)| *said == Ok(1)).then_some(())
    });
    let not_found = Err(tonic::Code::NotFound);
    for (service, expected) in [
        ("", Ok(1)),
        ("ratelimit", Ok(1)),
        (tollgate::wire::SERVICE, not_found),
        ("other", not_found),
    ] {
        for (name, said) in health(&sides, service) {
            assert_eq!(said, expected, "{name} of {service:?}");
        }
    }
}

/// Under the empty name the reference says that it serves, whatever its health is: its library does.
#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn bad_health_is_told_under_the_name_ratelimit() {
    let needs = [("HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED", "true")];
    let wrong = "domain: d\ndescriptors: [{ key: k, rate_limit: { unit: eon } }]\n";
    let sides = Sides::all(&Deployment::of(&[("a.yaml", wrong)], &needs));
    for (name, said) in health(&sides, "ratelimit") {
        assert_eq!(said, Ok(2), "{name}");
    }
    for (name, said) in health(&sides, "") {
        assert_eq!(said, Ok(1), "{name}");
    }
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn a_configuration_that_is_refused_at_the_start_fails_every_call_until_a_good_one_comes() {
    let wrong = "domain: d\ndescriptors: [{ key: k, rate_limit: { unit: eon } }]\n";
    let sides = Sides::all(&Deployment::of(&[("a.yaml", wrong)], &[]));
    let asked: RateLimitRequest = request("d", &[descriptor(&[("k", "v")])]);
    for (name, said) in sides.ask(&asked) {
        assert!(said.is_err(), "{name}: {said:?}");
    }
    sides.rewrite("a.yaml", &wrong.replace("eon", "hour"));
    sides.wait_for("the good one", &asked, |said| {
        said.as_ref()
            .is_ok_and(|answer| compare::line(answer) == "OVER_LIMIT: OVER_LIMIT 0 of 0 a HOUR")
    });
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn a_store_that_is_lost_fails_every_call_until_it_is_back() {
    let config =
        "domain: d\ndescriptors: [{ key: k, rate_limit: { unit: day, requests_per_unit: 5 } }]\n";
    let deployment = Deployment::of(&[("a.yaml", config)], &[("REDIS_TIMEOUT", "1s")]);
    let services = [Service::reference(&deployment), Service::ours(Store::Redis, &deployment)];
    let mut sides = Sides::of(services);
    let asked = request("d", &[descriptor(&[("k", "v")])]);
    let is = |line: &'static str| {
        move |said: &super::sides::Said| {
            said.as_ref().is_ok_and(|answer| compare::line(answer) == line)
        }
    };
    sides.wait_for("an answer", &asked, is("OK: OK 4 of 5 a DAY"));
    sides.services().filter_map(Service::redis).for_each(super::redis_server::Redis::kill);
    for _ in 0..3 {
        for (name, said) in sides.ask(&asked) {
            assert!(said.is_err(), "{name}: {said:?}");
        }
    }
    // What needs no counter is answered all the same.
    let unmatched = request("d", &[descriptor(&[("other", "v")])]);
    for (name, said) in sides.ask(&unmatched) {
        assert_eq!(
            said.map(|answer| compare::line(&answer)).ok().as_deref(),
            Some("OK: OK"),
            "{name}"
        );
    }
    sides.services().filter_map(Service::redis).for_each(super::redis_server::Redis::spawn);
    let look = request("d", &[super::support::hits(0, &[("k", "v")])]);
    sides.wait_for("an answer again", &look, is("OK: OK 5 of 5 a DAY"));
}
