//! What is counted, under what name, and when it is over the limit.

use super::compare;
use super::script::{self, Case};
use super::sides::Sides;
use super::support::{descriptor, hits};

const CASES: &[Case] = &[
    Case::new(
        "over the limit is more than the limit, and remaining what is left of it",
        "descriptors: [{ key: k, rate_limit: { unit: hour, requests_per_unit: 2 } }]\n",
        |script| {
            let asked = [descriptor(&[("k", "v")])];
            assert_eq!(script.ask(&asked)?, "OK: OK 1 of 2 a HOUR");
            assert_eq!(script.ask(&asked)?, "OK: OK 0 of 2 a HOUR");
            for _ in 0..3 {
                assert_eq!(script.ask(&asked)?, "OVER_LIMIT: OVER_LIMIT 0 of 2 a HOUR");
            }
            assert_eq!(script.ask(&[descriptor(&[("k", "w")])])?, "OK: OK 1 of 2 a HOUR");
            Ok(())
        },
    ),
    Case::new(
        "hits that do not fit are counted all the same",
        "descriptors: [{ key: k, rate_limit: { unit: hour, requests_per_unit: 2 } }]\n",
        |script| {
            let over = "OVER_LIMIT: OVER_LIMIT 0 of 2 a HOUR";
            assert_eq!(script.ask(&[hits(5, &[("k", "v")])])?, over);
            assert_eq!(script.ask(&[descriptor(&[("k", "v")])])?, over);
            assert_eq!(script.ask(&[hits(0, &[("k", "v")])])?, over);
            Ok(())
        },
    ),
    Case::new(
        "each is charged whatever the others say",
        "descriptors:
  - { key: a, rate_limit: { unit: hour, requests_per_unit: 1 } }
  - { key: b, rate_limit: { unit: hour, requests_per_unit: 3 } }
",
        |script| {
            let both = [descriptor(&[("a", "v")]), descriptor(&[("b", "v")])];
            assert_eq!(script.ask(&both)?, "OK: OK 0 of 1 a HOUR, OK 2 of 3 a HOUR");
            let denied = "OVER_LIMIT: OVER_LIMIT 0 of 1 a HOUR, OK 1 of 3 a HOUR";
            assert_eq!(script.ask(&both)?, denied);
            let [a, b] = both;
            assert_eq!(
                script.ask(&[b, a])?,
                "OVER_LIMIT: OK 0 of 3 a HOUR, OVER_LIMIT 0 of 1 a HOUR"
            );
            Ok(())
        },
    ),
    Case::new(
        "the same descriptor twice is charged twice, in order",
        "descriptors: [{ key: k, rate_limit: { unit: hour, requests_per_unit: 4 } }]\n",
        |script| {
            let twice = [descriptor(&[("k", "v")]), hits(2, &[("k", "v")])];
            assert_eq!(script.ask(&twice)?, "OK: OK 3 of 4 a HOUR, OK 1 of 4 a HOUR");
            let line = script.ask(&[hits(0, &[("k", "v")]), twice[1].clone(), twice[0].clone()])?;
            let over = "OVER_LIMIT 0 of 4 a HOUR";
            assert_eq!(line, format!("OVER_LIMIT: OK 1 of 4 a HOUR, {over}, {over}"));
            // Also where one of them has more hits than any limit.
            for many in [1_u64 << 31, (1 << 32) - 1, 1 << 33, 1 << 50] {
                let value = many.to_string();
                let [few, many] = [hits(1, &[("k", &value)]), hits(many, &[("k", &value)])];
                let line = script.ask(&[few.clone(), many.clone(), few, many])?;
                assert_eq!(line, format!("OVER_LIMIT: OK 3 of 4 a HOUR, {over}, {over}, {over}"));
            }
            Ok(())
        },
    ),
    Case::new(
        "hits are the descriptor's, else the request's, else one",
        "descriptors: [{ key: k, rate_limit: { unit: hour, requests_per_unit: 20 } }]\n",
        |script| {
            let plain = descriptor(&[("k", "v")]);
            let asked = [hits(3, &[("k", "v")]), plain.clone(), hits(0, &[("k", "v")])];
            let mut request = script.request(&asked);
            request.hits_addend = 5;
            let line = "OK: OK 17 of 20 a HOUR, OK 12 of 20 a HOUR, OK 12 of 20 a HOUR";
            assert_eq!(compare::line(&script.send(&request)?.unwrap()), line);
            assert_eq!(script.ask(&[plain])?, "OK: OK 11 of 20 a HOUR");
            Ok(())
        },
    ),
    Case::new(
        "no hits only look",
        "descriptors:
  - { key: k, rate_limit: { unit: hour, requests_per_unit: 1 } }
  - { key: nothing, rate_limit: { unit: hour, requests_per_unit: 0 } }
  - { key: unsaid, rate_limit: { unit: hour } }
",
        |script| {
            let look = [hits(0, &[("k", "v")])];
            assert_eq!(script.ask(&look)?, "OK: OK 1 of 1 a HOUR");
            assert_eq!(script.ask(&[descriptor(&[("k", "v")])])?, "OK: OK 0 of 1 a HOUR");
            assert_eq!(script.ask(&look)?, "OK: OK 0 of 1 a HOUR");
            let over = "OVER_LIMIT: OVER_LIMIT 0 of 1 a HOUR";
            assert_eq!(script.ask(&[descriptor(&[("k", "v")])])?, over);
            assert_eq!(script.ask(&look)?, over);
            for key in ["nothing", "unsaid"] {
                assert_eq!(script.ask(&[hits(0, &[(key, "v")])])?, "OK: OK 0 of 0 a HOUR");
                let denied = "OVER_LIMIT: OVER_LIMIT 0 of 0 a HOUR";
                assert_eq!(script.ask(&[descriptor(&[(key, "v")])])?, denied);
                assert_eq!(script.ask(&[hits(0, &[(key, "v")])])?, denied);
            }
            Ok(())
        },
    ),
    Case::new(
        "large hits and limits",
        "descriptors:
  - { key: most, rate_limit: { unit: year, requests_per_unit: 4294967295 } }
  - { key: two, rate_limit: { unit: year, requests_per_unit: 2 } }
",
        |script| {
            let most = |count| [hits(count, &[("most", "v")])];
            let of = "of 4294967295 a YEAR";
            assert_eq!(script.ask(&most(0))?, format!("OK: OK 4294967295 {of}"));
            assert_eq!(script.ask(&most(1 << 31))?, format!("OK: OK 2147483647 {of}"));
            assert_eq!(script.ask(&most((1 << 31) - 1))?, format!("OK: OK 0 {of}"));
            assert_eq!(script.ask(&most(1))?, format!("OVER_LIMIT: OVER_LIMIT 0 {of}"));
            assert_eq!(script.ask(&most(1 << 60))?, format!("OVER_LIMIT: OVER_LIMIT 0 {of}"));
            let many = hits(1 << 62, &[("two", "v")]);
            assert_eq!(script.ask(&[many])?, "OVER_LIMIT: OVER_LIMIT 0 of 2 a YEAR");
            Ok(())
        },
    ),
    Case::by_the_second(
        "a window ends with its second, and all that it counted",
        "descriptors:
  - { key: k, rate_limit: { unit: second, requests_per_unit: 2 } }
  - { key: long, rate_limit: { unit: day, requests_per_unit: 9 } }
",
        |script| {
            let asked = [hits(2, &[("k", "v")]), descriptor(&[("long", "v")])];
            assert_eq!(script.ask(&asked)?, "OK: OK 0 of 2 a SECOND, OK 8 of 9 a DAY");
            let over = "OVER_LIMIT: OVER_LIMIT 0 of 2 a SECOND, OK 7 of 9 a DAY";
            assert_eq!(script.ask(&asked)?, over);
            script.next_window();
            assert_eq!(script.ask(&asked)?, "OK: OK 0 of 2 a SECOND, OK 6 of 9 a DAY");
            script.next_window();
            assert_eq!(script.ask(&[descriptor(&[("k", "v")])])?, "OK: OK 1 of 2 a SECOND");
            Ok(())
        },
    ),
];

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn counting() {
    script::run(&Sides::all(&script::deployment(CASES, &[])), CASES);
}
