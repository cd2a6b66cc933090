//! The code of the whole answer: shadow and quota, on a node and of the deployment.

use super::script::{self, Case};
use super::sides::Sides;
use super::support::{descriptor, hits, limit};
use tollgate::wire::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;

const TREE: &str = "descriptors:
  - { key: limit, rate_limit: { unit: hour, requests_per_unit: 1 } }
  - { key: tried, shadow_mode: true, rate_limit: { unit: hour, requests_per_unit: 1 } }
  - key: parent
    shadow_mode: true
    descriptors: [{ key: child, rate_limit: { unit: hour, requests_per_unit: 1 } }]
  - { key: quota, quota_mode: true, rate_limit: { unit: hour, requests_per_unit: 1 } }
  - { key: other quota, quota_mode: true, rate_limit: { unit: hour, requests_per_unit: 9 } }
  - { key: both, quota_mode: true, shadow_mode: true, rate_limit: { unit: hour, requests_per_unit: 1 } }
  - { key: free, rate_limit: { unlimited: true } }
";

fn of(keys: &[&str]) -> Vec<RateLimitDescriptor> {
    keys.iter().map(|key| descriptor(&[(key, "v")])).collect()
}

const CASES: &[Case] = &[
    Case::new("a limit in shadow is charged and says OK", TREE, |script| {
        for _ in 0..3 {
            assert_eq!(script.ask(&of(&["tried"]))?, "OK: OK 0 of 1 a HOUR");
        }
        let line = "OK: OK 0 of 1 a HOUR, OK 0 of 1 a HOUR";
        assert_eq!(script.ask(&of(&["tried", "limit"]))?, line);
        let line = "OVER_LIMIT: OK 0 of 1 a HOUR, OVER_LIMIT 0 of 1 a HOUR";
        assert_eq!(script.ask(&of(&["tried", "limit"]))?, line);
        Ok(())
    }),
    Case::new("shadow of a parent means nothing", TREE, |script| {
        let asked = [descriptor(&[("parent", "v"), ("child", "v")])];
        assert_eq!(script.ask(&asked)?, "OK: OK 0 of 1 a HOUR");
        assert_eq!(script.ask(&asked)?, "OVER_LIMIT: OVER_LIMIT 0 of 1 a HOUR");
        Ok(())
    }),
];

/// The pinned reference lets a spent quota pass in any case, and says OK of it.
const QUOTA: &[Case] = &[
    Case::new("a spent quota says so, and denies where all quotas are spent", TREE, |script| {
        let spent = "OVER_LIMIT 0 of 1 a HOUR";
        assert_eq!(script.ask(&of(&["quota"]))?, "OK: OK 0 of 1 a HOUR");
        assert_eq!(script.ask(&of(&["quota"]))?, format!("OVER_LIMIT: {spent}"));
        let line = script.ask(&of(&["quota", "other quota"]))?;
        assert_eq!(line, format!("OK: {spent}, OK 8 of 9 a HOUR"));
        let line =
            script.ask(&[hits(9, &[("other quota", "v")]), descriptor(&[("quota", "v")])])?;
        assert_eq!(line, format!("OVER_LIMIT: OVER_LIMIT 0 of 9 a HOUR, {spent}"));
        Ok(())
    }),
    Case::new("quotas beside limits, and beside what has none", TREE, |script| {
        let spent = "OVER_LIMIT 0 of 1 a HOUR";
        let line = "OVER_LIMIT: OVER_LIMIT 0 of 1 a HOUR, OK 0 of 1 a HOUR";
        let twice = [hits(2, &[("quota", "v")]), descriptor(&[("limit", "v")])];
        assert_eq!(script.ask(&twice)?, line);
        let line = script.ask(&of(&["limit", "other quota"]))?;
        assert_eq!(line, format!("OVER_LIMIT: {spent}, OK 8 of 9 a HOUR"));
        for beside in ["free", "unmatched"] {
            let line = script.ask(&of(&["quota", beside]))?;
            let other = if beside == "free" { "OK unlimited" } else { "OK" };
            assert_eq!(line, format!("OVER_LIMIT: {spent}, {other}"));
        }
        Ok(())
    }),
    Case::new("a quota in shadow is OK", TREE, |script| {
        for _ in 0..3 {
            assert_eq!(script.ask(&of(&["both"]))?, "OK: OK 0 of 1 a HOUR");
        }
        let line = "OK: OK 0 of 1 a HOUR, OVER_LIMIT 0 of 1 a HOUR";
        let asked = [descriptor(&[("both", "v")]), hits(2, &[("quota", "v")])];
        assert_eq!(script.ask(&asked)?, line, "not all quotas are over");
        Ok(())
    }),
];

const SHADOW_MODE: &[Case] = &[Case::new("all in shadow keep their statuses", TREE, |script| {
    assert_eq!(script.ask(&of(&["limit", "tried"]))?, "OK: OK 0 of 1 a HOUR, OK 0 of 1 a HOUR");
    let line = "OK: OVER_LIMIT 0 of 1 a HOUR, OK 0 of 1 a HOUR, OK unlimited, OK";
    assert_eq!(script.ask(&of(&["limit", "tried", "free", "unmatched"]))?, line);
    let brought = [limit(0, 3, None, &[("limit", "v")])];
    assert_eq!(script.ask(&brought)?, "OK: OVER_LIMIT 0 of 0 a HOUR");
    Ok(())
})];

const QUOTA_MODE: &[Case] =
    &[Case::new("every descriptor is a quota, also one without a limit", TREE, |script| {
        let spent = "OVER_LIMIT 0 of 1 a HOUR";
        assert_eq!(script.ask(&of(&["limit"]))?, "OK: OK 0 of 1 a HOUR");
        assert_eq!(script.ask(&of(&["limit"]))?, format!("OVER_LIMIT: {spent}"));
        assert_eq!(script.ask(&of(&["limit", "unmatched"]))?, format!("OK: {spent}, OK"));
        let line = format!("OVER_LIMIT: {spent}, OK unlimited");
        assert_eq!(script.ask(&of(&["limit", "free"]))?, line, "but not one without end");
        let brought = [limit(0, 3, None, &[("limit", "v")]), descriptor(&[("other quota", "v")])];
        assert_eq!(script.ask(&brought)?, "OK: OVER_LIMIT 0 of 0 a HOUR, OK 8 of 9 a HOUR");
        Ok(())
    })];

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn limits_in_shadow() {
    script::run(&Sides::all(&script::deployment(CASES, &[])), CASES);
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn quotas() {
    script::run(&Sides::later(&script::deployment(QUOTA, &[])), QUOTA);
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn a_deployment_in_shadow() {
    let deployment = script::deployment(SHADOW_MODE, &[("SHADOW_MODE", "true")]);
    script::run(&Sides::all(&deployment), SHADOW_MODE);
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn a_deployment_of_quotas() {
    let deployment = script::deployment(QUOTA_MODE, &[("QUOTA_MODE", "true")]);
    script::run(&Sides::later(&deployment), QUOTA_MODE);
}
