//! Each source of a value.

use super::{Line, Scratch, mapping, of, query, value};

#[test]
fn a_field_is_its_bytes_and_a_constant_is_the_same_for_all_lines() {
    let text = "descriptor: { tenant: $x_tenant, tenant_type: free, note: $$5 }";
    assert_eq!(of(text, &[("x_tenant", b"acme")]), "tenant=acme tenant_type=free note=$5");
    assert_eq!(of(text, &[("x_tenant", b"")]), "tenant= tenant_type=free note=$5");
    assert_eq!(of(text, &[("x_tenant", b"a\xff\n")]), "tenant=a\\xff\n tenant_type=free note=$5");
    assert_eq!(of(text, &[]), "tenant_type=free note=$5");
}

#[test]
fn of_several_fields_the_first_that_the_line_has_counts() {
    let text = "descriptor: { a: { from: [$x, $y], default: none } }";
    assert_eq!(of(text, &[("x", b"1"), ("y", b"2")]), "a=1");
    assert_eq!(of(text, &[("y", b"2")]), "a=2");
    assert_eq!(of(text, &[("x", b""), ("y", b"2")]), "a=");
    assert_eq!(of(text, &[]), "a=none");
}

#[test]
fn an_element_of_a_list_is_counted_from_either_end() {
    let list = b"203.0.113.9, 192.0.2.1 ,192.0.2.2";
    for (source, element) in [
        ("{ from: $f, hop: 0 }", "203.0.113.9"),
        ("{ from: $f, hop: 1 }", "192.0.2.1"),
        ("{ from: $f, hop: 3 }", "-"),
        ("{ from: $f, hop: -1 }", "192.0.2.2"),
        ("{ from: $f, hop: -3 }", "203.0.113.9"),
        ("{ from: $f, hop: -4 }", "-"),
        ("{ from: $f, hop: -256 }", "-"),
        ("{ from: $f, hop: 255 }", "-"),
        ("{ from: $f, trusted_hops: 0 }", "192.0.2.2"),
        ("{ from: $f, trusted_hops: 1 }", "192.0.2.1"),
        ("{ from: $f, trusted_hops: 3 }", "-"),
    ] {
        assert_eq!(value(source, list), element, "{source}");
    }
    // A single address is no list, which matters only to `trusted_hops`.
    assert_eq!(value("{ from: $f, trusted_hops: 2 }", b" [2001:db8::1]:443"), "[2001:db8::1]:443");
    assert_eq!(value("{ from: $f, hop: -1 }", b"192.0.2.1"), "192.0.2.1");
    assert_eq!(value("{ from: $f, hop: -3 }", b"192.0.2.1"), "-");
    // What a client writes before what proxies write changes nothing behind it.
    assert_eq!(value("{ from: $f, hop: -1 }", b"\xff,, x,192.0.2.1"), "192.0.2.1");
    assert_eq!(value("{ from: $f, hop: -2 }", b"a,,b"), "");
    assert_eq!(value("{ from: $f, hop: 0 }", b""), "");
}

