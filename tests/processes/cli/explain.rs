//! `explain`: to the letter, since it is read by people who do not know the policy yet.

use super::{SHIPPED, run};

const EXPLAINED: &str = "tests/config/good/explained.yaml";

fn explain(config: &str, entries: &[&str]) -> String {
    let ended = run(&[&["explain", "--config", config][..], entries].concat());
    assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{entries:?}");
    ended.out
}

#[test]
fn a_call_is_explained_by_method_and_path() {
    let expected = r#"domain management-api
endpoint group read_users

+ tenant, row free; one for each tenant:
    10 per second: holds 10, gains one every 100ms
    120 per minute: holds 120, gains one every 500ms
- enterprise endpoints: does not apply: only if tenant_type is one of ["enterprise_non_production", "enterprise_production", "startup"]
+ self-service endpoints, row read_users; one for each tenant:
    40 per second: holds 40, gains one every 25ms
    500 per minute: holds 500, gains one every 120ms
- every subscription: row default is unlimited
- dynamic registration: does not apply: only if endpoint_group is "register_dynamic_client"
- import users jobs: does not apply: only if endpoint_group is "create_import_users_job"
- user tokens: does not apply: only if scope is "current_user"

4 buckets; all of them must admit, or none is charged
"#;
    let call = ["tenant_type=free", "tenant=acme", "method=GET"];
    for path in ["path=/api/v2/users", "path=/api/v2/users/?page=1", "path=/api/v2/users/auth0%7C1"]
    {
        assert_eq!(explain(SHIPPED, &[&call[..], &[path]].concat()), expected, "{path}");
    }
    let by_group = ["tenant_type=free", "tenant=acme", "endpoint_group=read_users"];
    assert_eq!(explain(SHIPPED, &by_group), expected);
}

#[test]
fn an_address_is_explained_with_how_much_of_it_counts() {
    let call =
        ["tenant=acme", "remote_address=2001:db8::1", "endpoint_group=register_dynamic_client"];
    let expected = r#"domain management-api
endpoint group register_dynamic_client

+ tenant, row default; one for each tenant:
    10 per second: holds 10, gains one every 100ms
    120 per minute: holds 120, gains one every 500ms
- enterprise endpoints: does not apply: only if tenant_type is one of ["enterprise_non_production", "enterprise_production", "startup"]
- self-service endpoints: does not apply: only if tenant_type is one of ["free", "self_service", "trial"]
- every subscription: row default is unlimited
+ dynamic registration, row all; one for each tenant and remote_address (/32 of IPv4, /64 of IPv6):
    5 per second: holds 5, gains one every 200ms
- import users jobs: does not apply: only if endpoint_group is "create_import_users_job"
- user tokens: does not apply: only if scope is "current_user"

3 buckets; all of them must admit, or none is charged
"#;
    assert_eq!(explain(SHIPPED, &call), expected);
}

#[test]
fn a_job_is_explained_with_its_slots_and_an_unlimited_row_as_such() {
    let job =
        ["tenant_type=startup", "tenant=acme", "method=POST", "path=/api/v2/jobs/users-imports"];
    let told = explain(SHIPPED, &job);
    let slots = "\n+ import users jobs, row all; one for each tenant:\n    \
                 2 concurrent: each held until released, 1h at most\n";
    assert!(told.contains(slots), "{told}");
    let status = ["tenant_type=trial", "tenant=acme", "endpoint_group=read_connection_status"];
    let told = explain(SHIPPED, &status);
    assert!(
        told.contains("\n- self-service endpoints: row read_connection_status is unlimited\n"),
        "{told}"
    );
}

#[test]
fn a_value_that_no_row_is_named_after_gets_otherwise() {
    for tenant_type in ["tenant_type=gold", "tenant_type=", "tenant_type=FREE"] {
        let told = explain(SHIPPED, &[tenant_type, "tenant=acme"]);
        assert!(told.contains("\n+ tenant, row default; one for each tenant:\n"), "{told}");
    }
}

#[test]
fn a_call_that_meets_nothing_is_told_why_table_by_table() {
    let expected = r#"domain management-api
endpoint group none

- tenant: does not apply: no entry `tenant` to name the bucket
- enterprise endpoints: does not apply: only if tenant_type is one of ["enterprise_non_production", "enterprise_production", "startup"]
- self-service endpoints: does not apply: no entry `tenant` to name the bucket
- every subscription: row default is unlimited
- dynamic registration: does not apply: only if endpoint_group is "register_dynamic_client"
- import users jobs: does not apply: only if endpoint_group is "create_import_users_job"
- user tokens: does not apply: only if scope is "current_user"

no bucket; the call passes
note: the policy does not ask about `colour`
"#;
    assert_eq!(explain(SHIPPED, &["tenant_type=free", "colour=blue"]), expected);
}

#[test]
fn a_value_without_a_row_is_told_where_there_is_no_default() {
    let told = explain("tests/config/warned/no_default.yaml", &["kind=other", "tenant=acme"]);
    assert!(told.contains("\n- kinds: no row for this `kind`, and no `default`\n"), "{told}");
}

#[test]
fn an_override_is_explained_while_it_counts_and_not_after() {
    let expected = "domain explained
endpoint group none

+ tenant, row free, by an override; one for each tenant:
    200 per second: holds 200, gains one every 5ms
+ everybody, row all; one for all calls:
    20 at 10 per 5 minutes: holds 20, gains one every 30s

2 buckets; all of them must admit, or none is charged
";
    assert_eq!(explain(EXPLAINED, &["tenant_type=free", "tenant=acme"]), expected);
    let plain = expected.replace(", by an override", "").replace(
        "200 per second: holds 200, gains one every 5ms",
        "10 per second: holds 10, gains one every 100ms",
    );
    assert_eq!(explain(EXPLAINED, &["tenant_type=free", "tenant=late"]), plain);
}

