//! `/json`, `/healthcheck`, the port for debugging and that of the metrics.

use super::*;
use crate::cli::run;

#[test]
fn json_answers_200_within_a_limit_and_429_beyond_with_the_response() {
    let folder = Folder::new(LIMITS);
    let started = Started::new(&folder, &[]);
    let (status, answer) = started.json("1");
    assert_eq!((status, &answer["overallCode"]), (200, &"OK".into()), "{answer}");
    assert_eq!(answer["statuses"][0]["currentLimit"]["requestsPerUnit"], 2, "{answer}");
    assert_eq!(answer["statuses"][0]["limitRemaining"], 1, "{answer}");
    assert_eq!(started.json("1").0, 200);
    let (status, answer) = started.json("1");
    assert_eq!((status, &answer["overallCode"]), (429, &"OVER_LIMIT".into()), "{answer}");
    assert_eq!(started.json("2").0, 200);
}

#[test]
fn json_takes_any_method_and_both_spellings() {
    let folder = Folder::new(LIMITS);
    let started = Started::new(&folder, &[]);
    let entries = r#""entries":[{"key":"k","value":"1"}]"#;
    for (method, hits) in [("GET", "hitsAddend"), ("PUT", "hits_addend"), ("DELETE", "hitsAddend")]
    {
        let body = format!(r#"{{"domain":"d","descriptors":[{{{entries},"{hits}":"1"}}]}}"#);
        let (status, text) = started.ask("http", &format!("{method} /json"), &body);
        let expected = if method == "DELETE" { 429 } else { 200 };
        assert_eq!(status, expected, "{method}: {text}");
    }
    let unknown = r#"{"domain":"other","descriptors":[{"entries":[{"key":"k"}]}]}"#;
    let (status, text) = started.ask("http", "POST /json", unknown);
    assert_eq!((status, &*text), (200, r#"{"overallCode":"OK","statuses":[{"code":"OK"}]}"#));
}

#[test]
fn json_answers_400_to_whatever_is_not_decided() {
    let folder = Folder::new(LIMITS);
    let started = Started::new(&folder, &[]);
    let of = |descriptor: &str| format!(r#"{{"domain":"d","descriptors":[{descriptor}]}}"#);
    for body in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"domain":"d"}"#,
        r#"{"domain":"d","descriptors":[]}"#,
        r#"{"domain":"","descriptors":[{}]}"#,
        r#"{"domain":"d","descriptors":[{}],"more":1}"#,
        &of(r#"{"entries":[{"key":"k","value":"1"}],"hitsAddend":1,"isNegativeHits":true}"#),
    ] {
        let (status, text) = started.ask("http", "POST /json", body);
        assert_eq!(status, 400, "{body}: {text}");
        assert!(text.starts_with("Bad Request: "), "{body}: {text}");
    }
    let large = of(&format!(r#"{{"entries":[{{"key":"k","value":"{}"}}]}}"#, "a".repeat(70_000)));
    assert_eq!(started.ask("http", "POST /json", &large).0, 413);
}

#[test]
fn no_page_charges_a_limit_through_its_visitors_browser() {
    let folder = Folder::new(LIMITS);
    let started = Started::new(&folder, &[]);
    let body = r#"{"domain":"d","descriptors":[{"entries":[{"key":"k","value":"1"}]}]}"#;
    for header in ["origin: https://page.example", "sec-fetch-site: cross-site"] {
        let (status, _) = started.ask("http", &format!("POST /json\n{header}"), body);
        assert_eq!(status, 403, "{header}");
    }
    assert_eq!(started.json("1").1["statuses"][0]["limitRemaining"], 1);
}

#[test]
fn the_command_health_asks_it_as_it_asks_other_servers() {
    let health = |started: &Started| {
        let address = format!("http://{}", started.address("http"));
        let ended = run(&["health", "--addr", &address]);
        (ended.code, ended.out)
    };
    let needs = [("HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED", "true")];
    let started = Started::new(&Folder::new(LIMITS), &needs);
    eventually("healthy", || started.is_healthy());
    assert_eq!(health(&started), (Some(0), "OK\n".to_owned()));
    let started = Started::new(&Folder::new("domain: [\n"), &needs);
    let unhealthy = "status 500 Internal Server Error\n".to_owned();
    assert_eq!(health(&started), (Some(1), unhealthy));
}

#[test]
fn healthcheck_takes_any_method_and_all_other_paths_are_not_found() {
    let folder = Folder::new(LIMITS);
    let started = Started::new(&folder, &[]);
    eventually("healthy", || started.is_healthy());
    assert_eq!(started.ask("http", "POST /healthcheck", "x"), (200, "OK".to_owned()));
    for path in ["/", "/readyz", "/metrics", "/json/", "/healthcheck/", "/rlconfig", "/config"] {
        assert_eq!(started.get("http", path), (404, "404 page not found\n".to_owned()), "{path}");
    }
}

#[test]
fn the_debug_port_lists_its_paths_and_the_limits() {
    let folder = Folder::new(LIMITS);
    let started = Started::new(&folder, &[]);
    let paths = "/rlconfig: print out the currently loaded configuration for debugging\n\
                 /stats: print out stats\n";
    for path in ["/", "/debug/pprof/", "/json"] {
        assert_eq!(started.get("debug", path), (200, paths.to_owned()), "{path}");
    }
    let (status, limits) = started.get("debug", "/rlconfig");
    assert_eq!(status, 200);
    assert!(limits.starts_with("d.k: unit="), "{limits}");
    assert!(
        limits.contains(" requests_per_unit=2, shadow_mode: false, quota_mode: false\n"),
        "{limits}"
    );
    let (status, stats) = started.get("debug", "/stats");
    assert!(status == 200 && stats.contains("tollgate_"), "{stats}");
}

#[test]
fn it_starts_without_the_debug_port_if_that_is_taken() {
    let folder = Folder::new(LIMITS);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let started = Started::new(&folder, &[("DEBUG_PORT", &port)]);
    assert_eq!(started.log.last().unwrap()["debug"], Value::Null);
    let told =
        "the port for debugging is not served; choose another with DEBUG_HOST and DEBUG_PORT";
    assert!(started.log.iter().any(|line| line["@message"] == told), "{:?}", started.log);
    assert_eq!(started.json("1").0, 200);
    let ended = refused(&folder, &[("PORT", &port)]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("choose another with HOST and PORT"), "{ended:?}");
}

#[test]
fn the_metrics_have_a_port_and_a_path_if_prometheus_is_used() {
    let folder = Folder::new(LIMITS);
    let none = Started::new(&folder, &[]);
    assert_eq!(none.log.last().unwrap()["metrics"], Value::Null);
    let set = [
        ("USE_PROMETHEUS", "true"),
        ("PROMETHEUS_ADDR", "127.0.0.1:0"),
        ("PROMETHEUS_PATH", "/stats/all"),
        ("PROMETHEUS_MAPPER_YAML", "/etc/statsd-exporter/conf.yaml"),
    ];
    let started = Started::new(&folder, &set);
    let (status, metrics) = started.get("metrics", "/stats/all");
    assert!(status == 200 && metrics.contains("# TYPE tollgate_"), "{status}: {metrics}");
    assert_eq!(started.get("metrics", "/metrics").0, 404);
}

/// tollgate's own side is there if it is asked for, with its own protections.
#[test]
fn the_own_http_side_is_served_at_its_own_address() {
    let folder = Folder::new(LIMITS);
    let none = Started::new(&folder, &[]);
    assert_eq!(none.log.last().unwrap()["admin"], Value::Null);
    let started = Started::new(&folder, &[("TOLLGATE_HTTP", "127.0.0.1:0")]);
    // Ports are open a moment before the server is ready.
    eventually("ready", || started.get("admin", "/readyz").0 == 200);
    // `Host` names another server, and /json needs a token.
    assert_eq!(started.get("admin", "/config").0, 421);
    assert_eq!(started.json("1").0, 200);
}
