//! `deploy/envoy-gateway`, `deploy/istio` and `deploy/contour`, where tollgate is in place of envoyproxy/ratelimit: what
//! they set is read, what a proxy asks for is limited, and names agree from the proxy to the process.
//! `tests/processes/envoy/istio.rs` gives the patches for Istio to the real Envoy.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_yaml::Value;

use super::{health_code, manifest, read, soon, start, status};

/// Folders with the manifests of a rate-limit service, and their domains.
const SERVICES: [(&str, &str); 2] = [("istio", "ingress"), ("contour", "contour")];
const GATEWAY: [&str; 2] = ["redis-values.yaml", "memory-values.yaml"];

/// What Envoy Gateway itself sets, depending on its telemetry and the TLS of Redis.
const SET_BY_ENVOY_GATEWAY: [&str; 32] = [
    "RUNTIME_ROOT",
    "RUNTIME_SUBDIRECTORY",
    "RUNTIME_IGNOREDOTFILES",
    "RUNTIME_WATCH_ROOT",
    "LOG_LEVEL",
    "USE_STATSD",
    "CONFIG_TYPE",
    "CONFIG_GRPC_XDS_SERVER_URL",
    "CONFIG_GRPC_XDS_NODE_ID",
    "GRPC_SERVER_USE_TLS",
    "GRPC_SERVER_TLS_CERT",
    "GRPC_SERVER_TLS_KEY",
    "GRPC_SERVER_TLS_CA_CERT",
    "CONFIG_GRPC_XDS_SERVER_USE_TLS",
    "CONFIG_GRPC_XDS_CLIENT_TLS_CERT",
    "CONFIG_GRPC_XDS_CLIENT_TLS_KEY",
    "CONFIG_GRPC_XDS_SERVER_TLS_CACERT",
    "FORCE_START_WITHOUT_INITIAL_CONFIG",
    "REDIS_SOCKET_TYPE",
    "REDIS_URL",
    "REDIS_TLS",
    "REDIS_TLS_CLIENT_CERT",
    "REDIS_TLS_CLIENT_KEY",
    "USE_PROMETHEUS",
    "PROMETHEUS_ADDR",
    "PROMETHEUS_MAPPER_YAML",
    "TRACING_ENABLED",
    "TRACING_SERVICE_NAME",
    "TRACING_SERVICE_NAMESPACE",
    "TRACING_SERVICE_INSTANCE_ID",
    "TRACING_SAMPLING_RATE",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

fn documents(path: &str) -> Vec<Value> {
    let text = read(&format!("deploy/{path}"));
    text.split("\n---\n").map(|document| serde_yaml::from_str(document).unwrap()).collect()
}

/// The manifest of that kind among those of a folder's service.
fn of_service(folder: &str, kind: &str) -> Value {
    let mut documents = documents(&format!("{folder}/ratelimit.yaml")).into_iter();
    documents.find(|document| document["kind"] == kind).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_sequence().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value:?}"))
}

/// Variables and their values; none where it is in a Secret.
fn env(container: &Value) -> Vec<(&str, Option<&str>)> {
    let variables = list(&container["env"]).iter();
    variables.map(|variable| (text(&variable["name"]), variable["value"].as_str())).collect()
}

fn container(folder: &str) -> Value {
    of_service(folder, "Deployment")["spec"]["template"]["spec"]["containers"][0].clone()
}

fn gateway(name: &str) -> Value {
    documents(&format!("envoy-gateway/{name}"))[0]["config"]["envoyGateway"].clone()
}

fn gateway_container(values: &Value) -> &Value {
    &values["provider"]["kubernetes"]["rateLimitDeployment"]["container"]
}

/// The variables in the tables of `docs/ratelimit.md`; one that ends in `...` stands for all that begin so.
fn known() -> BTreeSet<String> {
    let docs = read("docs/ratelimit.md");
    let rows = docs.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.trim_start_matches('|').split('|').next().unwrap());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn every_variable_is_one_that_the_command_reads() {
    let known = known();
    assert!(known.len() > 60, "{known:?}");
    let is_known = |name: &str| {
        let begins = |start: &str| name.starts_with(start);
        known.contains(name) || known.iter().any(|k| k.strip_suffix("...").is_some_and(begins))
    };
    let mut containers: Vec<_> = SERVICES.map(|(folder, _)| container(folder)).to_vec();
    containers.extend(GATEWAY.map(|name| gateway_container(&gateway(name)).clone()));
    for container in &containers {
        let names: Vec<_> = env(container).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        for name in names {
            assert!(is_known(name), "{name} is not in docs/ratelimit.md");
        }
    }
    for name in SET_BY_ENVOY_GATEWAY {
        assert!(is_known(name), "{name}, which Envoy Gateway sets, is not in docs/ratelimit.md");
    }
}

