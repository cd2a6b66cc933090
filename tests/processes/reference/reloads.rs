//! What becomes of counts when the files change, and of the configuration when they are wrong.

use tollgate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;

use super::compare;
use super::script::{self, Script};
use super::sides::{Deployment, Sides};
use super::support::{descriptor, hits, request};
use super::windows;

/// The number in the descriptor `version` tells which text is in force.
fn with_version(version: u32, descriptors: &str) -> String {
    let version =
        format!("{{ key: version, rate_limit: {{ unit: year, requests_per_unit: {version} }} }}");
    format!("domain: d\ndescriptors: [{version}, {descriptors}]\n")
}

fn wait_for(sides: &Sides, version: u32) {
    let look = request("d", &[hits(0, &[("version", "v")])]);
    let line = format!("OK: OK {version} of {version} a YEAR");
    sides.wait_for(&format!("version {version}"), &look, |said| {
        said.as_ref().is_ok_and(|answer| compare::line(answer) == line)
    });
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn a_count_outlives_its_number_and_its_place_but_not_its_unit() {
    let limit = |value: &str, unit: &str, number: u32| {
        format!("{{ key: k{value}, rate_limit: {{ unit: {unit}, requests_per_unit: {number} }} }}")
    };
    let of = |version, limit: &str| with_version(version, limit);
    let first = of(1, &limit("", "hour", 2));
    let sides = Sides::all(&Deployment::of(&[("a.yaml", &first)], &[]));
    let mut version = 1;
    script::attempt("counts over reloads", Unit::Hour, |attempt| {
        let mut put = |limit: &str| {
            version += 1;
            sides.rewrite("a.yaml", &of(version, limit));
            wait_for(&sides, version);
        };
        let value = format!("v{attempt}");
        // One that did not begin together with this hour.
        let others = windows::apart(&[Unit::Hour, Unit::Day, Unit::Month, Unit::Year]);
        let other = others.into_iter().find(|unit| *unit != Unit::Hour).unwrap().as_str_name();
        let mut script = Script::begin(&sides, "d".into(), Unit::Hour);
        put(&limit("", "hour", 2));
        assert_eq!(
            script.ask(&[hits(3, &[("k", &value)])])?,
            "OVER_LIMIT: OVER_LIMIT 0 of 2 a HOUR"
        );
        put(&limit("", "hour", 5));
        assert_eq!(script.ask(&[descriptor(&[("k", &value)])])?, "OK: OK 1 of 5 a HOUR");
        put(&limit(&format!(", value: {value}"), "hour", 9));
        assert_eq!(script.ask(&[descriptor(&[("k", &value)])])?, "OK: OK 4 of 9 a HOUR");
        put(&limit("", other, 9));
        let expected = format!("OK: OK 8 of 9 a {other}");
        assert_eq!(script.ask(&[descriptor(&[("k", &value)])])?, expected);
        put(&limit("", "hour", 9));
        assert_eq!(script.ask(&[descriptor(&[("k", &value)])])?, "OK: OK 3 of 9 a HOUR");
        Ok(())
    });
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn a_wrong_file_changes_nothing_and_a_right_one_all() {
    let right = with_version(1, "{ key: k, rate_limit: { unit: year, requests_per_unit: 3 } }");
    let sides = Sides::all(&Deployment::of(&[("a.yaml", &right)], &[]));
    let ask = |domain: &str| {
        let asked = request(domain, &[descriptor(&[("k", "v")])]);
        let mut lines: Vec<_> =
            sides.ask(&asked).into_iter().map(|(_, said)| compare::line(&said.unwrap())).collect();
        lines.dedup();
        lines.join("; ")
    };
    assert_eq!(ask("d"), "OK: OK 2 of 3 a YEAR");
    // A good file beside a bad one is not taken, either.
    sides.rewrite("b.yaml", "domain: [\n");
    sides.rewrite(
        "c.yaml",
        "domain: e\ndescriptors: [{ key: k, rate_limit: { unit: day, requests_per_unit: 7 } }]\n",
    );
    sides.rewrite("a.yaml", &with_version(2, ""));
    for _ in 0..20 {
        assert_eq!(ask("e"), "OK: OK");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(ask("d"), "OK: OK 1 of 3 a YEAR");
    sides.rewrite("b.yaml", "domain: f\n");
    wait_for(&sides, 2);
    assert_eq!(ask("e"), "OK: OK 6 of 7 a DAY");
    assert_eq!(ask("d"), "OK: OK", "the limit is gone");
}
