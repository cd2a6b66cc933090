use super::*;
use crate::observe::traces::Protocol;

fn read(pairs: &[(&str, &str)]) -> Result<Environment, String> {
    let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Environment::read(pairs, false).map_err(|problems| problems.to_string())
}

fn files(environment: &Environment) -> (&RuntimeFolder, &ratelimit::Settings) {
    match environment.source.as_ref().unwrap() {
        Source::Files(folder, settings) => (folder, settings),
        Source::ControlPlane(..) => panic!("a control plane"),
    }
}

#[test]
fn an_empty_environment_has_the_defaults_of_envoyproxy_ratelimit() {
    let environment = read(&[]).unwrap();
    let all = Address::AllInterfaces;
    assert_eq!((&environment.grpc, &environment.ports.main), (&all(8081), &all(8080)));
    assert_eq!(environment.ports.debug, all(6070));
    assert!(environment.ports.metrics.is_none() && environment.grpc_tls.is_none());
    assert_eq!(environment.max_connection_age, Some(Duration::from_secs(86_400)));
    assert_eq!(environment.log.0, Format::Text);
    let (folder, settings) = files(&environment);
    let expected = RuntimeFolder {
        root: "/srv/runtime_data/current".into(),
        subdirectory: PathBuf::new(),
        app_directory: "config".into(),
        ignores_dotfiles: false,
        watches_root: true,
    };
    assert_eq!(folder, &expected);
    let TreeSettings { headers, is_shadow, is_quota, has_metadata, counting } = &settings.tree;
    assert_eq!((headers, is_shadow, is_quota, has_metadata), (&None, &false, &false, &false));
    assert_eq!((counting, settings.merges_domains), (&Counting::Each, false));
    assert!(!environment.starts_without_config);
    assert_eq!(environment.health, HealthRules::default());
    assert!(environment.redis.is_none() && environment.tracing.is_none());
    let Statistics { near_limit_ratio, sink, flush_interval, extra_tags } = environment.statistics;
    assert_eq!((near_limit_ratio, flush_interval), (0.8, Duration::from_secs(10)));
    assert_eq!(sink, Sink::Statsd { host: "localhost".into(), port: 8125, is_udp: false });
    assert_eq!((extra_tags, environment.without_effect), (Vec::new(), Vec::new()));
}

/// What Envoy Gateway sets, with Redis over TLS and metrics.
const ENVOY_GATEWAY: [(&str, &str); 27] = [
    ("RUNTIME_ROOT", "/data"),
    ("RUNTIME_SUBDIRECTORY", "ratelimit"),
    ("RUNTIME_IGNOREDOTFILES", "true"),
    ("RUNTIME_WATCH_ROOT", "false"),
    ("LOG_LEVEL", "info"),
    ("USE_STATSD", "false"),
    ("CONFIG_TYPE", "GRPC_XDS_SOTW"),
    ("CONFIG_GRPC_XDS_SERVER_URL", "envoy-gateway:18001"),
    ("CONFIG_GRPC_XDS_NODE_ID", "envoy-ratelimit"),
    ("GRPC_SERVER_USE_TLS", "true"),
    ("GRPC_SERVER_TLS_CERT", "/certs/tls.crt"),
    ("GRPC_SERVER_TLS_KEY", "/certs/tls.key"),
    ("GRPC_SERVER_TLS_CA_CERT", "/certs/ca.crt"),
    ("CONFIG_GRPC_XDS_SERVER_USE_TLS", "true"),
    ("CONFIG_GRPC_XDS_CLIENT_TLS_CERT", "/certs/tls.crt"),
    ("CONFIG_GRPC_XDS_CLIENT_TLS_KEY", "/certs/tls.key"),
    ("CONFIG_GRPC_XDS_SERVER_TLS_CACERT", "/certs/ca.crt"),
    ("FORCE_START_WITHOUT_INITIAL_CONFIG", "true"),
    ("REDIS_SOCKET_TYPE", "tcp"),
    ("REDIS_URL", "redis.redis-system.svc.cluster.local:6379"),
    ("REDIS_TLS", "true"),
    ("REDIS_TLS_CLIENT_CERT", "/redis-certs/tls.crt"),
    ("REDIS_TLS_CLIENT_KEY", "/redis-certs/tls.key"),
    ("USE_PROMETHEUS", "true"),
    ("PROMETHEUS_ADDR", ":19001"),
    ("PROMETHEUS_MAPPER_YAML", "/etc/statsd-exporter/conf.yaml"),
    ("TRACING_ENABLED", "false"),
];

