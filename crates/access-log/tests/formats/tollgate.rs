//! tollgate's log of denied calls.

use access_log::Format;

use super::{SECOND, error, fields, only, read};

const TEXT: &str = r#"2024-05-17T10:05:03.000250Z  INFO denied domain="management-api" table="tenant" row="free" values="tenant=acme path=/a b" wait="90ms" left_out=2"#;

const WANTED: [&str; 8] =
    ["domain", "table", "row", "tenant", "path", "wait", "left_out", "shadow"];

const VALUES: [&str; 8] = ["management-api", "tenant", "free", "acme", "/a b", "90ms", "2", "-"];

#[test]
fn a_denial_as_text() {
    let told = only(Format::Tollgate, &WANTED, &[TEXT]);
    assert_eq!((told.start, told.is_whole_second), (SECOND + 250_000, false));
    assert_eq!(told.duration, None);
    assert_eq!(told.values(), VALUES);
}

#[test]
fn a_denial_as_json() {
    let line = r#"{"timestamp":"2024-05-17T10:05:03.000250Z","level":"INFO","fields":{"message":"denied","domain":"management-api","table":"tenant","row":"free","values":"tenant=acme path=/a b","wait":"90ms","left_out":2},"target":"tollgate::observe::denied_log"}"#;
    let told = only(Format::Tollgate, &WANTED, &[line]);
    assert_eq!(told.start, SECOND + 250_000);
    assert_eq!(told.values(), VALUES);
    let line = r#"{"@message":"denied","@timestamp":"2024-05-17T10:05:03.000250Z","domain":"management-api","left_out":2,"level":"info","row":"free","table":"tenant","values":"tenant=acme path=/a b","wait":"90ms"}"#;
    let told = only(Format::Tollgate, &WANTED, &[line]);
    assert_eq!(told.start, SECOND + 250_000);
    assert_eq!(told.values(), VALUES);
}

#[test]
fn both_layers_of_escapes_are_undone() {
    // The log escapes a value for people, and text puts the result into quotes, which escapes it once more.
    let text = TEXT.replace("acme", r#"a\\\"b\\\\c\\n\\u{1b}\\xff"#);
    let told = only(Format::Tollgate, &["tenant", "path"], &[&text]);
    assert_eq!(told.values(), ["a\"b\\c\n\u{1b}\u{fffd}", "/a b"]);
}

#[test]
fn other_lines_of_the_log_are_left_out() {
    let lines = [
        "2024-05-17T10:05:02.000000Z  INFO listening on 127.0.0.1:8081",
        r#"{"timestamp":"2024-05-17T10:05:02Z","level":"INFO","fields":{"message":"listening"},"target":"tollgate"}"#,
        r#"2024-05-17T10:05:03Z  INFO would be denied domain="d" table="t" row="r" values="k=v" wait="forever" left_out=0 shadow=true"#,
        r#"2024-05-17T10:05:04Z  INFO denied, since the shared store is unavailable domain="d" left_out=0"#,
    ];
    let told = read(Format::Tollgate, &["k", "shadow", "domain"], &lines);
    assert_eq!(
        told.iter().map(super::Told::values).collect::<Vec<_>>(),
        [["v", "true", "d"], ["-", "-", "d"]]
    );
}

#[test]
fn a_value_with_an_equals_sign_is_one_value() {
    let line = TEXT.replace("tenant=acme path=/a b", "tenant=acme path=/a?b=c user_agent=x (y) z");
    let told = only(Format::Tollgate, &["tenant", "path", "user_agent"], &[&line]);
    assert_eq!(told.values(), ["acme", "/a?b=c", "x (y) z"]);
}

#[test]
fn fields_are_those_of_the_bucket_and_its_entries() {
    let expected = [
        "domain=management-api",
        "table=tenant",
        "row=free",
        "wait=90ms",
        "left_out=2",
        "tenant=acme",
        "path=/a b",
    ];
    assert_eq!(fields(Format::Tollgate, &[TEXT]), expected);
}

#[test]
fn what_is_no_line_of_the_log_is_refused() {
    assert_eq!(
        error(Format::Tollgate, &["GET / HTTP/1.1"]),
        "byte 1: expected a time, a level and a message, or a JSON object"
    );
    let cut = TEXT.split_at(TEXT.find("acme").unwrap()).0;
    assert!(error(Format::Tollgate, &[cut]).contains("a name, `=`, and a value"), "{cut}");
}
