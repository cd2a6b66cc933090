//! Every row of the Management API's published limits, over real gRPC, by group and by path.
//!
//! The tables here are written from the published list, not from the policy file, and the expected counts
//! come from a model of plain credit counting, not from governor.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

mod credit;
mod published;
use crate::support;

use credit::{Credit, DAY, MINUTE, SECOND, pair, run, tenant};
use published::{ENTERPRISE, Row, SELF_SERVICE, TENANTS};
use support::{TestServer, shipped};
use tollgate::clock::Nanos;
use tollgate::wire::RateLimitRequest;

fn by_group(kind: &str, tenant: &str, group: &str) -> RateLimitRequest {
    shipped(&[("tenant_type", kind), ("tenant", tenant), ("endpoint_group", group)])
}

fn by_path(kind: &str, tenant: &str, endpoint: &str) -> RateLimitRequest {
    let (method, path) = endpoint.split_once(' ').unwrap();
    shipped(&[("tenant_type", kind), ("tenant", tenant), ("method", method), ("path", path)])
}

#[test]
fn every_tenant_type_has_its_budget_whatever_the_endpoint() {
    let server = TestServer::shipped();
    let mut client = server.client();
    for (kind, per_second, per_minute) in TENANTS {
        let call = shipped(&[("tenant_type", kind), ("tenant", &format!("{kind} tenant"))]);
        let mut model = tenant(kind);
        if ["free", "trial", "self_service"].contains(&kind) {
            // No endpoint at all is "other" to these.
            model.extend(pair("self-service endpoints", "default", 10, 150));
        }
        assert_eq!((model[0].size, model[1].size), (per_second, per_minute));
        run(&server, &mut client, &call, model, 25);
    }
}

#[test]
fn no_tenant_type_at_all_counts_as_free() {
    let server = TestServer::shipped();
    run(&server, &mut server.client(), &shipped(&[("tenant", "acme")]), tenant(""), 14);
}

fn every_row_holds_by_group(kinds: [&str; 3], table: &'static str, rows: &[Row]) {
    let server = TestServer::shipped();
    let mut client = server.client();
    for kind in kinds {
        for (group, _, per_second, per_minute) in rows {
            let mut model = tenant(kind);
            model.extend(pair(table, group, *per_second, *per_minute));
            let call = by_group(kind, &format!("{kind} {group}"), group);
            run(&server, &mut client, &call, model, 15);
        }
    }
}

#[test]
fn every_enterprise_row_holds_by_group() {
    let kinds = ["startup", "enterprise_production", "enterprise_non_production"];
    every_row_holds_by_group(kinds, "enterprise endpoints", &ENTERPRISE);
}

#[test]
fn every_self_service_row_holds_by_group() {
    let kinds = ["self_service", "free", "trial"];
    every_row_holds_by_group(kinds, "self-service endpoints", &SELF_SERVICE);
}

#[test]
fn every_path_is_in_its_group_and_shares_its_buckets() {
    let server = TestServer::shipped();
    let mut client = server.client();
    let enterprise = ENTERPRISE.map(|row| ("startup", "enterprise endpoints", row));
    let self_service = SELF_SERVICE.map(|row| ("self_service", "self-service endpoints", row));
    for (kind, table, (group, endpoints, per_second, _)) in
        enterprise.into_iter().chain(self_service)
    {
        for endpoint in endpoints {
            let tenant = format!("{kind} {endpoint}");
            let (admitted, denial) = client.drain(&by_path(kind, &tenant, endpoint), 60);
            assert_eq!(u64::from(admitted), per_second, "{endpoint}");
            assert_eq!(denial.denied_by(), (table, group, &*format!("{per_second} per second")));
            let other_spelling = format!("{}/?page=1", endpoint.trim_end_matches('/'));
            assert!(
                !client.ask(by_path(kind, &tenant, &other_spelling)).is_ok(),
                "{other_spelling}"
            );
            assert!(!client.ask(by_group(kind, &tenant, group)).is_ok(), "{endpoint} by group");
        }
    }
}

#[test]
fn all_other_endpoints_combined_share_one_bucket() {
    let server = TestServer::shipped();
    let mut client = server.client();
    let others = [
        "GET /api/v2/roles",
        "DELETE /api/v2/rules/r1",
        "GET /api/v2/organizations",
        "OPTIONS /api/v2/users",
        "GET /api/v2/Users",
    ];
    for turn in 0..10 {
        let call = by_path("self_service", "acme", others[turn % others.len()]);
        assert!(client.ask(call).is_ok());
    }
    for other in others {
        let answer = client.ask(by_path("self_service", "acme", other));
        assert_eq!(answer.denied_by(), ("self-service endpoints", "default", "10 per second"));
    }
    assert!(client.ask(by_path("self_service", "acme", "GET /api/v2/users")).is_ok());
    let mut model = tenant("self_service");
    model.extend(pair("self-service endpoints", "default", 10, 150));
    run(&server, &mut client, &by_path("self_service", "another", others[0]), model, 20);
}