#[test]
fn the_environment_of_envoy_gateway_is_taken_as_it_is() {
    let environment = read(&ENVOY_GATEWAY).unwrap();
    let Some(Source::ControlPlane(settings, _)) = &environment.source else {
        panic!("not a control plane")
    };
    assert_eq!(settings.server.to_string(), "envoy-gateway:18001");
    assert_eq!(settings.node_id, "envoy-ratelimit");
    let tls = settings.tls.as_ref().unwrap();
    assert_eq!(tls.identity, Some(("/certs/tls.crt".into(), "/certs/tls.key".into())));
    assert_eq!((&tls.authority, &tls.name), (&Some("/certs/ca.crt".into()), &None));
    assert_eq!((settings.backoff.initial, settings.backoff.factor), (Duration::from_secs(10), 0.5));
    let grpc_tls = environment.grpc_tls.unwrap();
    assert_eq!(grpc_tls.certificate, PathBuf::from("/certs/tls.crt"));
    assert!(grpc_tls.client_auth.is_none(), "no client certificate is asked for");
    assert!(environment.starts_without_config);
    let redis = environment.redis.unwrap();
    assert_eq!(redis.target.to_string(), "redis.redis-system.svc.cluster.local:6379");
    assert_eq!(
        redis.tls.client,
        Some(("/redis-certs/tls.crt".into(), "/redis-certs/tls.key".into()))
    );
    let metrics = (Address::AllInterfaces(19001), "/metrics".to_owned());
    assert_eq!(environment.ports.metrics, Some(metrics));
    let expected = "PROMETHEUS_MAPPER_YAML (metrics are mapped as without it)";
    assert_eq!(environment.without_effect, [expected]);
}

#[test]
fn the_environment_of_istios_sample_is_taken_as_it_is() {
    let environment = read(&[
        ("LOG_LEVEL", "debug"),
        ("REDIS_SOCKET_TYPE", "tcp"),
        ("REDIS_URL", "redis:6379"),
        ("USE_STATSD", "false"),
        ("RUNTIME_ROOT", "/data"),
        ("RUNTIME_SUBDIRECTORY", "ratelimit"),
        ("RUNTIME_WATCH_ROOT", "false"),
        ("RUNTIME_IGNOREDOTFILES", "true"),
        ("HOST", "::"),
        ("GRPC_HOST", "::"),
    ])
    .unwrap();
    assert_eq!(environment.grpc, Address::AllInterfaces(8081));
    assert_eq!(environment.ports.main, Address::AllInterfaces(8080));
    let (folder, _) = files(&environment);
    assert!(folder.ignores_dotfiles && !folder.watches_root);
    assert_eq!(environment.redis.unwrap().target.to_string(), "redis:6379");
    assert_eq!(environment.statistics.sink, Sink::Log);
}

#[test]
fn what_a_deployment_says_of_its_configurations_is_handed_on() {
    let environment = read(&[
        ("LIMIT_RESPONSE_HEADERS_ENABLED", "true"),
        ("LIMIT_RESET_HEADER", "X-Reset"),
        ("SHADOW_MODE", "1"),
        ("QUOTA_MODE", "T"),
        ("RESPONSE_DYNAMIC_METADATA", "true"),
        ("STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT", "true"),
        ("MERGE_DOMAIN_CONFIG", "true"),
        ("HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED", "true"),
        ("REDIS_HEALTH_CHECK_ACTIVE_CONNECTION", "true"),
    ])
    .unwrap();
    let (_, settings) = files(&environment);
    let TreeSettings { headers, is_shadow, is_quota, has_metadata, counting } = &settings.tree;
    let names = ["RateLimit-Limit", "RateLimit-Remaining", "X-Reset"].map(Box::from);
    assert_eq!(headers, &Some(names));
    assert!(*is_shadow && *is_quota && *has_metadata && settings.merges_domains);
    assert_eq!(counting, &Counting::SpareOthers);
    assert_eq!(environment.health, HealthRules { needs_policy: true, needs_store: true });
}

#[test]
fn grpc_may_be_on_a_socket_and_ask_for_a_client_certificate() {
    let environment = read(&[
        ("GRPC_UDS", "/run/ratelimit.sock"),
        ("GRPC_SERVER_USE_TLS", "true"),
        ("GRPC_SERVER_TLS_CERT", "a.pem"),
        ("GRPC_SERVER_TLS_KEY", "b.pem"),
        ("GRPC_CLIENT_TLS_CACERT", "c.pem"),
        ("GRPC_CLIENT_TLS_SAN", "envoy.example.org"),
        ("GRPC_MAX_CONNECTION_AGE", "0"),
    ])
    .unwrap();
    assert_eq!(environment.grpc, Address::Unix("/run/ratelimit.sock".into()));
    let client_auth = environment.grpc_tls.unwrap().client_auth.unwrap();
    assert_eq!(client_auth.authority, PathBuf::from("c.pem"));
    assert_eq!(client_auth.names, [ClientName::Host("envoy.example.org".into())]);
    assert_eq!(environment.max_connection_age, None);
}

