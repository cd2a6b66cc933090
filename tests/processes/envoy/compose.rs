//! `deploy/`: no container runs here. What the containers would run does, with the real Redis and the real Envoy:
//! the commands of `compose.yaml` as they stand there, but for paths, names and ports.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use serde_yaml::Value;

use super::http::Client;
use super::lab::{envoy, start_envoy};
use super::process::{Tollgate, eventually, free_port};
use super::redis_server::Redis;

const COMPOSE: &str = "deploy/compose.yaml";

/// A bucket of five a day, so that time does not matter.
const ROTATE: &str = "POST /api/v2/keys/signing/rotate";
const SIZE: usize = 5;

fn compose() -> Value {
    serde_yaml::from_str(&std::fs::read_to_string(COMPOSE).unwrap()).unwrap()
}

/// The command of a service, word by word.
fn words(compose: &Value, service: &str) -> Vec<String> {
    let words = compose["services"][service]["command"].as_sequence().unwrap();
    words.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

fn local() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

/// A text in which one that must be there is replaced.
fn with(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "{old:?} is not in {text}");
    text.replace(old, new)
}

/// What the container of Envoy makes of the sample, on addresses of our own.
fn configuration(
    compose: &Value,
    [edge, admin, upstream]: [SocketAddr; 3],
    replicas: &[Tollgate],
    folder: &Path,
) -> String {
    let [script] = &words(compose, "envoy")[..] else { panic!("one script") };
    let (sed, _) = script.split_once("&& exec envoy -c /tmp/envoy.yaml").unwrap();
    let made = folder.join("made.yaml");
    let sed = with(sed, "/etc/envoy/sample.yaml", "envoy/envoy.yaml");
    let sed = with(&sed, "/tmp/envoy.yaml", made.to_str().unwrap());
    assert!(Command::new("sh").args(["-c", &sed]).status().unwrap().success(), "{sed}");
    let text = std::fs::read_to_string(made).unwrap();
    let text = with(
        &text,
        "address: 0.0.0.0, port_value: 10000",
        &format!("address: 127.0.0.1, port_value: {}", edge.port()),
    );
    let text = with(&text, "port_value: 9901", &format!("port_value: {}", admin.port()));
    let text = with(&text, "port_value: 9000", &format!("port_value: {}", upstream.port()));
    let text = with(&text, "timeout: 0.25s", "timeout: 20s");
    // As Docker answers the name of three replicas with three addresses.
    let mut config: Value = serde_yaml::from_str(&text).unwrap();
    let clusters = config["static_resources"]["clusters"].as_sequence_mut().unwrap();
    let cluster = clusters.iter_mut().find(|cluster| cluster["name"] == "tollgate").unwrap();
    assert_eq!(cluster["type"], "STRICT_DNS");
    let endpoints = &mut cluster["load_assignment"]["endpoints"][0]["lb_endpoints"];
    let endpoints = endpoints.as_sequence_mut().unwrap();
    let named = endpoints.pop().unwrap();
    assert_eq!(named["endpoint"]["address"]["socket_address"]["address"], "tollgate");
    endpoints.extend(replicas.iter().map(|replica| {
        let mut endpoint = named.clone();
        let address = &mut endpoint["endpoint"]["address"]["socket_address"];
        address["address"] = "127.0.0.1".into();
        address["port_value"] = replica.grpc.port().into();
        endpoint
    }));
    serde_yaml::to_string(&config).unwrap()
}

#[test]
#[ignore = "needs Envoy and Redis; bash tests/run.sh"]
fn three_replicas_behind_envoy_are_one_budget() {
    let envoy = envoy();
    let compose = compose();
    let folder = tempfile::tempdir().unwrap();
    let redis = words(&compose, "redis");
    assert_eq!(redis[0], "redis-server");
    let redis = Redis::with(&redis[1..].iter().map(|word| &**word).collect::<Vec<_>>());
    let replaced = |word: String| match &*word {
        "/etc/tollgate/management-api.yaml" => "config/management-api.yaml".to_owned(),
        "0.0.0.0:8081" | "0.0.0.0:8080" => "127.0.0.1:0".to_owned(),
        "redis://redis:6379" => redis.url(),
        _ => word,
    };
    let arguments: Vec<_> = words(&compose, "tollgate").into_iter().map(replaced).collect();
    let arguments: Vec<_> = arguments.iter().map(|word| &**word).collect();
    let replicas = compose["services"]["tollgate"]["deploy"]["replicas"].as_u64().unwrap();
    let replicas: Vec<_> = ["tollgate-1", "tollgate-2", "tollgate-3"]
        .map(|name| Tollgate::start(name, &arguments, folder.path()))
        .into_iter()
        .take(usize::try_from(replicas).unwrap())
        .collect();
    let [edge, admin, upstream] = std::array::from_fn(|_| local());
    let config = configuration(&compose, [edge, admin, upstream], &replicas, folder.path());
    let _envoy = start_envoy(&envoy, &config, admin, folder.path());

    let headers = [("x-tenant", "acme"), ("x-tenant-type", "enterprise_production")];
    let mut client = Client::connect(edge);
    let admitted: Vec<_> = (0..4 * SIZE)
        .map(|_| client.call(ROTATE, &headers).status())
        .take_while(|status| *status == 200)
        .collect();
    assert_eq!(admitted.len(), SIZE);
    let was_asked = |replica: &&Tollgate| {
        let metrics = Client::connect(replica.http).call("GET /metrics", &[]).body;
        let mut lines = metrics.lines();
        lines.any(|line| line.starts_with("tollgate_requests_total{") && !line.ends_with(" 0"))
    };
    // An address gets its turn once Envoy has heard that it is healthy.
    eventually("Envoy asks all of them in turn", || {
        assert_eq!(client.call(ROTATE, &headers).status(), 429);
        (replicas.iter().filter(was_asked).count() == 3).then_some(())
    });
}

/// What the image is made of is there, and enough for cargo.
#[test]
fn the_image_is_built_of_what_there_is() {
    let text = std::fs::read_to_string("deploy/Dockerfile").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let copied = text.lines().filter_map(|line| line.strip_prefix("COPY "));
    for copied in copied.filter(|copied| !copied.starts_with("--from")) {
        let words: Vec<_> = copied.split(' ').collect();
        let (to, from) = words.split_last().unwrap();
        // Outside the folder where it is built, it is for the image itself.
        let to = folder.path().join(to.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        let mut copy = Command::new("cp");
        assert!(copy.arg("-r").args(from).arg(to).status().unwrap().success(), "{copied}");
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"]);
    let read = cargo.current_dir(folder.path()).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    assert!(text.contains(&format!("FROM rust:{}-", env!("CARGO_PKG_RUST_VERSION"))));
    for mount in [&compose()["services"]["tollgate"], &compose()["services"]["envoy"]] {
        let mount = mount["volumes"][0].as_str().unwrap();
        let path = Path::new("deploy").join(mount.split(':').next().unwrap());
        assert!(path.is_file(), "{mount}");
    }
}
