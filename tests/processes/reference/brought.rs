//! Limits that come with a descriptor.

use tollgate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;

use super::compare;
use super::script::{self, Case};
use super::sides::Sides;
use super::support::{descriptor, hits, limit, request};
use super::windows;

/// Units as the descriptor's enum has them; WEEK is none of it, and taken all the same.
const MINUTE: i32 = 2;
const HOUR: i32 = 3;
const DAY: i32 = 4;
const WEEK: i32 = 7;

const CASES: &[Case] = &[
    Case::new(
        "it takes the place of what the tree says",
        "descriptors:
  - { key: k, rate_limit: { unit: day, requests_per_unit: 2, name: two } }
  - { key: free, rate_limit: { unlimited: true } }
  - { key: tried, shadow_mode: true, rate_limit: { unit: day, requests_per_unit: 2 } }
",
        |script| {
            for key in ["k", "free", "tried", "unheard of"] {
                let asked = [limit(1, HOUR, None, &[(key, "v")])];
                assert_eq!(script.ask(&asked)?, "OK: OK 0 of 1 a HOUR", "{key}");
                assert_eq!(script.ask(&asked)?, "OVER_LIMIT: OVER_LIMIT 0 of 1 a HOUR", "{key}");
            }
            let long = limit(1, HOUR, None, &[("a", "b"), ("c", "d")]);
            assert_eq!(script.ask(&[long])?, "OK: OK 0 of 1 a HOUR");
            let none = [limit(1, HOUR, None, &[])];
            assert_eq!(script.ask(&none)?, "OK: OK 0 of 1 a HOUR", "without an entry");
            assert_eq!(script.ask(&none)?, "OVER_LIMIT: OVER_LIMIT 0 of 1 a HOUR");
            Ok(())
        },
    ),
    Case::new("in an unknown domain it is ignored", "descriptors: []\n", |script| {
        let asked = request("nobody's", &[limit(0, HOUR, None, &[("k", "v")])]);
        assert_eq!(compare::line(&script.send(&asked)?.unwrap()), "OK: OK");
        let known = [limit(0, HOUR, None, &[("k", "v")])];
        assert_eq!(script.ask(&known)?, "OVER_LIMIT: OVER_LIMIT 0 of 0 a HOUR");
        Ok(())
    }),
    Case::new(
        "it shares its count with a limit of the same window",
        "descriptors: [{ key: k, rate_limit: { unit: hour, requests_per_unit: 5 } }]\n",
        |script| {
            assert_eq!(script.ask(&[hits(3, &[("k", "v")])])?, "OK: OK 2 of 5 a HOUR");
            assert_eq!(script.ask(&[limit(9, HOUR, None, &[("k", "v")])])?, "OK: OK 5 of 9 a HOUR");
            assert_eq!(script.ask(&[descriptor(&[("k", "v")])])?, "OK: OK 0 of 5 a HOUR");
            let less = [limit(4, HOUR, None, &[("k", "v")])];
            assert_eq!(script.ask(&less)?, "OVER_LIMIT: OVER_LIMIT 0 of 4 a HOUR");
            // One of these at least did not begin together with this hour.
            let others = windows::apart(&[Unit::Hour, Unit::Minute, Unit::Day, Unit::Month]);
            for unit in others.into_iter().filter(|unit| *unit != Unit::Hour) {
                let other = [limit(4, unit as i32, None, &[("k", "v")])];
                let expected = format!("OK: OK 3 of 4 a {}", unit.as_str_name());
                assert_eq!(script.ask(&other)?, expected);
            }
            Ok(())
        },
    ),
    Case::new("each unit, and the number 0", "descriptors: []\n", |script| {
        let names = ["MINUTE", "HOUR", "DAY", "MONTH", "YEAR", "WEEK"];
        for (unit, name) in (MINUTE..=WEEK).zip(names) {
            let asked = [limit(3, unit, None, &[("k", name)])];
            assert_eq!(script.ask(&asked)?, format!("OK: OK 2 of 3 a {name}"));
        }
        let nothing = [limit(0, DAY, None, &[("k", "none")])];
        assert_eq!(script.ask(&nothing)?, "OVER_LIMIT: OVER_LIMIT 0 of 0 a DAY");
        Ok(())
    }),
    Case::new("a multiplier of its unit is not looked at", "descriptors: []\n", |script| {
        let asked = [limit(3, HOUR, Some(7), &[("k", "v")])];
        assert_eq!(script.ask(&asked)?, "OK: OK 2 of 3 a HOUR");
        Ok(())
    }),
    Case::new(
        "it has a count of its own where the tree shares one",
        "descriptors: [{ key: k, value: a*, share_threshold: true, rate_limit: { unit: hour, requests_per_unit: 5 } }]\n",
        |script| {
            assert_eq!(script.ask(&[hits(3, &[("k", "ab")])])?, "OK: OK 2 of 5 a HOUR");
            assert_eq!(script.ask(&[descriptor(&[("k", "ac")])])?, "OK: OK 1 of 5 a HOUR");
            assert_eq!(
                script.ask(&[limit(5, HOUR, None, &[("k", "ab")])])?,
                "OK: OK 4 of 5 a HOUR"
            );
            Ok(())
        },
    ),
    Case::by_the_second(
        "by the second",
        "descriptors: [{ key: k, rate_limit: { unit: second, requests_per_unit: 5 } }]\n",
        |script| {
            let brought = [limit(2, 1, None, &[("k", "v")])];
            assert_eq!(script.ask(&brought)?, "OK: OK 1 of 2 a SECOND");
            assert_eq!(script.ask(&[descriptor(&[("k", "v")])])?, "OK: OK 3 of 5 a SECOND");
            assert_eq!(script.ask(&brought)?, "OVER_LIMIT: OVER_LIMIT 0 of 2 a SECOND");
            script.next_window();
            assert_eq!(script.ask(&brought)?, "OK: OK 1 of 2 a SECOND");
            Ok(())
        },
    ),
];

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn limits_that_come_with_a_descriptor() {
    script::run(&Sides::all(&script::deployment(CASES, &[])), CASES);
}