#[test]
fn tollgate_behind_envoy_gateway_has_only_variables_that_envoy_gateway_sets() {
    let steps = read("tests/envoy-gateway/steps.sh");
    let assigned = steps.lines().filter_map(|line| line.strip_prefix("    ")?.split_once('='));
    let is_variable =
        |name: &str| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let names: Vec<_> = assigned.map(|(name, _)| name).filter(|name| is_variable(name)).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(SET_BY_ENVOY_GATEWAY.contains(&name), "Envoy Gateway does not set {name}");
    }
}

#[test]
fn pages_name_the_envoy_gateway_behind_which_tollgate_is_run() {
    let run = read("tests/envoy-gateway/run.sh");
    let version = run.lines().find_map(|line| line.strip_prefix("version=v")).unwrap();
    let values = GATEWAY.map(|name| format!("deploy/envoy-gateway/{name}"));
    for page in values.iter().map(String::as_str).chain(["CONTRIBUTING.md", "docs/ratelimit.md"]) {
        let text = read(page);
        let rests = text.split("Envoy Gateway ").skip(1);
        let words = rests.filter_map(|rest| rest.split_whitespace().next());
        let words = words.filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let named: BTreeSet<_> =
            words.map(|word| word.trim_end_matches(|c: char| !c.is_ascii_digit())).collect();
        assert_eq!(named, BTreeSet::from([version]), "{page}");
    }
}

/// Writes the files of a service's ConfigMap.
fn write_limits(folder: &str, to: &Path) {
    let map = of_service(folder, "ConfigMap");
    for (name, content) in map["data"].as_mapping().unwrap() {
        std::fs::write(to.join(text(name)), text(content)).unwrap();
    }
}

#[test]
fn check_takes_the_limits_in_the_config_maps() {
    for (folder, domain) in SERVICES {
        let files = tempfile::tempdir().unwrap();
        write_limits(folder, files.path());
        let mut check = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        let checked = check.args(["check", "--strict"]).arg(files.path()).output().unwrap();
        assert_eq!(checked.status.code(), Some(0), "{folder}: {checked:?}");
        let told = String::from_utf8(checked.stdout).unwrap();
        assert!(told.contains(&format!("domain {domain}")), "{folder}: {told}");
    }
}

/// An entry of a descriptor: its key, and its value if it is the same for every request.
type Entry = (String, Option<String>);

fn of_istio(action: &Value) -> Entry {
    let header = &action["request_headers"]["descriptor_key"];
    match header.as_str() {
        Some(key) => (key.to_owned(), None),
        None => {
            assert!(action["remote_address"].is_mapping(), "{action:?}");
            ("remote_address".to_owned(), None)
        }
    }
}

/// As Contour has Envoy make it.
fn of_contour(entry: &Value) -> Entry {
    let generic = &entry["genericKey"];
    if generic.is_mapping() {
        let key = generic["key"].as_str().unwrap_or("generic_key");
        return (key.to_owned(), Some(text(&generic["value"]).to_owned()));
    }
    assert!(entry["remoteAddress"].is_mapping(), "{entry:?}");
    ("remote_address".to_owned(), None)
}

/// Whether these entries lead to a limit, for some of their values at least.
fn reaches_a_limit(node: &Value, entries: &[Entry]) -> bool {
    let Some(((key, value), rest)) = entries.split_first() else {
        return node["rate_limit"].is_mapping();
    };
    node["descriptors"].as_sequence().into_iter().flatten().any(|child| {
        let is_met = child["value"].is_null()
            || value.is_none()
            || child["value"].as_str() == value.as_deref();
        child["key"].as_str() == Some(key) && is_met && reaches_a_limit(child, rest)
    })
}