#[test]
fn what_matches_is_the_first_group_that_took_part_or_all_of_it() {
    let board = r#"{ from: $f, match: "/api/dashboard/([^/?]+)" }"#;
    assert_eq!(value(board, b"/v2/api/dashboard/sales/rows?x=1"), "sales");
    assert_eq!(value(board, b"/api/dashboard/"), "-");
    assert_eq!(value(board, b""), "-");
    assert_eq!(value(board, b"/api/dashboard/a\xff\xc3\xa9/"), "a\\xffé", "of bytes");
    assert_eq!(value(r#"{ from: $f, match: "(?u)/([^/]+)" }"#, b"/a\xff/"), "a");
    assert_eq!(value(r#"{ from: $f, match: "^/[a-z]+" }"#, b"/api/x"), "/api");
    let either = r#"{ from: $f, match: "^/a/([0-9]+)|^/b/(?P<id>[0-9]+)" }"#;
    assert_eq!(value(either, b"/a/1"), "1");
    assert_eq!(value(either, b"/b/2"), "2");
    assert_eq!(value(r#"{ from: $f, match: "x(y)?" }"#, b"x"), "-", "no group took part");
    assert_eq!(value(r#"{ from: $f, match: "x(y*)" }"#, b"x"), "");
}

#[test]
fn a_table_is_looked_up_by_the_whole_value() {
    for (source, field, expected) in [
        ("{ from: $f, lookup: tiers.csv }", &b"acme"[..], "enterprise"),
        ("{ from: $f, lookup: tiers.csv }", b"a,b", "trial"),
        ("{ from: $f, lookup: tiers.csv }", "zoë".as_bytes(), "free"),
        ("{ from: $f, lookup: tiers.csv }", b"Acme", "-"),
        ("{ from: $f, lookup: tiers.csv }", b"", "-"),
        ("{ from: $f, lookup: tiers.csv }", b"acme\xff", "-"),
        ("{ from: $f, lookup: tiers.csv, default: free }", b"other", "free"),
        ("{ from: $f, lookup: tiers.tsv }", b"acme", "startup"),
        ("{ from: $f, lookup: tiers.yaml }", b"42", "trial"),
    ] {
        assert_eq!(value(source, field), expected, "{source} {field:?}");
    }
}

/// The credentials of a token with this payload.
fn token(payload: &str) -> Vec<u8> {
    use base64::Engine as _;
    let payload = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(payload);
    format!("Bearer e30.{payload}.c2ln").into_bytes()
}

#[test]
fn a_claim_is_a_text_a_whole_number_or_a_boolean() {
    let payload = r#"{"n":{"sub":"x"},"sub":"auth0|é\n\u0041","id":42,"neg":-1,"is":true,"f":1.5,
        "no":null,"aud":["a"],"https://x/tenant":"acme","two":"1","two":"2"}"#;
    for (claim, expected) in [
        ("sub", "auth0|é\nA"),
        ("id", "42"),
        ("neg", "-1"),
        ("is", "true"),
        ("f", "-"),
        ("no", "-"),
        ("aud", "-"),
        ("n", "-"),
        ("other", "-"),
        ("https://x/tenant", "acme"),
        ("[n, sub]", "x"),
        ("[n, sub, x]", "-"),
        ("[sub, x]", "-"),
        ("two", "2"),
    ] {
        let source = format!("{{ from: $f, jwt: {claim} }}");
        assert_eq!(value(&source, &token(payload)), expected, "{claim}");
    }
}

#[test]
fn a_token_is_bare_or_of_a_bearer_and_anything_else_is_none() {
    let bearer = String::from_utf8(token(r#"{"sub":"ann"}"#)).unwrap();
    let bare = bearer.strip_prefix("Bearer ").unwrap();
    let [head, payload, signature] = [0, 1, 2].map(|at| bare.split('.').nth(at).unwrap());
    let sub = |field: &str| value("{ from: $f, jwt: sub }", field.as_bytes());
    for good in [
        bearer.clone(),
        bare.to_owned(),
        format!("bEARER  {bare} "),
        format!("{head}.{payload}=").replace("==", "=") + "." + signature,
        format!("{head}.{payload}."),
    ] {
        assert_eq!(sub(&good), "ann", "{good}");
    }
    let of = |payload: &str| String::from_utf8(token(payload)).unwrap();
    for bad in [
        String::new(),
        "Bearer ".to_owned(),
        "Basic YTpi".to_owned(),
        format!("{head}.{payload}"),
        format!("{bare}.x"),
        format!("{head}.!!!.{signature}"),
        of(r#"{"sub":"ann""#),
        of("[]"),
        of("\"sub\""),
        of(""),
        of(&("[".repeat(10_000))),
    ] {
        assert_eq!(sub(&bad), "-", "{bad}");
    }
    assert_eq!(value("{ from: $f, jwt: sub }", b"a.\xff.b"), "-");
}

#[test]
fn several_claims_of_several_tokens_do_not_mix() {
    let text = "descriptor: { a: { from: $x, jwt: sub }, b: { from: $x, jwt: tenant }, c: { from: $y, jwt: sub }, \
                d: { from: $x, jwt: sub, match: '^.' } }";
    let mapping = mapping(text);
    let mut scratch = mapping.scratch();
    let (x, y) = (token(r#"{"sub":"ann","tenant":"acme"}"#), token(r#"{"sub":"bob"}"#));
    let read = |line: Line<'_>, scratch: &mut Scratch| query(&mapping, line, scratch).unwrap();
    assert_eq!(read(&[("x", &x), ("y", &y)], &mut scratch), "a=ann b=acme c=bob d=a");
    assert_eq!(read(&[("x", &y)], &mut scratch), "a=bob d=b", "nothing is left of the line before");
    assert_eq!(read(&[("y", &x)], &mut scratch), "c=ann");
}

#[test]
fn a_value_goes_through_claim_element_match_and_table_in_this_order() {
    let source =
        r#"{ from: $f, jwt: list, hop: 1, match: "t:(.*)", lookup: tiers.csv, default: free }"#;
    let via = |list: &str| value(source, &token(&format!(r#"{{"list":"{list}"}}"#)));
    assert_eq!(via("x, t:acme"), "enterprise");
    assert_eq!([via("t:acme"), via("x, acme"), via("x, t:other")], ["free"; 3]);
}
