//! What is counted of lines.

use super::{mapping, query};
use crate::mapping::{Lacks, Scratch, Unseen};

#[test]
fn lines_are_counted_by_what_they_lack() {
    let mapping = mapping(
        "descriptor: { a: $x, t: { from: $y, match: '^[a-z]+$', lookup: tiers.csv, default: free }, c: d }",
    );
    let [mut one, mut other] = [mapping.scratch(), mapping.scratch()];
    for line in [&[("x", &b"1"[..]), ("y", b"acme")][..], &[("y", b"nobody")], &[("y", b"A")]] {
        query(&mapping, line, &mut one).unwrap();
    }
    query(&mapping, &[], &mut other).unwrap();
    let mut counts = one.counts().clone();
    counts.add(other.counts());
    assert_eq!((counts.lines(), counts.fields()), (4, &[1, 3][..]));
    let told: Vec<_> = mapping.entry_counts(&counts).iter().map(|of| (of.key, of.lacks)).collect();
    assert_eq!(
        told,
        [
            ("a", Lacks { absent: 3, unfit: 0, unlisted: 0 }),
            ("t", Lacks { absent: 1, unfit: 1, unlisted: 1 })
        ]
    );
}

#[test]
fn fields_that_occur_in_no_line_are_told_unless_they_are_optional() {
    let mapping = mapping(
        "{ descriptors: [{ entries: { a: $x, b: { from: [$y, $z] }, c: { from: $o, optional: true }, d: e, \
         t: { from: $x_tenant, default: free } }, hits: $n }, { entries: { a: $x } }], skip: { $s: '1' } }",
    );
    let mut scratch = mapping.scratch();
    assert_eq!(mapping.unseen(scratch.counts()), [], "there was no line");
    query(&mapping, &[], &mut scratch).unwrap_err();
    let keys = |scratch: &Scratch| {
        let unseen = mapping.unseen(scratch.counts());
        unseen.iter().map(|of| of.key.unwrap_or("hits")).collect::<Vec<_>>()
    };
    assert_eq!(keys(&scratch), ["a", "b", "t", "hits"]);
    query(&mapping, &[("x", b"1"), ("z", b""), ("n", b"1")], &mut scratch).unwrap();
    let left = Unseen { key: Some("t"), fields: vec!["x_tenant"] };
    assert_eq!(mapping.unseen(scratch.counts()), [left]);
}
