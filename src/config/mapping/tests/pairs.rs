//! Entries from the command line.

use super::{Line, compile_with, from_pairs, owned, query};

#[test]
fn pairs_replace_entries_of_a_file_or_are_added_to_every_descriptor() {
    let text = "descriptors: [{ entries: { a: $x, b: $y } }, { entries: { c: $z } }]";
    let mapping = compile_with(text, &[["a", "1"], ["c", "$x"], ["d", "$$2"]]).unwrap();
    assert_eq!(mapping.fields(), ["y", "x"]);
    let told = query(&mapping, &[("x", b"X"), ("y", b"Y"), ("z", b"Z")], &mut mapping.scratch());
    assert_eq!(told.unwrap(), "a=1 b=Y c=X d=$2 | c=X a=1 d=$2");
}

#[test]
fn without_a_file_pairs_are_added_to_the_default_mapping() {
    let mapping = from_pairs(&owned(&[["tenant", "$x_tenant"], ["tenant_type", "free"]])).unwrap();
    assert_eq!(
        mapping.fields(),
        ["method", "path", "remote_address", "x_forwarded_for", "x_tenant"].map(str::to_owned)
    );
    let line: Line<'_> = &[
        ("method", b"GET"),
        ("path", b"/a?b"),
        ("x_forwarded_for", b"10.0.0.1, 192.0.2.1"),
        ("x_tenant", b"acme"),
    ];
    let told = query(&mapping, line, &mut mapping.scratch()).unwrap();
    assert_eq!(told, "method=GET path=/a?b remote_address=192.0.2.1 tenant=acme tenant_type=free");
}

#[test]
fn what_is_wrong_with_a_pair_is_told_with_the_pair() {
    let told = |pairs: &[[&str; 2]]| from_pairs(&owned(pairs)).unwrap_err().to_string();
    assert_eq!(
        told(&[["tenant", "$"], ["", "x"], ["$a", "b"], ["c[99]", "\u{1b}"]]),
        "tenant=$: `$` names no field; write its name behind it, as in `$path`, or `$$` for a dollar\n\
         =x: an entry needs a key; write it as KEY=$FIELD or KEY=VALUE\n\
         $a=b: `$` begins the name of a field; write the key of an entry on the left, and the field on the right\n\
         c[99]=\\u{1b}: `c[99]` names no entry: the number in brackets is from 0 to 15, without a sign or a zero before \
         it, as in `generic_key[1]` for the second entry with the key `generic_key`"
    );
    assert_eq!(
        told(&[["a[1]", "x"]]),
        "the default mapping: a[1]: `a[1]` stands behind 0 entries with its key; write them in the order of their \
         numbers, from 0"
    );
}