#[test]
fn every_descriptor_that_a_proxy_sends_has_a_limit() {
    let mut sent: Vec<(&str, Vec<Entry>)> = Vec::new();
    let filters = documents("istio/envoyfilter.yaml");
    let descriptors = &filters[1]["spec"]["configPatches"][0]["patch"]["value"]["rate_limits"];
    for descriptor in list(descriptors) {
        sent.push(("istio", list(&descriptor["actions"]).iter().map(of_istio).collect()));
    }
    let proxy = &documents("contour/httpproxy.yaml")[0]["spec"];
    let routes = list(&proxy["routes"]).iter().filter(|route| !route["rateLimitPolicy"].is_null());
    for part in routes.chain([&proxy["virtualhost"]]) {
        for descriptor in list(&part["rateLimitPolicy"]["global"]["descriptors"]) {
            sent.push(("contour", list(&descriptor["entries"]).iter().map(of_contour).collect()));
        }
    }
    assert_eq!(sent.len(), 5);
    for (folder, entries) in &sent {
        let map = of_service(folder, "ConfigMap");
        let limits: Value = serde_yaml::from_str(text(&map["data"]["config.yaml"])).unwrap();
        assert!(reaches_a_limit(&limits, entries), "{folder}: {entries:?}");
        assert!(!reaches_a_limit(&limits, &[entries.as_slice(), entries].concat()), "{folder}");
    }
}

#[test]
fn the_service_is_where_the_proxy_and_the_process_have_it() {
    for (folder, domain) in SERVICES {
        let container = container(folder);
        let ports = list(&container["ports"]).iter();
        let ports: Vec<_> = ports
            .map(|port| (text(&port["name"]), port["containerPort"].as_u64().unwrap()))
            .collect();
        // The defaults of PORT, GRPC_PORT and DEBUG_PORT, which no manifest sets.
        assert_eq!(ports, [("http", 8080), ("grpc", 8081), ("debug", 6070)], "{folder}");
        let set = env(&container);
        assert!(!set.iter().any(|(name, _)| name.ends_with("PORT")), "{folder}: {set:?}");

        let service = of_service(folder, "Service");
        for port in list(&service["spec"]["ports"]) {
            let there = (text(&port["targetPort"]), port["port"].as_u64().unwrap());
            assert!(ports.contains(&there), "{folder}: {there:?}");
        }
        let deployment = &of_service(folder, "Deployment")["spec"];
        let labels = &deployment["template"]["metadata"]["labels"];
        assert_eq!(&deployment["selector"]["matchLabels"], labels, "{folder}");
        assert_eq!(&service["spec"]["selector"], labels, "{folder}");

        let map = of_service(folder, "ConfigMap");
        let volume = &deployment["template"]["spec"]["volumes"][0]["configMap"];
        assert_eq!(volume["name"], map["metadata"]["name"], "{folder}");
        let limits: Value = serde_yaml::from_str(text(&map["data"]["config.yaml"])).unwrap();
        assert_eq!(limits["domain"], domain, "{folder}");
        let value = |name: &str| set.iter().find(|(other, _)| *other == name).unwrap().1.unwrap();
        let mount = &container["volumeMounts"][0];
        let read = format!("{}/{}/config", value("RUNTIME_ROOT"), value("RUNTIME_SUBDIRECTORY"));
        assert_eq!(mount["mountPath"], read.as_str(), "{folder}");
        assert!(mount["subPath"].is_null(), "{folder}: with subPath no change arrives");
    }

    let service = of_service("istio", "Service");
    let (name, namespace) = (&service["metadata"]["name"], &service["metadata"]["namespace"]);
    let host = format!("{}.{}.svc.cluster.local", text(name), text(namespace));
    let filters = documents("istio/envoyfilter.yaml");
    let filter = &filters[0]["spec"]["configPatches"][0]["patch"]["value"]["typed_config"];
    let asked = &filter["rate_limit_service"]["grpc_service"]["envoy_grpc"];
    assert_eq!(asked["cluster_name"], format!("outbound|8081||{host}").as_str());
    assert_eq!(asked["authority"], host.as_str());
    assert_eq!(filter["domain"], "ingress");

    let service = of_service("contour", "Service");
    let extension = &documents("contour/extensionservice.yaml")[0];
    assert_eq!(extension["metadata"]["namespace"], service["metadata"]["namespace"]);
    let backend = &extension["spec"]["services"][0];
    assert_eq!(backend["name"], service["metadata"]["name"]);
    assert_eq!(backend["port"], service["spec"]["ports"][0]["port"]);
    let settings = &documents("contour/rate-limit-service.yaml")[0]["rateLimitService"];
    let (name, namespace) = (&extension["metadata"]["name"], &extension["metadata"]["namespace"]);
    assert_eq!(
        settings["extensionService"],
        format!("{}/{}", text(namespace), text(name)).as_str()
    );
    assert_eq!(settings["domain"], "contour");
}

