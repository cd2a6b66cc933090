//! The ways in over HTTP: `/json`, `/healthcheck` and `/rlconfig`.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};
use tollgate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;

use super::script::{self, Moved};
use super::sides::{Deployment, Service, Sides};
use super::windows;

/// The status and the body of an answer.
pub(super) fn curl(address: SocketAddr, path: &str, arguments: &[&str]) -> (u16, String) {
    let url = format!("http://{address}{path}");
    let output = Command::new("curl")
        .args(["-s", "--max-time", "10", "-w", "\n%{http_code}", &url])
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

/// What all say, which is the same.
fn all(sides: &mut Sides, say: impl Fn(&Service) -> (u16, Value)) -> (u16, Value) {
    let said: Vec<_> = sides.services().map(|service| (service.name, say(service))).collect();
    let (first, one) = &said[0];
    for (name, other) in &said[1..] {
        assert_eq!(other, one, "{name} and {first}");
    }
    one.clone()
}

const CONFIG: &str = "domain: d
descriptors:
  - { key: k, rate_limit: { unit: year, requests_per_unit: 2, name: two } }
  - { key: free, rate_limit: { unlimited: true } }
";

fn deployment(config: &str) -> Deployment {
    Deployment::of(&[("a.yaml", config)], &[("LIMIT_RESPONSE_HEADERS_ENABLED", "true")])
}

#[test]
#[ignore = "needs the reference, Redis and curl; bash tests/run.sh"]
fn json() {
    let mut sides = Sides::all(&deployment(CONFIG));
    script::attempt("json", Unit::Minute, |attempt| {
        let minute = windows::now() / 60;
        let entry =
            |key: &str| json!({ "entries": [{ "key": key, "value": format!("v{attempt}") }] });
        let mut ask = |asked: &Value| {
            let asked = asked.to_string();
            all(&mut sides, |service| {
                let (status, body) = curl(service.http, "/json", &["-d", &asked]);
                if status == 400 {
                    return (status, Value::Null);
                }
                let mut answer: Value = serde_json::from_str(&body).unwrap_or_else(|error| {
                    panic!("{}: {error}: {body}", service.name);
                });
                // A second may have passed between two services.
                for status in answer["statuses"].as_array_mut().unwrap() {
                    if let Some(reset) = status.get_mut("durationUntilReset") {
                        let seconds = reset.as_str().unwrap().strip_suffix('s').unwrap();
                        assert!(seconds.parse::<u64>().is_ok(), "{reset}");
                        *reset = "reset".into();
                    }
                }
                if let Some(reset) = answer.pointer_mut("/responseHeadersToAdd/2/value") {
                    *reset = "reset".into();
                }
                (status, answer)
            })
        };
        let (status, answer) = ask(&json!({ "domain": "d", "descriptors": [entry("k")] }));
        let header = |key: &str, value: &str| json!({ "key": key, "value": value });
        let limit = json!({ "requestsPerUnit": 2, "unit": "YEAR", "name": "two" });
        let expected = json!({
            "overallCode": "OK",
            "statuses": [{
                "code": "OK",
                "currentLimit": limit,
                "limitRemaining": 1,
                "durationUntilReset": "reset",
            }],
            "responseHeadersToAdd": [
                header("RateLimit-Limit", "2"),
                header("RateLimit-Remaining", "1"),
                header("RateLimit-Reset", "reset"),
            ],
        });
        assert_eq!((status, answer), (200, expected));
        let others = [entry("free"), entry("unmatched")];
        let (status, answer) = ask(&json!({ "domain": "d", "descriptors": others }));
        let expected = json!({
            "overallCode": "OK",
            "statuses": [{ "code": "OK", "limitRemaining": u32::MAX }, { "code": "OK" }],
        });
        assert_eq!((status, answer), (200, expected));
        // Both spellings of a name, and numbers as texts.
        let many = json!({ "domain": "d", "hits_addend": "5", "descriptors": [entry("k")] });
        let (status, answer) = ask(&many);
        assert_eq!((status, &answer["overallCode"]), (429, &json!("OVER_LIMIT")));
        assert_eq!(answer["statuses"][0].get("limitRemaining"), None, "0 is left out");
        for brought in [json!("HOUR"), json!(3)] {
            let mut asked = entry("brought");
            asked["limit"] = json!({ "requestsPerUnit": 9, "unit": brought });
            asked["hitsAddend"] = json!("0");
            let (status, answer) =
                ask(&json!({ "domain": "d", "hitsAddend": 1, "descriptors": [asked] }));
            assert_eq!((status, &answer["statuses"][0]["limitRemaining"]), (200, &json!(9)));
        }
        for wrong in [
            json!({}),
            json!([]),
            json!({ "domain": "", "descriptors": [entry("k")] }),
            json!({ "domain": "d" }),
            json!({ "domain": "d", "descriptors": [entry("k")], "unknown": 1 }),
            json!({ "domain": 1, "descriptors": [entry("k")] }),
            json!({ "domain": "d", "descriptors": [entry("k")], "hitsAddend": -1 }),
            json!({ "domain": "d", "descriptors": [entry("k")], "hitsAddend": 4_294_967_296_u64 }),
        ] {
            assert_eq!(ask(&wrong).0, 400, "{wrong}");
        }
        if windows::now() / 60 == minute { Ok(()) } else { Err(Moved) }
    });
}

#[test]
#[ignore = "needs the reference, Redis and curl; bash tests/run.sh"]
fn health_and_what_is_not_there() {
    let mut sides = Sides::all(&deployment(CONFIG));
    for (path, arguments, status, body) in [
        ("/healthcheck", &[][..], 200, "OK"),
        ("/healthcheck", &["-X", "POST", "-d", "x"], 200, "OK"),
        ("/healthcheck", &["-X", "DELETE"], 200, "OK"),
        ("/healthcheck?x=y", &[], 200, "OK"),
        ("/", &[], 404, ""),
        ("/healthcheck/", &[], 404, ""),
        ("/other", &[], 404, ""),
        ("/json", &[], 400, ""),
        ("/json", &["-X", "PUT", "-d", "{"], 400, ""),
    ] {
        let said = all(&mut sides, |service| {
            let (status, body) = curl(service.http, path, arguments);
            // What an error says is for people.
            (status, if status == 200 { body.into() } else { "".into() })
        });
        assert_eq!(said, (status, body.into()), "{path} {arguments:?}");
    }
}

#[test]
#[ignore = "needs the reference, Redis and curl; bash tests/run.sh"]
fn the_configuration_in_force() {
    let config = "domain: d
descriptors:
  - key: a
    value: x
    rate_limit: { unit: minute, requests_per_unit: 3, name: n }
    descriptors:
      - { key: b, value: y*, shadow_mode: true, rate_limit: { unit: WEEK, requests_per_unit: 4294967295 } }
      - { key: b, descriptors: [{ key: c, quota_mode: true, detailed_metric: true, rate_limit: { unit: day } }] }
  - { key: free, rate_limit: { unlimited: true } }
  - { key: none }
";
    let mut sides = Sides::all(&deployment(config));
    let said = all(&mut sides, |service| {
        let (status, body) = curl(service.debug, "/rlconfig", &[]);
        let mut lines: Vec<_> = body.lines().collect();
        lines.sort_unstable();
        (status, lines.into())
    });
    let expected = json!([
        "d.a_x.b.c: unit=DAY requests_per_unit=0, shadow_mode: false, quota_mode: true",
        "d.a_x.b_y*: unit=WEEK requests_per_unit=4294967295, shadow_mode: true, quota_mode: false",
        "d.a_x: unit=MINUTE requests_per_unit=3, shadow_mode: false, quota_mode: false",
        "d.free: unit=UNKNOWN requests_per_unit=0, shadow_mode: false, quota_mode: false",
    ]);
    assert_eq!(said, (200, expected));
}
