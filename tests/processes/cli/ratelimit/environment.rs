//! Values that cannot be read, choices that there are not, and variables without effect.

use super::*;

#[test]
fn a_value_that_cannot_be_read_ends_it_with_2_and_its_name() {
    let folder = Folder::new(LIMITS);
    for (name, value, told) in [
        ("PORT", "80a", "PORT=80a: not a whole number"),
        ("PORT", "", "PORT=: not a whole number"),
        ("GRPC_PORT", "65536", "GRPC_PORT=65536: not a port; write a number up to 65535"),
        ("HOST", "no such host", "HOST=no such host: no address of this machine"),
        ("SHADOW_MODE", "yes", "SHADOW_MODE=yes: not a boolean; write true or false"),
        ("GRPC_MAX_CONNECTION_AGE", "5", "GRPC_MAX_CONNECTION_AGE=5: not a duration; write one"),
        ("NEAR_LIMIT_RATIO", "most", "NEAR_LIMIT_RATIO=most: not a number"),
        ("EXTRA_TAGS", "a", "EXTRA_TAGS=a: pair 1 does not have one colon"),
        ("GRPC_SERVER_USE_TLS", "true", "GRPC_SERVER_TLS_CERT: missing; name the PEM file"),
        ("REDIS_URL", "redis://u:secret@a:b", "REDIS_URL: server 1 in the address is invalid"),
        ("RUNTIME_ROOT", "/nowhere", "/nowhere/ratelimit/config: no such folder; set RUNTIME_ROOT"),
        ("GRPC_UDS", &"a".repeat(200), "the path of a Unix domain socket has 1 to 107 bytes"),
        ("LIMIT_RESET_HEADER", "a b", "LIMIT_RESET_HEADER=a b: not the name of a header"),
        ("TOLLGATE_STORE", "redis", "TOLLGATE_STORE: unknown kind of store"),
    ] {
        let ended = refused(&folder, &[(name, value)]);
        assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{name}: {ended:?}");
        assert!(ended.err.contains(told), "{name}: {ended:?}");
        assert!(!ended.err.contains("secret"), "{ended:?}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let folder = Folder::new(LIMITS);
    let wrong = [("PORT", "a"), ("LOG_LEVEL", "loud"), ("STATSD_PORT", "b")];
    let ended = refused(&folder, &wrong);
    assert_eq!(ended.code, Some(2));
    for (name, value) in wrong {
        assert!(ended.err.contains(&format!("{name}={value}: ")), "{ended:?}");
    }
}

#[test]
fn a_choice_that_there_is_not_ends_it_with_1() {
    let folder = Folder::new(LIMITS);
    for (variables, told) in [
        (
            &[("CONFIG_TYPE", "file")][..],
            "CONFIG_TYPE=file: unknown; choose from FILE, GRPC_XDS_SOTW",
        ),
        (
            &[("LOG_LEVEL", "loud")],
            "LOG_LEVEL=loud: unknown; choose from panic, fatal, error, warn",
        ),
        (
            &[("BACKEND_TYPE", "dynamo")],
            "BACKEND_TYPE=dynamo: unknown; choose from redis, memcache",
        ),
        (&[("USE_PROMETHEUS", "true"), ("USE_STATSD", "true")], "statistics go to one place"),
    ] {
        let ended = refused(&folder, variables);
        assert_eq!((ended.code, &*ended.out), (Some(1), ""), "{variables:?}: {ended:?}");
        assert!(ended.err.contains(told), "{variables:?}: {ended:?}");
    }
}

#[test]
fn variables_without_effect_are_named_in_one_line_and_no_others_are() {
    let folder = Folder::new(LIMITS);
    let named = |started: &Started| -> Vec<String> {
        let is_it = |line: &&Value| line["@message"] == "these variables have no effect";
        let lines: Vec<_> = started.log.iter().filter(is_it).collect();
        assert!(lines.len() < 2, "{lines:?}");
        let all = lines.first().map(|line| line["variables"].as_str().unwrap());
        all.into_iter().flat_map(|all| all.split(", ")).map(str::to_owned).collect()
    };
    let set = [
        ("REDIS_POOL_SIZE", "5"),
        ("MEMCACHE_HOST_PORT", "a:1"),
        ("REDIS_PERSECOND", "true"),
        ("REDIS_PERSECOND_URL", "a:1"),
        ("SHADOW_MODE", "false"),
        ("GRPC_SERVER_TLS_CA_CERT", "/certs/ca.crt"),
        ("SOMETHING_ELSE", "1"),
    ];
    let started = Started::new(&folder, &set);
    let expected =
        ["MEMCACHE_HOST_PORT", "REDIS_PERSECOND", "REDIS_PERSECOND_URL", "REDIS_POOL_SIZE"];
    assert_eq!(named(&started), expected);
    assert_eq!(named(&Started::new(&folder, &[])), [""; 0]);
}

/// The variables that Envoy Gateway sets, but for TLS, the control plane and the ports.
#[test]
fn memory_is_chosen_whatever_redis_is_named() {
    let folder = Folder::new(LIMITS);
    let redis = [("REDIS_SOCKET_TYPE", "tcp"), ("REDIS_URL", "127.0.0.1:1")];
    let started = Started::new(&folder, &redis);
    assert_eq!(started.log.last().unwrap()["store"], "127.0.0.1:1");
    let none = [("REDIS_URL", "none"), ("TOLLGATE_STORE", "memory")];
    let started = Started::new(&folder, &[&redis[..], &none].concat());
    assert_eq!(started.log.last().unwrap()["store"], "memory");
    eventually("healthy", || started.is_healthy());
}

#[test]
fn what_a_denied_request_counts_is_chosen_for_all_domains_or_for_one() {
    let of = |value: &str| format!(r#"{{"entries":[{{"key":"k","value":"{value}"}}]}}"#);
    let body = format!(r#"{{"domain":"d","descriptors":[{},{}]}}"#, of("1"), of("2"));
    let both = |started: &Started| started.ask("http", "POST /json", &body).0;
    let spare = ("STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT", "true");
    for (variables, left) in [
        (&[][..], 0),
        (&[("TOLLGATE_COUNTING", "all-or-none")], 1),
        (&[("TOLLGATE_COUNTING", "other=all-or-none")], 0),
        (&[spare, ("TOLLGATE_COUNTING", "each,other=all-or-none")], 0),
        (&[spare, ("TOLLGATE_COUNTING", "other=each")], 1),
    ] {
        let started = Started::new(&Folder::new(LIMITS), variables);
        assert_eq!((started.json("1").0, started.json("1").0), (200, 200));
        assert_eq!(both(&started), 429, "{variables:?}");
        let (_, answer) = started.json("2");
        let told = answer["statuses"][0]["limitRemaining"].as_u64().unwrap_or_default();
        assert_eq!(told, left, "{variables:?}: {answer}");
    }
    let ended = refused(&Folder::new(LIMITS), &[("TOLLGATE_COUNTING", "none")]);
    assert!(ended.code == Some(2) && ended.err.contains("all-or-none"), "{ended:?}");
}

#[test]
fn the_log_has_the_names_of_envoyproxy_ratelimit() {
    let folder = Folder::new(LIMITS);
    let started = Started::new(&folder, &[("REDIS_POOL_SIZE", "5")]);
    let [first, last] = [started.log.first(), started.log.last()].map(Option::unwrap);
    assert_eq!((&first["level"], &last["level"]), (&"warning".into(), &"info".into()));
    assert!(last["@timestamp"].as_str().unwrap().ends_with('Z'), "{last}");
}