#[test]
fn pods_have_the_image_of_the_other_manifests_and_no_privileges() {
    let other = super::container();
    let others = &manifest("deployment.yaml")["spec"]["template"]["spec"]["securityContext"];
    for (folder, _) in SERVICES {
        let container = container(folder);
        assert_eq!(container["image"], other["image"], "{folder}");
        assert_eq!(list(&container["command"]), ["/bin/ratelimit"], "{folder}");
        assert_eq!(container["securityContext"], other["securityContext"], "{folder}");
        let pod = &of_service(folder, "Deployment")["spec"]["template"]["spec"];
        assert_eq!(&pod["securityContext"], others, "{folder}");
        assert_eq!(pod["automountServiceAccountToken"], false, "{folder}");
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let get = &container[probe]["httpGet"];
            assert_eq!(
                (text(&get["path"]), text(&get["port"])),
                ("/healthcheck", "http"),
                "{folder}"
            );
        }
    }
    for name in GATEWAY {
        let values = gateway(name);
        assert_eq!(gateway_container(&values)["image"], other["image"], "{name}");
        // Envoy Gateway sets a strict one unless there is one.
        assert!(gateway_container(&values)["securityContext"].is_null(), "{name}");
    }
}

/// Envoy Gateway demands a Redis; whether it is asked depends on a variable.
#[test]
fn only_replicas_that_share_a_store_are_several() {
    let [redis, memory] = GATEWAY.map(gateway);
    let store = |values: &Value| {
        let set = env(gateway_container(values));
        let named = set.iter().find(|(name, _)| *name == "TOLLGATE_STORE");
        named.and_then(|(_, value)| *value).map(str::to_owned)
    };
    let deployment =
        |values: &Value| values["provider"]["kubernetes"]["rateLimitDeployment"].clone();
    assert_eq!(store(&redis), None);
    assert!(deployment(&redis)["replicas"].as_u64() > Some(1));
    assert_eq!(store(&memory).as_deref(), Some("memory"));
    assert_eq!(deployment(&memory)["replicas"].as_u64(), Some(1));
    for values in [&redis, &memory] {
        let backend = &values["rateLimit"]["backend"];
        assert_eq!(backend["type"], "Redis");
        let (_, port) = text(&backend["redis"]["url"]).rsplit_once(':').unwrap();
        assert!(port.parse::<u16>().is_ok());
    }
    // Envoy Gateway mounts the Secret of certificateRef there.
    assert!(redis["rateLimit"]["backend"]["redis"]["tls"]["certificateRef"].is_mapping());
    let set = env(gateway_container(&redis));
    assert!(set.contains(&("REDIS_TLS_CACERT", Some("/redis-certs/ca.crt"))), "{set:?}");
}

/// The very environment of the manifests, but for addresses, the folder and the store, which is not there.
#[test]
fn the_command_takes_the_environment_and_answers_the_probes() {
    for (folder, _) in SERVICES {
        let container = container(folder);
        let files = tempfile::tempdir().unwrap();
        let root = files.path().to_str().unwrap();
        let config = files.path().join("ratelimit/config");
        std::fs::create_dir_all(&config).unwrap();
        write_limits(folder, &config);
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.arg("ratelimit").env_clear();
        command.envs(env(&container).into_iter().map(|(name, value)| (name, value.unwrap())));
        let local = ["HOST", "GRPC_HOST", "DEBUG_HOST"].map(|name| (name, "127.0.0.1"));
        let free = ["PORT", "GRPC_PORT", "DEBUG_PORT"].map(|name| (name, "0"));
        let own = [("RUNTIME_ROOT", root), ("TOLLGATE_STORE", "memory"), ("LOG_FORMAT", "json")];
        let (_server, started) = start(command.envs(local).envs(free).envs(own));
        assert_eq!(started["config"].as_str(), config.to_str(), "{folder}");
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let path = text(&container[probe]["httpGet"]["path"]);
            let http = text(&started["http"]);
            assert!(soon(|| status(http, path) == "200"), "{folder}: {probe}");
        }
        assert_eq!(health_code(text(&started["http"])), Some(0), "that of the image");
    }
}
