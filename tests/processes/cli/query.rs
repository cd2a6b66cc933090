//! `query`: one real call of a real server.

use serde_json::Value;

use super::serve::{QUIET, Served};
use super::{Ended, run};

const ROTATE: [&str; 2] = ["tenant_type=startup", "endpoint_group=rotate_signing_keys"];
const IMPORT: [&str; 2] = ["tenant_type=startup", "endpoint_group=create_import_users_job"];

pub(crate) fn query(server: &Served, args: &[&[&str]]) -> Ended {
    let (address, http) = (server.grpc.to_string(), format!("http://{}", server.http));
    run(&[&["query", "--addr", &address, "--http", &http][..], &args.concat()].concat())
}

fn json(server: &Served, args: &[&[&str]]) -> (Option<i32>, Value) {
    let ended = query(server, &[&["--json"], &args.concat()]);
    (ended.code, serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{ended:?}")))
}

#[test]
fn an_admitted_call_ends_with_0_and_a_denied_one_with_1() {
    let server = Served::start(&QUIET, &[]);
    let call: [&[&str]; 2] = [&["tenant=acme"], &ROTATE];
    for left in (0..5).rev() {
        let ended = query(&server, &call);
        assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{ended:?}");
        assert!(ended.out.starts_with("OK\n"), "{ended:?}");
        let status = format!("  every subscription/rotate_signing_keys: 5 per day, {left} left, ");
        assert!(ended.out.contains(&status), "{ended:?}");
    }
    let ended = query(&server, &call);
    assert_eq!((ended.code, &*ended.err), (Some(1), ""), "{ended:?}");
    assert!(ended.out.starts_with("OVER_LIMIT\n"), "{ended:?}");
    assert!(ended.out.contains("\n  retry-after: "), "{ended:?}");
    assert!(ended.out.contains("\n  {\"statusCode\":429,"), "{ended:?}");
}

#[test]
fn hits_are_charged_looked_at_or_given_back() {
    let server = Served::start(&QUIET, &[]);
    let left = |args: &[&str]| {
        let (code, answer) = json(&server, &[args, &["tenant=acme"], &ROTATE]);
        (code, answer["statuses"][0]["limitRemaining"].as_u64().unwrap_or(0))
    };
    assert_eq!(left(&["--hits", "3"]), (Some(0), 2));
    assert_eq!(left(&["--hits", "0"]), (Some(0), 2));
    assert_eq!(left(&["--hits", "3"]), (Some(1), 2));
    assert_eq!(left(&["--hits", "2", "--release"]), (Some(0), 4));
    assert_eq!(left(&["--hits", "18446744073709551615"]).0, Some(1));
}

#[test]
fn json_is_the_whole_response() {
    let server = Served::start(&QUIET, &[]);
    let (code, admitted) = json(&server, &[&["tenant=acme"], &ROTATE]);
    assert_eq!((code, &admitted["overallCode"]), (Some(0), &"OK".into()));
    assert_eq!(admitted["statuses"].as_array().unwrap().len(), 1);
    let (code, denied) = json(&server, &[&["--hits", "6", "tenant=acme"], &ROTATE]);
    assert_eq!((code, &denied["overallCode"]), (Some(1), &"OVER_LIMIT".into()));
    assert_eq!(denied["dynamicMetadata"]["table"], "every subscription");
}

#[test]
fn a_lease_is_taken_told_and_released_once() {
    let server = Served::start(&QUIET, &[]);
    let take = || query(&server, &[&["tenant=acme"], &IMPORT]);
    let ended = take();
    let lease = ended.out.lines().find_map(|line| line.strip_prefix("  x-tollgate-lease: "));
    let lease = format!("lease={}", lease.unwrap_or_else(|| panic!("{ended:?}")));
    assert_eq!(take().code, Some(0));
    let ended = take();
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.contains("There are 2 active import users jobs"), "{ended:?}");
    let released = |args: &[&str]| json(&server, &[args]).1["dynamicMetadata"]["released"].clone();
    assert_eq!(released(&["--release", &lease]), 1.0);
    assert_eq!(released(&["--release", &lease]), 0.0);
    assert_eq!(take().code, Some(0));
    assert_eq!(take().code, Some(1));
}

