//! `jwt.yaml`: a signed token names the caller, and nothing else does.

use std::process::Command;

use serde_json::{Value, json};

use super::http::Upstream;
use super::lab::{Lab, Sample, assert_admitted, assert_denied, unix_time};

/// Five a day.
const ROTATE: &str = "POST /api/v2/keys/signing/rotate";

/// Runs Python as a person would, but leaves no bytecode in `envoy/`.
fn python(arguments: &[&str]) -> String {
    let python = std::env::var_os("TOLLGATE_PYTHON").unwrap_or_else(|| "python3".into());
    let ran = Command::new(&python).arg("-B").args(arguments).output();
    let ran = ran.unwrap_or_else(|error| panic!("{}: {error}", python.display()));
    assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap().trim().to_owned()
}

/// The value of an `authorization` header, as the README makes its token.
pub fn bearer(arguments: &[&str]) -> String {
    format!("Bearer {}", python(&[&["envoy/mint_token.py"], arguments].concat()))
}

/// One with claims in place of those that every good token has; null leaves one out.
fn signed(claims: &Value) -> String {
    let mut all = json!({
        "iss": "tollgate-sample",
        "aud": "management-api",
        "exp": unix_time() + 3600,
        "sub": "u1",
    });
    for (name, value) in claims.as_object().unwrap() {
        all[name] = value.clone();
    }
    all.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let script = "import json, sys; sys.path.insert(0, 'envoy'); import mint_token; \
        print(mint_token.mint(json.loads(sys.argv[1])))";
    format!("Bearer {}", python(&["-c", script, &all.to_string()]))
}

#[test]
#[ignore = "needs Envoy and Python; bash tests/run.sh"]
fn the_caller_is_whom_the_token_names_whatever_the_headers_say() {
    let upstream = Upstream::listen();
    let sample = Sample::tokens().patient().upstream(upstream.address);
    let lab = Lab::start(sample);
    let mut client = lab.client();
    let token = bearer(&["--tenant", "acme", "--type", "startup", "--user", "u1"]);
    for used in 1..=6 {
        let other = format!("forged-{used}");
        let headers = [
            ("authorization", &*token),
            ("x-tenant", &other),
            ("x-tenant-type", "enterprise_production"),
            ("x-user", &other),
            ("x-scope", "forged"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-tollgate-lease", "forged"),
            ("x-ratelimit-limit", "forged"),
        ];
        let answer = client.call(ROTATE, &headers);
        if used == 6 {
            assert!(assert_denied(&answer).contains("5 per day"));
            continue;
        }
        assert_admitted(&answer);
        assert_eq!(answer.number("x-ratelimit-remaining"), 5 - used);
        let sent = upstream.request();
        assert_eq!((sent.header("x-tenant"), sent.header("x-user")), (Some("acme"), Some("u1")));
        assert!(!format!("{sent:?}").contains("forged"), "{sent:?}");
    }
    assert!(upstream.has_seen_all(), "a denied call must not reach it");
}

#[test]
#[ignore = "needs Envoy and Python; bash tests/run.sh"]
fn where_no_token_names_the_caller_the_headers_do_not_either() {
    let upstream = Upstream::listen();
    let sample = Sample::tokens().patient().upstream(upstream.address);
    let lab = Lab::start(sample);
    let nobodys = signed(&json!({ "sub": null }));
    for (endpoint, token) in [("POST /oidc/register", ""), (ROTATE, &nobodys)] {
        let headers = [
            ("authorization", token),
            ("x-tenant", "forged"),
            ("x-tenant-type", "forged"),
            ("x-user", "forged"),
            ("x-scope", "forged"),
        ];
        assert_admitted(&lab.client().call(endpoint, &headers));
        let sent = upstream.request();
        assert!(!format!("{sent:?}").contains("forged"), "{sent:?}");
    }
}

#[test]
#[ignore = "needs Envoy and Python; bash tests/run.sh"]
fn the_type_in_the_token_picks_the_row() {
    let lab = Lab::start(Sample::tokens().patient());
    for (kind, row, limit) in [
        ("trial", "tenant/trial admitted", 10),
        ("startup", "tenant/startup admitted", 50),
        ("enterprise_non_production", "tenant/enterprise_non_production admitted", 2),
        ("unheard-of", "tenant/default admitted", 10),
    ] {
        let token = bearer(&["--tenant", kind, "--type", kind]);
        let call = || lab.client().call("GET /api/v2/roles", &[("authorization", &token)]);
        let (answer, rows) = lab.rows(call);
        assert_admitted(&answer);
        assert_eq!(answer.number("x-ratelimit-limit"), limit);
        assert!(rows.iter().any(|counted| counted == row), "{kind}: {rows:?}");
    }
}

#[test]
#[ignore = "needs Envoy and Python; bash tests/run.sh"]
fn a_token_that_proves_nothing_is_refused_and_not_counted() {
    let lab = Lab::start(Sample::tokens().patient());
    let good = bearer(&["--tenant", "acme", "--type", "startup"]);
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("{good}")
    };
    let other = bearer(&["--tenant", "globex", "--type", "startup"]);
    let foreign = other.split('.').nth(1).unwrap();
    // {"alg":"none","typ":"JWT"}
    let none = "Bearer eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    let refused = [
        ("no token", String::new()),
        ("no scheme", payload.to_owned()),
        ("expired", bearer(&["--tenant", "acme", "--ttl=-3600"])),
        ("another's claims", format!("{header}.{foreign}.{signature}")),
        ("no signature", format!("{header}.{payload}.")),
        ("algorithm none", format!("{none}.{payload}.")),
        ("algorithm none, signed", format!("{none}.{payload}.{signature}")),
        ("for another audience", signed(&json!({ "aud": "billing-api" }))),
        ("of another issuer", signed(&json!({ "iss": "someone" }))),
        ("without an end", signed(&json!({ "exp": null }))),
    ];
    let (_, rows) = lab.rows(|| {
        for (what, token) in &refused {
            let answer = lab.client().call(ROTATE, &[("authorization", token)]);
            let status = if *what == "for another audience" { 403 } else { 401 };
            assert_eq!(answer.status(), status, "{what}: {answer:?}");
        }
        let token = good.trim_start_matches("Bearer ");
        let in_query = format!("{ROTATE}?access_token={token}");
        assert_eq!(lab.client().call(&in_query, &[]).status(), 401, "in the query string");
    });
    assert_eq!(rows, Vec::<String>::new());
    assert_admitted(&lab.client().call(ROTATE, &[("authorization", &good)]));
}

