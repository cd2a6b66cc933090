//! Limits that take the place of others of the same request.

use super::script::{self, Case};
use super::sides::Sides;
use super::support::{descriptor, hits, limit};
use tollgate::wire::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;

const TREE: &str = "descriptors:
  - { key: base, rate_limit: { unit: hour, requests_per_unit: 3, name: base } }
  - { key: also, rate_limit: { unit: hour, requests_per_unit: 3, name: base } }
  - { key: better, rate_limit: { unit: hour, requests_per_unit: 5, name: better, replaces: [{ name: base }] } }
  - { key: free, rate_limit: { unlimited: true, name: free, replaces: [{ name: better }] } }
  - { key: over free, rate_limit: { unit: hour, requests_per_unit: 7, replaces: [{ name: free }, { name: nobody }] } }
  - { key: x, rate_limit: { unit: hour, requests_per_unit: 3, name: x, replaces: [{ name: y }] } }
  - { key: y, rate_limit: { unit: hour, requests_per_unit: 3, name: y, replaces: [{ name: x }] } }
  - { key: nameless, rate_limit: { unit: hour, requests_per_unit: 3 } }
  - { key: tried, shadow_mode: true, rate_limit: { unit: hour, requests_per_unit: 0, name: tried, replaces: [{ name: base }] } }
";

fn of(keys: &[&str]) -> Vec<RateLimitDescriptor> {
    keys.iter().map(|key| descriptor(&[(key, "v")])).collect()
}

const CASES: &[Case] = &[
    Case::new("every limit of the name is out and is not charged", TREE, |script| {
        let line = "OK: OK, OK, OK 4 of 5 a HOUR \"better\"";
        assert_eq!(script.ask(&of(&["base", "also", "better"]))?, line);
        assert_eq!(script.ask(&of(&["base"]))?, "OK: OK 2 of 3 a HOUR \"base\"");
        assert_eq!(script.ask(&of(&["better", "base"]))?, "OK: OK 3 of 5 a HOUR \"better\", OK");
        Ok(())
    }),
    Case::new("one that is replaced replaces all the same", TREE, |script| {
        // `free` takes out `better`, which takes out `base`.
        assert_eq!(script.ask(&of(&["base", "better", "free"]))?, "OK: OK, OK, OK unlimited");
        assert_eq!(script.ask(&of(&["base"]))?, "OK: OK 2 of 3 a HOUR \"base\"");
        Ok(())
    }),
    Case::new(
        "an unlimited one cannot be replaced, and a name of nobody is fine",
        TREE,
        |script| {
            assert_eq!(
                script.ask(&of(&["over free", "free"]))?,
                "OK: OK 6 of 7 a HOUR, OK unlimited"
            );
            Ok(())
        },
    ),
    Case::new("two that replace each other both vanish", TREE, |script| {
        assert_eq!(script.ask(&of(&["x", "y", "nameless"]))?, "OK: OK, OK, OK 2 of 3 a HOUR");
        assert_eq!(script.ask(&of(&["x"]))?, "OK: OK 2 of 3 a HOUR \"x\"");
        assert_eq!(script.ask(&of(&["y"]))?, "OK: OK 2 of 3 a HOUR \"y\"");
        Ok(())
    }),
    Case::new(
        "one over its limit, one in shadow and one that only looks replace, too",
        TREE,
        |script| {
            assert_eq!(script.ask(&of(&["tried", "base"]))?, "OK: OK 0 of 0 a HOUR \"tried\", OK");
            let all = [hits(9, &[("better", "v")]), descriptor(&[("base", "v")])];
            let over = "OVER_LIMIT: OVER_LIMIT 0 of 5 a HOUR \"better\", OK";
            assert_eq!(script.ask(&all)?, over);
            let look = [hits(0, &[("better", "v")]), descriptor(&[("base", "v")])];
            assert_eq!(script.ask(&look)?, over);
            assert_eq!(script.ask(&of(&["base"]))?, "OK: OK 2 of 3 a HOUR \"base\"");
            Ok(())
        },
    ),
    Case::new(
        "a limit that comes with the descriptor neither replaces nor is replaced",
        TREE,
        |script| {
            let brought = limit(4, 3, None, &[("better", "v")]);
            let line = "OK: OK 3 of 4 a HOUR, OK 2 of 3 a HOUR \"base\"";
            assert_eq!(script.ask(&[brought, descriptor(&[("base", "v")])])?, line);
            let brought = limit(4, 3, None, &[("base", "v")]);
            let line = "OK: OK 2 of 4 a HOUR, OK 3 of 5 a HOUR \"better\"";
            assert_eq!(script.ask(&[brought, descriptor(&[("better", "v")])])?, line);
            Ok(())
        },
    ),
];

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn limits_that_replace_others() {
    script::run(&Sides::all(&script::deployment(CASES, &[])), CASES);
}