#[test]
fn a_domain_without_a_policy_is_not_limited() {
    let server = Served::start(&QUIET, &[]);
    let ended = query(&server, &[&["--domain", "nobody's", "tenant=acme"]]);
    let out = "OK\n  no policy for domain `nobody's`; the server has: management-api\n  no enforced limit matched\n";
    assert_eq!((ended.code, &*ended.out), (Some(0), out));
}

const SHADOWS: &str = "domain: shop
tables:
  - { name: plan, key: [k], shadow: true, rows: { all: [{ per_day: 1 }] } }
  - { name: calls, key: [k], rows: { all: [{ per_day: 9 }] } }
  - { name: trial, select: t, key: [t], shadow: true, rows: { default: [{ per_day: 1 }] } }
  - { name: paid, select: t, key: [t], rows: { gold: [{ per_day: 3 }], default: unlimited } }
  - { name: new, key: [new], shadow: true, rows: { all: [{ per_day: 1 }] } }
bypass: [{ k: friend }]
";

fn serve(folder: &tempfile::TempDir, policies: &[(&str, &str)]) -> Served {
    for (name, text) in policies {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let config = ["--config", folder.path().to_str().unwrap()];
    Served::start(&[&QUIET[..], &config].concat(), &[])
}

#[test]
fn the_only_domain_is_taken_and_shadow_rows_and_bypasses_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(&folder, &[("a.yaml", SHADOWS)]);
    let told = |args: &[&str]| {
        let ended = query(&server, &[args]);
        assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{ended:?}");
        ended.out.lines().map(str::trim_start).map(str::to_owned).collect::<Vec<_>>()
    };
    let shadow = "plan/all is in shadow: it never denies";
    let first = told(&["k=1"]);
    assert_eq!(first[..2], ["OK", shadow], "{first:?}");
    assert!(first[2].starts_with("calls/all: 9 per day, 8 left"), "{first:?}");
    let second = told(&["k=1"]);
    let denies = "metadata shadow: plan/all (1 per day) would have denied".to_owned();
    assert!(second.contains(&denies), "{second:?}");
    let friend = told(&["k=friend"]);
    assert!(friend[1].starts_with("bypassed, since "), "{friend:?}");
    assert_eq!(friend[2..], ["no enforced limit matched"]);
    let only = "only shadow limits matched: trial/default, new/all";
    assert_eq!(told(&["t=1", "new=1"])[..2], ["OK", only]);
    let both = told(&["t=gold"]);
    assert_eq!(both[..2], ["OK", "trial/default is in shadow: it never denies"], "{both:?}");
    assert!(both[2].starts_with("paid/gold: 3 per day, 2 left"), "{both:?}");
    // Without the HTTP side, what the response has.
    let address = server.grpc.to_string();
    let ended = run(&["query", "--addr", &address, "--domain", "shop", "k=1"]);
    assert!(!ended.out.contains(shadow) && ended.out.contains(&denies), "{ended:?}");
    let ended = run(&["query", "--addr", &address, "--domain", "shop", "t=3"]);
    assert_eq!(ended.out, "OK\n  no enforced limit matched\n", "{ended:?}");
}

#[test]
fn without_a_domain_that_can_be_found_nothing_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let other = SHADOWS.replace("shop", "office");
    let server = serve(&folder, &[("a.yaml", SHADOWS), ("b.yaml", &other)]);
    let ended = query(&server, &[&["k=1"]]);
    assert_eq!((ended.code, &*ended.out), (Some(2), ""));
    assert_eq!(ended.err, "choose with --domain from: office, shop\n");
    let address = server.grpc.to_string();
    let ended = run(&["query", "--addr", &address, "k=1"]);
    assert_eq!((ended.code, &*ended.out), (Some(2), ""));
    assert!(ended.err.starts_with("choose the domain with --domain, or set --http "), "{ended:?}");
    let nowhere = ["query", "--addr", &address, "--http", "http://127.0.0.1:1"];
    let ended = run(&[&nowhere[..], &["k=1"]].concat());
    assert_eq!((ended.code, &*ended.out), (Some(2), ""));
    assert!(ended.err.starts_with("cannot reach http://127.0.0.1:1: "), "{ended:?}");
    assert!(ended.err.contains("choose the domain with --domain"), "{ended:?}");
    // The call is answered all the same.
    let ended = run(&[&nowhere[..], &["--domain", "shop", "k=1"]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.starts_with("OK\n  not explained: cannot reach "), "{ended:?}");
    assert!(ended.out.contains("calls/all: 9 per day, 8 left"), "{ended:?}");
}