#[test]
#[ignore = "needs Envoy and Python; bash tests/run.sh"]
fn tokens_that_name_no_tenant_share_one_budget() {
    let lab = Lab::start(Sample::tokens().patient());
    let mut client = lab.client();
    let tokens =
        [json!({}), json!({ "tenant": "" }), json!({ "tenant": 7 }), json!({ "tenant": ["acme"] })];
    let tokens = tokens.map(|claims| signed(&claims));
    for used in 1..=5_usize {
        let answer = client.call(ROTATE, &[("authorization", &tokens[used % tokens.len()])]);
        assert_admitted(&answer);
        assert_eq!(answer.number("x-ratelimit-remaining"), 5 - used as u64);
    }
    for token in &tokens {
        assert_denied(&client.call(ROTATE, &[("authorization", token)]));
    }
    let named = bearer(&["--tenant", "acme"]);
    assert_admitted(&client.call(ROTATE, &[("authorization", &named)]));
}

#[test]
#[ignore = "needs Envoy and Python; bash tests/run.sh"]
fn a_user_token_has_ten_calls_a_minute_for_its_user() {
    let lab = Lab::start(Sample::tokens().patient());
    let mut client = lab.client();
    let token = |user: &str| {
        let scope = ["--scope", "current_user"];
        bearer(&[&["--tenant", "acme", "--type", "startup", "--user", user], &scope[..]].concat())
    };
    let (first, second) = (token("u1"), token("u2"));
    let (admitted, denial) = client.drain("GET /api/v2/users", &[("authorization", &first)], 20);
    assert!((10..=14).contains(&admitted), "{admitted}");
    assert!(assert_denied(&denial).contains("10 per minute"));
    assert_admitted(&client.call("GET /api/v2/users", &[("authorization", &second)]));
    let plain = bearer(&["--tenant", "acme", "--type", "startup", "--user", "u1"]);
    assert_admitted(&client.call("GET /api/v2/users", &[("authorization", &plain)]));
}

#[test]
#[ignore = "needs Envoy and Python; bash tests/run.sh"]
fn registration_needs_no_token_and_is_limited_by_the_peers_address() {
    let lab = Lab::start(Sample::tokens().patient());
    let mut client = lab.client();
    let mut register = |caller: u32| {
        let name = format!("t{caller}");
        let address = format!("192.0.2.{caller}");
        let headers = [("x-tenant", &*name), ("x-forwarded-for", &address)];
        client.call("POST /oidc/register", &headers)
    };
    let (denial, rows) = lab.rows(|| {
        let mut answers = (0..100).map(&mut register).skip_while(|answer| answer.status() == 200);
        answers.next().expect("a denial, whatever the headers say")
    });
    assert!(assert_denied(&denial).contains("5 per second"));
    let decided = [
        "dynamic registration/all admitted",
        "dynamic registration/all over_limit",
        "tenant/self_service admitted",
    ];
    assert_eq!(rows, decided);
    assert_eq!(lab.client().call("GET /oidc/register", &[]).status(), 401);
}

#[test]
#[ignore = "needs Envoy and Python; bash tests/run.sh"]
fn import_jobs_are_two_at_a_time_behind_a_token_too() {
    let lab = Lab::start(Sample::tokens().patient());
    let mut client = lab.client();
    let token = bearer(&["--tenant", "acme", "--type", "startup"]);
    let headers = [("authorization", &*token), ("x-tollgate-lease", "forged")];
    for _ in 0..2 {
        let answer = client.call("POST /api/v2/jobs/users-imports", &headers);
        assert_admitted(&answer);
        assert_eq!(answer.json()["lease"].as_str().unwrap().len(), 32);
    }
    let denial = client.call("POST /api/v2/jobs/users-imports", &headers);
    assert!(assert_denied(&denial).starts_with("There are 2 active import users jobs"));
}
