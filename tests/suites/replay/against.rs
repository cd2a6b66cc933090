//! A policy beside another one.

use std::sync::Arc;

use tollgate::config::mapping;
use tollgate::replay::replay;
use tollgate::replay::source::Source;

use super::{ENTRIES, Logs, OPTIONS, at, fields, line, log_of_a_server, one_row, shipped};

#[test]
fn a_policy_compared_with_itself_differs_in_nothing() {
    let logs = Logs::new();
    let (log, denied) = log_of_a_server(11, 2_000);
    let path = logs.write("a.json", log);
    let both = [shipped(), shipped()];
    let [one, other] = [&both[0], &both[1]].map(|all| all.iter().next().unwrap());
    let mapping = Arc::new(mapping::from_pairs(&fields(&ENTRIES)).unwrap());
    let sources = vec![Source::File(path)];
    let replayed = replay(one, Some(other), mapping, sources, &OPTIONS, &mut |_| {}).unwrap();
    let against = replayed.report.against.unwrap();
    let difference = against.difference;
    assert_eq!((against.outcome.denied, difference.denied_by_both), (denied, denied));
    assert_eq!((difference.newly_denied, difference.no_longer_denied), (0, 0));
    assert!(difference.newly_denied_keys.is_empty());
}

#[test]
fn a_stricter_policy_denies_newly_and_is_told_by_key() {
    let logs = Logs::new();
    let text: String = (0..5).map(|n| line(at(n), 0, 200, &[("k", "a")])).collect();
    let path = logs.write("a.json", text + &line(at(9), 0, 200, &[("k", "b")]));
    let (strict, lax) = (one_row("{ per_hour: 2 }"), one_row("{ per_hour: 4 }"));
    let [strict, lax] = [&strict, &lax].map(|all| all.iter().next().unwrap());
    let compare = |one, other| {
        let mapping = Arc::new(mapping::from_pairs(&fields(&["k"])).unwrap());
        let sources = vec![Source::File(path.clone())];
        let replayed = replay(one, Some(other), mapping, sources, &OPTIONS, &mut |_| {}).unwrap();
        replayed.report.against.unwrap().difference
    };
    let newly = compare(strict, lax);
    assert_eq!((newly.denied_by_both, newly.newly_denied, newly.no_longer_denied), (1, 2, 0));
    assert_eq!(newly.newly_denied_keys[0].key, [["k".to_owned(), "a".to_owned()]]);
    let back = compare(lax, strict);
    assert_eq!((back.denied_by_both, back.newly_denied, back.no_longer_denied), (1, 0, 2));
    assert_eq!(back.no_longer_denied_keys[0].denied, 2);
}