#[test]
fn what_the_server_refuses_ends_with_2_and_its_words() {
    let server = Served::start(&QUIET, &[]);
    let ended = query(&server, &[&["--domain", "", "tenant=acme"]]);
    assert_eq!((ended.code, &*ended.out), (Some(2), ""));
    assert!(ended.err.ends_with(": rate limit domain must not be empty\n"), "{ended:?}");
    let ended = query(&server, &[&["--release", "lease=\u{1b}[31m"]]);
    assert_eq!((ended.code, &*ended.out), (Some(2), ""));
    assert!(ended.err.contains("a lease is the 32 hexadecimal digits"), "{ended:?}");
}

#[test]
fn a_server_that_is_not_there_ends_with_2_its_address_and_the_cause() {
    let ended = run(&["query", "--addr", "127.0.0.1:1", "--domain", "d", "tenant=acme"]);
    assert_eq!((ended.code, &*ended.out), (Some(2), ""));
    let err = "no server at http://127.0.0.1:1: Connection refused (os error 111); set --addr to the \
               address of `tollgate serve --grpc`\n";
    assert_eq!(ended.err, err);
}

#[test]
fn what_is_no_address_ends_with_2_and_how_one_is_written() {
    for address in ["", "a b", "\u{1b}[31m", "127.0.0.1:http:80"] {
        let ended = run(&["query", "--addr", address, "--domain", "d", "tenant=acme"]);
        assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{ended:?}");
        assert!(
            ended.err.ends_with(": write HOST:PORT, https://HOST:PORT or unix:PATH\n"),
            "{ended:?}"
        );
        assert!(is_plain(&ended.err), "{ended:?}");
    }
}

/// Control characters reach a terminal, or forge a line of a log.
fn is_plain(text: &str) -> bool {
    !text.contains(|c: char| c.is_control() && c != '\n')
}

#[test]
fn hostile_values_reach_neither_terminal_nor_log_raw() {
    let hostile =
        ["a\nFORGED line", "\u{1b}[31mred", "\u{9b}31mred", "a\r\nset-cookie: b", "\u{7f}\u{8}"];
    for log in ["text", "json"] {
        let args = [&QUIET[..5], &["--log-format", log, "--log-level", "trace"]].concat();
        let server = Served::start(&args, &[]);
        for value in hostile {
            let (key, tenant) = (format!("{value}=x"), format!("tenant={value}"));
            let (scope, lease) = (format!("tenant_type={value}"), format!("lease={value}"));
            for args in [
                &["--hits", "2", &tenant, &scope, &key][..],
                &["--hits", "200", &tenant, &scope, &key],
                &["--domain", value, &tenant],
                &["--release", &lease],
                &["--json", "--hits", "200", &tenant, &scope],
            ] {
                let ended = query(&server, &[args]);
                assert!(ended.code.is_some_and(|code| code < 3), "{ended:?}");
                for text in [&ended.out, &ended.err] {
                    assert!(is_plain(text) && !text.contains("\nFORGED"), "{args:?}: {text:?}");
                }
            }
        }
        let (code, lines) = server.stop();
        assert_eq!(code, Some(0));
        for line in lines {
            assert!(is_plain(&line) && !line.starts_with("FORGED"), "{line:?}");
            assert!(log == "text" || serde_json::from_str::<Value>(&line).is_ok(), "{line:?}");
        }
    }
}