#[test]
fn an_override_without_limits_is_told_apart_from_a_row_without() {
    let told = explain(EXPLAINED, &["tenant_type=free", "tenant=vip"]);
    assert!(told.contains("\n- tenant: row free is unlimited by an override\n"), "{told}");
    assert!(told.ends_with("\n1 bucket, which must admit\n"), "{told}");
    let told = explain(EXPLAINED, &["tenant_type=internal", "tenant=vip"]);
    assert!(told.contains("\n- tenant: row internal is unlimited\n"), "{told}");
}

#[test]
fn a_block_is_explained_with_its_end_where_it_has_one() {
    let expected = "domain explained
endpoint group none

+ tenant, row banned; one for each tenant:
    blocked: nothing passes
+ everybody, row all; one for all calls:
    20 at 10 per 5 minutes: holds 20, gains one every 30s

a blocked row; the call is denied, and nothing is charged
";
    assert_eq!(explain(EXPLAINED, &["tenant_type=banned", "tenant=acme2"]), expected);
    let until = "\n+ tenant, row internal, by an override; one for each tenant:\n    \
                 blocked: nothing passes until 2500-01-01T00:00:00Z\n";
    let told = explain(EXPLAINED, &["tenant_type=internal", "tenant=outlaw"]);
    assert!(told.contains(until), "{told}");
}

#[test]
fn a_bypass_is_explained_with_what_would_be_met_without_it() {
    let call = ["tenant_type=free", "tenant=acme", "remote_address=::ffff:10.1.2.3"];
    let expected = "domain explained
endpoint group none
bypassed, since remote_address is within 10.0.0.0/8; without that:

+ tenant, row free, by an override; one for each tenant:
    200 per second: holds 200, gains one every 5ms
+ everybody, row all; one for all calls:
    20 at 10 per 5 minutes: holds 20, gains one every 30s

bypassed: no bucket is charged
";
    assert_eq!(explain(EXPLAINED, &call), expected);
}

#[test]
fn buckets_in_shadow_are_not_among_those_that_must_admit() {
    let told = explain(EXPLAINED, &["tenant_type=probe", "tenant=other"]);
    let row = "\n+ tenant, row probe, in shadow: never denies; one for each tenant:\n";
    assert!(told.contains(row), "{told}");
    assert!(told.ends_with("\n1 bucket, which must admit; 2 in shadow\n"), "{told}");
}

#[test]
fn a_domain_that_is_not_there_is_told_with_those_that_are() {
    let ended = run(&["explain", "--config", SHIPPED, "--domain", "managment-api", "tenant=acme"]);
    let err = "there is no domain `managment-api`; choose with --domain from: management-api\n";
    assert_eq!((ended.code, &*ended.out, &*ended.err), (Some(2), "", err));
    let ended = run(&["explain", "--config", "tests/config/good", "tenant=acme"]);
    let err = "there are several domains; choose with --domain from: everything, explained, marked, merged, \
               old_words, ratelimit, windows\n";
    assert_eq!((ended.code, &*ended.out, &*ended.err), (Some(2), "", err));
    let of_folder =
        run(&["explain", "--config", "tests/config/good", "--domain", "marked", "tenant=acme"]);
    assert_eq!(of_folder.code, Some(0), "{of_folder:?}");
}

#[test]
fn a_policy_that_is_wrong_is_told_instead_of_explained() {
    let bad = "tests/config/bad/many_errors.yaml";
    let ended = run(&["explain", "--config", bad, "tenant=acme"]);
    let problems = std::fs::read_to_string("tests/config/bad/many_errors.txt").unwrap();
    assert_eq!((ended.code, &*ended.out, &*ended.err), (Some(2), "", &*problems));
}

#[test]
fn a_hostile_key_or_domain_is_escaped() {
    let told = explain(EXPLAINED, &["a\u{1b}[31m\nb=c"]);
    assert!(told.ends_with("\nnote: the policy does not ask about `a\\u{1b}[31m\\nb`\n"), "{told}");
    let ended = run(&["explain", "--config", EXPLAINED, "--domain", "\u{1b}[31m", "tenant=acme"]);
    assert!(ended.err.starts_with("there is no domain `\\u{1b}[31m`; "), "{ended:?}");
}

#[test]
fn entries_with_one_key_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    let policy = "domain: d
tables: [{ name: route, key: [\"generic_key[1]\"], rows: { all: [{ per_second: 10 }] } }]";
    std::fs::write(&path, policy).unwrap();
    let config = path.to_str().unwrap();
    let expected = r#"domain d
endpoint group none
entry generic_key=shop: read as `generic_key`
entry generic_key=check\"out: read as `generic_key[1]`
entry generic_key=third: not read, since an equal key comes before it

+ route, row all; one for each generic_key[1]:
    10 per second: holds 10, gains one every 100ms

1 bucket, which must admit
note: the policy does not ask about `other`
"#;
    let call = ["generic_key=shop", "generic_key=check\"out", "other=1", "generic_key=third"];
    assert_eq!(explain(config, &call), expected);
    let told = explain(config, &["generic_key[1]=checkout"]);
    let note = "note: `generic_key[1]` is one of several entries with one key; write all of them, without numbers\n";
    assert!(told.ends_with(note), "{told}");
}