#[test]
fn the_endpoints_of_every_subscription_are_not_other() {
    let server = TestServer::shipped();
    let mut client = server.client();
    let listed: [(&str, &str, u64, u64); 3] = [
        ("verify_custom_domain", "POST /api/v2/custom-domains/d1/verify", 5, MINUTE),
        ("read_connection_status", "GET /api/v2/connections/c1/status", 15, SECOND),
        ("rotate_signing_keys", "POST /api/v2/keys/signing/rotate", 5, DAY),
    ];
    for (group, endpoint, size, period) in listed {
        for kind in ["free", "self_service", "startup", "enterprise_production"] {
            for call in [
                by_group(kind, &format!("{kind} g"), group),
                by_path(kind, &format!("{kind} p"), endpoint),
            ] {
                let mut model = tenant(kind);
                model.push(Credit::new("every subscription", group, size, period));
                run(&server, &mut client, &call, model, 14);
                let other = by_path(kind, &format!("{kind} g"), "GET /api/v2/roles");
                server.advance(Nanos::from_secs(120));
                assert!(client.ask(other).is_ok());
            }
        }
    }
}

#[test]
fn dynamic_registration_is_counted_by_tenant_and_address() {
    let server = TestServer::shipped();
    let mut client = server.client();
    let call = |tenant: &str, address: &str| {
        shipped(&[
            ("tenant_type", "startup"),
            ("tenant", tenant),
            ("method", "POST"),
            ("path", "/oidc/register"),
            ("remote_address", address),
        ])
    };
    for address in ["192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "2001:db8:0:2::1"] {
        let (admitted, denial) = client.drain(&call("acme", address), 20);
        assert_eq!(admitted, 5, "{address}");
        assert_eq!(denial.denied_by(), ("dynamic registration", "all", "5 per second"));
    }
    for same in ["::ffff:192.0.2.1", "2001:db8:0:1:ffff::2", "2001:0db8:0000:0001::1"] {
        assert!(!client.ask(call("acme", same)).is_ok(), "{same}");
    }
    assert!(client.ask(call("another", "192.0.2.1")).is_ok());
    server.advance(Nanos::new(SECOND / 5));
    assert_eq!(client.drain(&call("acme", "192.0.2.1"), 20).0, 1);
}

#[test]
fn a_users_token_has_ten_calls_a_minute_in_its_tenant() {
    let server = TestServer::shipped();
    let mut client = server.client();
    let call = |tenant: &str, user: &str, scope: &str| {
        let entries =
            [("tenant_type", "startup"), ("tenant", tenant), ("user", user), ("scope", scope)];
        shipped(&entries)
    };
    let mut model = tenant("startup");
    model.push(Credit::new("user tokens", "all", 10, MINUTE));
    run(&server, &mut client, &call("acme", "u1", "current_user"), model, 20);
    assert_eq!(client.drain(&call("acme", "u2", "current_user"), 60).0, 10);
    assert_eq!(client.drain(&call("other", "u1", "current_user"), 60).0, 10);
    assert_eq!(client.drain(&call("third", "u1", "read:users"), 60).0, 50);
}

#[test]
fn import_jobs_are_two_at_a_time_with_the_published_message() {
    let server = TestServer::shipped();
    let mut client = server.client();
    let call = by_path("startup", "acme", "POST /api/v2/jobs/users-imports");
    let (admitted, denial) = client.drain(&call, 10);
    assert_eq!(admitted, 2);
    assert_eq!(denial.denied_by(), ("import users jobs", "all", "2 concurrent"));
    let body: serde_json::Value = serde_json::from_str(denial.body()).unwrap();
    let expected = serde_json::json!({
        "statusCode": 429,
        "error": "Too Many Requests",
        "message": "There are 2 active import users jobs, please wait until some of them are finished and try again",
    });
    assert_eq!(body, expected);
    assert_eq!(denial.header("content-type"), Some("application/json"));
    assert_eq!(denial.number("retry-after"), 5);
    server.advance(Nanos::from_secs(3600));
    assert_eq!(client.drain(&call, 10).0, 2);
}

#[test]
fn the_day_bucket_resets_to_the_second() {
    let server = TestServer::shipped();
    let mut client = server.client();
    let call = by_group("startup", "acme", "rotate_signing_keys");
    let start = support::START.as_unix_secs_ceil();
    for used in 1..=5 {
        let answer = client.ask(call.clone());
        assert!(answer.is_ok());
        assert_eq!(answer.number("x-ratelimit-limit"), 5);
        assert_eq!(answer.number("x-ratelimit-remaining"), 5 - used);
        assert_eq!(answer.number("x-ratelimit-reset"), start + used * 17_280);
    }
    let denial = client.ask(call.clone());
    assert_eq!(denial.denied_by(), ("every subscription", "rotate_signing_keys", "5 per day"));
    assert_eq!(denial.number("x-ratelimit-reset"), start + 86_400);
    assert_eq!(denial.number("retry-after"), 17_280);
    server.advance(Nanos::from_secs(17_279));
    let denial = client.ask(call.clone());
    assert!(!denial.is_ok());
    assert_eq!(denial.number("retry-after"), 1);
    server.advance(Nanos::from_secs(1));
    assert_eq!(client.drain(&call, 10).0, 1);
    server.advance(Nanos::from_secs(86_400));
    assert_eq!(client.drain(&call, 10).0, 5);
}
