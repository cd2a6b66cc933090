//! Descriptor trees for people at a terminal: `explain`, `query` and `admin`.

use super::query::query;
use super::serve::{QUIET, Served};
use super::{Ended, run, run_in};

const TOKEN: &str = "0123456789abcdef";

const TREE: &str = "domain: shop
descriptors:
  - key: user
    rate_limit: { unit: year, requests_per_unit: 5, name: per user }
    descriptors:
      - { key: path, value: /api/*, rate_limit: { unit: year, requests_per_unit: 100 } }
      - { key: path, value: /free, rate_limit: { unlimited: true } }
      - key: path
        value: /pool/*
        share_threshold: true
        quota_mode: true
        rate_limit: { unit: hour, requests_per_unit: 3, replaces: [{ name: per user }] }
  - { key: trial, shadow_mode: true, rate_limit: { unit: year, requests_per_unit: 1 } }
  - { key: never, rate_limit: { unit: year, requests_per_unit: 0 } }
  - { key: open }
";

struct Lab {
    _folder: tempfile::TempDir,
    path: String,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tree.yaml").to_str().unwrap().to_owned();
        std::fs::write(&path, TREE).unwrap();
        Self { _folder: folder, path }
    }

    fn explain(&self, args: &[&str]) -> String {
        let ended = run(&[&["explain", "--config", &self.path][..], args].concat());
        assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{args:?}");
        let told = ended.out.strip_prefix("domain shop\n\n");
        told.unwrap_or_else(|| panic!("{ended:?}")).to_owned()
    }

    fn serve(&self) -> Served {
        let more = ["--config", &self.path, "--watch", "off", "--admin-token", TOKEN];
        Served::start(&[&QUIET[..], &more].concat(), &[])
    }
}

fn admin(server: &Served, args: &[&str]) -> Ended {
    let address = format!("http://{}", server.http);
    let env = [("TOLLGATE_ADMIN_ADDR", &*address), ("TOLLGATE_ADMIN_TOKEN", TOKEN)];
    run_in(&[&["admin"][..], args].concat(), &env)
}

#[test]
fn a_descriptor_is_explained_node_by_node() {
    let lab = Lab::new();
    let user = "  user=ann: node user takes every value that no other takes\n";
    for (entries, expected) in [
        (
            &["user=ann"][..],
            "+ descriptors, user; one for each user:
    5 each year: counts anew when the next year begins

1 window, which must admit
",
        ),
        (
            &["user=ann", "path=/api/x"],
            "  path=/api/x: node path_/api/* is the first whose pattern matches
+ descriptors, user.path_/api/*; one for each user and path:
    100 each year: counts anew when the next year begins

1 window, which must admit
",
        ),
        (
            &["user=ann", "path=/free"],
            "  path=/free: node path_/free has this value
+ descriptors, user.path_/free: unlimited

unlimited; the call passes
",
        ),
        (
            &["user=ann", "path=/pool/1"],
            "  path=/pool/1: node path_/pool/* is the first whose pattern matches
+ descriptors, user.path_/pool/*, a quota: denies only together with all other quotas of the call, replaces per user; one for each user:
    3 each hour: counts anew when the next hour begins

1 window, a quota: it denies a call only together with all other quotas of the call
",
        ),
        (
            &["user=ann", "path=/other"],
            "- descriptors: no node for path=/other at user: there are path_/api/*, path_/free, path_/pool/*

no limit; the call passes
",
        ),
    ] {
        assert_eq!(lab.explain(entries), format!("{user}{expected}"), "{entries:?}");
    }
}

#[test]
fn what_denies_nothing_and_what_denies_everything_are_explained_as_such() {
    let lab = Lab::new();
    for (entry, expected) in [
        (
            "trial=t",
            "  trial=t: node trial takes every value that no other takes
+ descriptors, trial, in shadow: never denies; one for each trial:
    1 each year: counts anew when the next year begins

1 window, in shadow: it denies no call
",
        ),
        (
            "never=n",
            "  never=n: node never takes every value that no other takes
+ descriptors, never; one for each never:
    0 each year: nothing passes

1 window, which must admit
",
        ),
        (
            "open=1",
            "  open=1: node open takes every value that no other takes
- descriptors: no limit at open: its values pass

no limit; the call passes
",
        ),
        (
            "other=1",
            "- descriptors: no node for other=1 at the root: there are user, trial, never, open

no limit; the call passes
note: the policy does not ask about `other`
",
        ),
    ] {
        assert_eq!(lab.explain(&[entry]), expected);
    }
    for (counting, said) in [
        ("spare-others", "spared if another is exceeded"),
        ("all-or-none", "counts admitted calls only"),
    ] {
        let told = lab.explain(&["--counting", counting, "user=ann"]);
        assert!(
            told.contains(&format!("\n+ descriptors, user, {said}; one for each user:\n")),
            "{told}"
        );
    }
}

#[test]
fn a_call_is_told_the_state_of_its_limit() {
    let lab = Lab::new();
    let server = lab.serve();
    let told = |args: &[&str], code: i32| {
        let ended = query(&server, &[args]);
        assert_eq!((ended.code, &*ended.err), (Some(code), ""), "{args:?}: {ended:?}");
        // The seconds until the year ends.
        let cut = |line: &str| line.split(", full in ").next().unwrap().to_owned();
        ended.out.lines().map(|line| cut(line.trim_start())).collect::<Vec<_>>()
    };
    assert_eq!(told(&["user=ann"], 0), ["OK", "per user: 5 per year, 4 left"]);
    let over = ["OVER_LIMIT", "per user: 5 per year, 0 left"];
    assert_eq!(told(&["--hits", "5", "user=ann"], 1), over);
    assert_eq!(told(&["user=ann", "path=/api/x"], 0), ["OK", "100 per year, 99 left"]);
    assert_eq!(told(&["user=ann", "path=/free"], 0), ["OK", "unlimited"]);
    assert_eq!(told(&["open=1"], 0), ["OK", "no enforced limit matched"]);
    let in_shadow = ["OK", "descriptors/trial is in shadow: it never denies", "1 per year, 0 left"];
    assert_eq!(told(&["--hits", "2", "trial=t"], 0), in_shadow);
    let blocked = query(&server, &[&["never=n"]]);
    assert!(blocked.out.starts_with("OVER_LIMIT\n  blocked for "), "{blocked:?}");
}

#[test]
fn windows_are_found_explained_and_reset_at_a_terminal() {
    let lab = Lab::new();
    let server = lab.serve();
    let spend = || assert_eq!(query(&server, &[&["--hits", "6", "user=ann"]]).code, Some(1));
    spend();
    let listed = admin(&server, &["lookup", "user=ann"]);
    let line = listed.out.lines().nth(1).unwrap_or_else(|| panic!("{listed:?}"));
    for part in ["over", "0 of 5", "5 each year", "descriptors/user", "user=ann"] {
        assert!(line.contains(part), "{part}: {listed:?}");
    }
    for args in [&["explain", "user=ann"][..], &["explain", "--table", "descriptors", "user=ann"]] {
        let told = admin(&server, args);
        assert_eq!((told.code, &*told.err), (Some(0), ""), "{told:?}");
        let row = "+ descriptors, row user, always charged; one for each user:\n    5 each year: 0 of 5 left, admits in ";
        assert!(told.out.contains(": would be denied\n") && told.out.contains(row), "{told:?}");
        assert!(told.out.ends_with("\n1 window, which must admit\n"), "{told:?}");
    }
    let never = admin(&server, &["explain", "never=n"]);
    assert!(never.out.contains("    0 each year: 0 of 0 left, does not admit\n"), "{never:?}");
    let free = admin(&server, &["explain", "user=ann", "path=/free"]);
    assert!(free.out.contains("- descriptors: user.path_/free is unlimited\n"), "{free:?}");
    for args in [&["reset", "user=ann"][..], &["reset", "--table", "descriptors", "user=ann"]] {
        let reset = admin(&server, args);
        assert!(reset.out.ends_with("\nreset 1 bucket (0 were already full)\n"), "{reset:?}");
        assert_eq!(query(&server, &[&["--hits", "5", "user=ann"]]).code, Some(0));
    }
}