#[test]
fn statistics_go_where_the_variables_say() {
    let sink = |pairs: &[(&str, &str)]| read(pairs).map(|environment| environment.statistics.sink);
    let statsd = [("STATSD_HOST", "s"), ("STATSD_PORT", "1"), ("STATSD_PROTOCOL", "udp")];
    let (host, port) = ("s".to_owned(), 1);
    assert_eq!(sink(&statsd), Ok(Sink::Statsd { host: host.clone(), port, is_udp: true }));
    let dog = [("USE_STATSD", "false"), ("USE_DOG_STATSD", "true")];
    assert_eq!(sink(&[&statsd[..], &dog].concat()), Ok(Sink::DogStatsd { host, port }));
    assert_eq!(sink(&[("DISABLE_STATS", "true"), ("USE_PROMETHEUS", "true")]), Ok(Sink::Nowhere));
    assert!(sink(&[("USE_PROMETHEUS", "true")]).is_err());
}

#[test]
fn spans_are_sent_to_the_collector_of_otlp() {
    let environment = read(&[
        ("TRACING_ENABLED", "true"),
        ("TRACING_EXPORTER_PROTOCOL", "grpc"),
        ("TRACING_SERVICE_NAMESPACE", "edge"),
        ("TRACING_SAMPLING_RATE", "1.5"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),
        ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "ca.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "own.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "key.pem"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
    ])
    .unwrap();
    let expected = Tracing {
        endpoint: "http://collector:4317".into(),
        protocol: Protocol::Grpc,
        root: Some("ca.pem".into()),
        client: Some(("own.pem".into(), "key.pem".into())),
        timeout: Duration::from_millis(1500),
        service: "RateLimit".into(),
        namespace: "edge".into(),
        instance: None,
        ratio: 1.0,
    };
    assert_eq!(environment.tracing, Some(expected));
    assert_eq!(environment.without_effect, ["OTEL_EXPORTER_OTLP_COMPRESSION"]);
}

#[test]
fn spans_are_sent_over_http_unless_a_protocol_is_set() {
    let to = |variables: &[(&str, &str)]| {
        let enabled = [("TRACING_ENABLED", "true")];
        let tracing = read(&[&enabled, variables].concat()).unwrap().tracing.unwrap();
        assert_eq!(tracing.timeout, Duration::from_secs(10));
        (tracing.protocol, tracing.endpoint)
    };
    const ALL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    for (variables, endpoint) in [
        (&[][..], "https://localhost:4318/v1/traces"),
        (&[(ALL, "http://c:4318")], "http://c:4318/v1/traces"),
        (&[(ALL, "http://c:4318/base/")], "http://c:4318/base/v1/traces"),
        (&[(ALL, "http://other"), (TRACES, "http://c:4318/x")], "http://c:4318/x"),
        (&[("OTEL_EXPORTER_OTLP_INSECURE", "true")], "http://localhost:4318/v1/traces"),
        (&[(TRACES, "http://c/x"), ("OTEL_EXPORTER_OTLP_INSECURE", "false")], "https://c/x"),
    ] {
        assert_eq!(to(variables), (Protocol::Http, endpoint.to_owned()), "{variables:?}");
    }
    let grpc = to(&[("TRACING_EXPORTER_PROTOCOL", "grpc")]);
    assert_eq!(grpc, (Protocol::Grpc, "https://localhost:4317".to_owned()));
}

#[test]
fn memcache_is_memory() {
    let memcache =
        [("BACKEND_TYPE", "memcache"), ("REDIS_URL", "a"), ("MEMCACHE_HOST_PORT", "a:1")];
    let environment = read(&memcache).unwrap();
    assert!(environment.redis.is_none());
    assert_eq!(environment.without_effect.len(), 2, "{:?}", environment.without_effect);
}

#[test]
fn the_variables_of_redis_do_not_matter_where_the_store_is_named_otherwise() {
    let pairs = [("REDIS_URL", "none"), ("REDIS_TYPE", "NONE")];
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert!(Environment::read(pairs.clone(), true).unwrap().redis.is_none());
    assert!(Environment::read(pairs, false).is_err());
}
