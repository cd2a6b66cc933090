//! What the limits of one request make of it together.

use super::*;
use crate::policy::descriptor_tree::support::node;

fn names<const N: usize>(statuses: [&str; N]) -> Vec<String> {
    statuses.map(str::to_owned).into()
}

#[test]
fn a_limit_in_shadow_says_ok_with_nothing_remaining() {
    let served = served([node("k", "").per_minute(1).in_shadow()]);
    let ask = || served.ask_one(descriptor(&[["k", "v"]]));
    assert_eq!(ask(), "OK 0/1 minute 60s");
    assert_eq!(ask(), "OK 0/1 minute 60s");
}

#[test]
fn a_deployment_in_shadow_keeps_the_statuses_and_denies_nothing() {
    let settings = TreeSettings { is_shadow: true, ..TreeSettings::default() };
    let served = served_with([node("k", "").per_minute(0)], &settings);
    assert_eq!(served.ask([descriptor(&[["k", "v"]])]), ("OK", names(["OVER 0/0 minute 60s"])));
}

/// `a` and `b` are spent quotas, `c` is one that is not, `l` a limit that is not spent, `s` one in shadow.
fn quotas() -> Vec<NewNode> {
    vec![
        node("a", "").per_minute(0).into_quota(),
        node("b", "").per_minute(0).into_quota(),
        node("c", "").per_minute(9).into_quota(),
        node("l", "").per_minute(9),
        node("spent", "").per_minute(0),
        node("s", "").per_minute(0).into_quota().in_shadow(),
        node("free", "").unlimited(),
    ]
}

#[test]
fn quotas_deny_only_if_all_of_them_are_spent() {
    let served = served(quotas());
    let codes = |keys: &[&str]| {
        let (code, statuses) = served.ask(keys.iter().map(|key| descriptor(&[[key, "v"]])));
        let is_over = statuses.iter().map(|status| status.starts_with("OVER")).collect::<Vec<_>>();
        (code, is_over)
    };
    assert_eq!(codes(&["a"]), ("OVER", vec![true]));
    assert_eq!(codes(&["a", "b"]), ("OVER", vec![true, true]));
    assert_eq!(codes(&["a", "c"]), ("OK", vec![true, false]), "a spent quota keeps its status");
    assert_eq!(codes(&["a", "l"]), ("OVER", vec![true, false]), "a limit is no quota");
    assert_eq!(codes(&["c", "spent"]), ("OVER", vec![false, true]));
    assert_eq!(codes(&["a", "s"]), ("OK", vec![true, false]));
    assert_eq!(codes(&["s"]), ("OK", vec![false]));
    assert_eq!(codes(&["a", "free"]), ("OVER", vec![true, false]), "unlimited ones are no quotas");
    assert_eq!(codes(&["a", "unmatched"]), ("OVER", vec![true, false]));
}

#[test]
fn in_a_deployment_of_quotas_every_descriptor_is_one_but_unlimited_ones() {
    let settings = TreeSettings { is_quota: true, ..TreeSettings::default() };
    let nodes = [
        node("spent", "").per_minute(0),
        node("l", "").per_minute(9).named("l"),
        node("free", "").unlimited(),
        node("r", "").per_minute(0).replacing(&["l"]),
    ];
    let served = served_with(nodes, &settings);
    let code = |keys: &[&str]| served.ask(keys.iter().map(|key| descriptor(&[[key, "v"]]))).0;
    assert_eq!(code(&["spent"]), "OVER");
    assert_eq!(code(&["spent", "unmatched"]), "OK");
    assert_eq!(code(&["spent", "l"]), "OK");
    assert_eq!(code(&["spent", "free"]), "OVER");
    assert_eq!(code(&["r", "l"]), "OK", "one that is replaced is as one that is unmatched");
    let brought = |key: &str| descriptor(&[[key, "v"]]).with_limit(0, 2);
    assert_eq!(served.ask([brought("x")]).0, "OVER");
    assert_eq!(served.ask([brought("x"), descriptor(&[["l", "v"]])]).0, "OK");
}

#[test]
fn a_replaced_limit_is_not_charged_and_has_a_code_alone() {
    let served = served([
        node("own", "").per_minute(9).named("own").replacing(&["all", "no such name"]),
        node("all", "").per_minute(0).named("all"),
    ]);
    let (own, all) = (|| descriptor(&[["own", "1"]]), || descriptor(&[["all", "1"]]));
    assert_eq!(served.ask([own(), all()]), ("OK", names(["OK 8/9 minute 60s own", "OK"])));
    let expected = names(["OK", "OK 7/9 minute 60s own"]);
    assert_eq!(served.ask([all(), own()]), ("OK", expected), "the order does not matter");
    assert_eq!(served.ask_one(all()), "OVER 0/0 minute 60s all");
    let expected = names(["OK", "OK 7/9 minute 60s own"]);
    assert_eq!(served.ask([all(), own().hits(0)]), ("OK", expected), "a look replaces, too");
}

#[test]
fn limits_that_replace_each_other_both_vanish() {
    let served = served([
        node("a", "").per_minute(0).named("a").replacing(&["b"]),
        node("b", "").per_minute(0).named("b").replacing(&["a"]),
    ]);
    let both = [descriptor(&[["a", "1"]]), descriptor(&[["b", "1"]])];
    assert_eq!(served.ask(both), ("OK", names(["OK", "OK"])));
}

#[test]
fn a_replaced_limit_replaces_others_and_an_unlimited_one_is_never_replaced() {
    let served = served([
        node("a", "").unlimited().named("a").replacing(&["b"]),
        node("b", "").per_minute(0).named("b").replacing(&["c", "a"]),
        node("c", "").per_minute(0).named("c"),
        node("s", "").per_minute(0).in_shadow().replacing(&["c"]),
    ]);
    let all = ["a", "b", "c"].map(|key| descriptor(&[[key, "1"]]));
    assert_eq!(served.ask(all), ("OK", names(["OK 4294967295", "OK", "OK"])));
    let both = ["s", "c"].map(|key| descriptor(&[[key, "1"]]));
    assert_eq!(served.ask(both), ("OK", names(["OK 0/0 minute 60s", "OK"])));
    let brought = [descriptor(&[["b", "1"]]).with_limit(9, 2), descriptor(&[["c", "1"]])];
    let expected = names(["OK 8/9 minute 60s", "OVER 0/0 minute 60s c"]);
    assert_eq!(served.ask(brought), ("OVER", expected), "a limit from Envoy replaces none");
    let brought = [descriptor(&[["b", "1"]]), descriptor(&[["c", "1"]]).with_limit(9, 2)];
    assert_eq!(served.ask(brought).1[1], "OK 7/9 minute 60s", "and is replaced by none");
}
