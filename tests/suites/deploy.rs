//! `deploy/`: what its files say of tollgate is true of the binary. That they are manifests and units at all is
//! read by `tests/run.sh deploy`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

mod ratelimit;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_yaml::Value;

const KUBERNETES: &str = "deploy/kubernetes";

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn manifest(name: &str) -> Value {
    serde_yaml::from_str(&read(&format!("{KUBERNETES}/{name}"))).unwrap()
}

fn container() -> Value {
    let pod = &manifest("deployment.yaml")["spec"]["template"]["spec"];
    pod["containers"][0].clone()
}

fn args(container: &Value) -> Vec<String> {
    let args = container["args"].as_sequence().unwrap();
    args.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

fn value<'a>(args: &'a [String], flag: &str) -> &'a str {
    let at = args.iter().position(|word| word == flag).unwrap_or_else(|| panic!("no {flag}"));
    &args[at + 1]
}

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The status of a GET.
fn status(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn kustomize_takes_every_manifest_and_the_shipped_policy() {
    let kustomization = manifest("kustomization.yaml");
    let listed = kustomization["resources"].as_sequence().unwrap().iter();
    let listed: BTreeSet<_> = listed.map(|name| name.as_str().unwrap().to_owned()).collect();
    let files = std::fs::read_dir(KUBERNETES).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let others = ["kustomization.yaml", "policy.yaml"];
    let there: BTreeSet<_> = names.filter(|name| !others.contains(&name.as_str())).collect();
    assert_eq!(listed, there);
    assert_eq!(
        read(&format!("{KUBERNETES}/policy.yaml")),
        read("config/management-api.yaml"),
        "copy the shipped policy to deploy/kubernetes/policy.yaml"
    );
}

/// The very arguments of the manifest, but for addresses and the folder, and where its HTTP side is.
fn serve() -> (Server, String) {
    let mut words = args(&container());
    for (flag, own) in [
        ("--config", "config/management-api.yaml"),
        ("--grpc", "127.0.0.1:0"),
        ("--http", "127.0.0.1:0"),
        // Nobody answers there: a replica starts without its store.
        ("--store", "redis://127.0.0.1:9"),
    ] {
        let at = words.iter().position(|word| word == flag).unwrap();
        own.clone_into(&mut words[at + 1]);
    }
    let (server, started) = start(Command::new(env!("CARGO_BIN_EXE_tollgate")).args(&words));
    let http = started["fields"]["http"].as_str().or(started["http"].as_str()).unwrap().to_owned();
    (server, http)
}

/// Starts a server that logs in JSON; with the line that says so.
fn start(command: &mut Command) -> (Server, Value) {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut server = Server(command.spawn().unwrap());
    let mut log = BufReader::new(server.0.stderr.take().unwrap()).lines();
    let started = log.by_ref().map(Result::unwrap).find(|line| line.contains("\"started\""));
    (server, serde_yaml::from_str(&started.unwrap()).unwrap())
}

fn soon(mut holds: impl FnMut() -> bool) -> bool {
    (0..3_000).any(|_| {
        let is_so = holds();
        if !is_so {
            std::thread::park_timeout(std::time::Duration::from_millis(10));
        }
        is_so
    })
}

/// The binary takes the arguments, and what the probes ask for is there.
#[test]
fn the_binary_takes_the_arguments_and_answers_the_probes() {
    let container = container();
    let (_server, http) = serve();
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let get = &container[probe]["httpGet"];
        assert_eq!(get["port"].as_str(), Some("http"), "{probe}");
        let path = get["path"].as_str().unwrap();
        assert!(soon(|| status(&http, path) == "200"), "{probe}: {path}");
    }
}

/// The words of the command that tells the health of a container.
fn health_check(image: &str) -> Vec<String> {
    let (_, check) = image.split_once("\nHEALTHCHECK ").unwrap();
    let (_, check) = check.lines().next().unwrap().split_once("CMD ").unwrap();
    serde_yaml::from_str(check).unwrap()
}

/// The exit code of that command, asked of a server.
fn health_code(http: &str) -> Option<i32> {
    let mut check = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    check.args(&health_check(&read("deploy/Dockerfile"))[1..]);
    check.args(["--addr", &format!("http://{http}")]);
    check.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap().code()
}

/// What Docker and compose run, in a container that has nothing else to run.
#[test]
fn the_health_check_of_the_containers_is_a_command_of_the_binary() {
    let image = read("deploy/Dockerfile");
    let (_, last) = image.rsplit_once("\nFROM ").unwrap();
    assert!(last.starts_with("scratch\n"), "{last}");
    let words = health_check(last);
    let composed: Value = serde_yaml::from_str(&read("deploy/compose.yaml")).unwrap();
    let composed = &composed["services"]["tollgate"]["healthcheck"]["test"];
    let composed: Vec<String> = serde_yaml::from_value(composed.clone()).unwrap();
    assert_eq!(composed, [&["CMD".to_owned()], &words[..]].concat());
    let program = &words[0];
    assert!(last.contains(&format!("COPY --from=build {program} {program}\n")), "{program}");
    let name = "/image/bin/ratelimit";
    assert!(image.contains(&format!("ln -s ..{program} {name}\n")) && last.contains("/image/ /\n"));
    assert!(last.contains(&format!("ENTRYPOINT [\"{program}\"]\n")), "{program}");

    let (server, http) = serve();
    assert!(soon(|| health_code(&http) == Some(0)));
    drop(server);
    assert_eq!(health_code(&http), Some(1));
}

#[test]
fn ports_and_names_agree_from_the_service_to_the_process() {
    let container = container();
    let words = args(&container);
    let ports = container["ports"].as_sequence().unwrap();
    for (name, flag) in [("grpc", "--grpc"), ("http", "--http")] {
        let port = ports.iter().find(|port| port["name"].as_str() == Some(name)).unwrap();
        let port = port["containerPort"].as_u64().unwrap();
        assert_eq!(value(&words, flag), format!("0.0.0.0:{port}"));
        let services = read(&format!("{KUBERNETES}/service.yaml"));
        let targeted = format!("port: {port}, targetPort: {name}");
        assert!(services.contains(&targeted), "no service has {targeted:?}");
    }
    let mounted = container["volumeMounts"][0]["mountPath"].as_str().unwrap();
    assert_eq!(value(&words, "--config"), mounted, "the folder is what changes");
    assert!(container["volumeMounts"][0]["subPath"].is_null(), "with subPath no change arrives");
}

/// Kubernetes and systemd kill who is not done in time.
#[test]
fn whoever_stops_it_waits_for_the_drain() {
    let words = args(&container());
    let of = |flag| humantime::parse_duration(value(&words, flag)).unwrap().as_secs();
    let stop = of("--drain-delay") + of("--drain-timeout");
    let pod = &manifest("deployment.yaml")["spec"]["template"]["spec"];
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > stop);
    let unit = read("deploy/systemd/tollgate.service");
    let seconds = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    assert!(seconds.parse::<u64>().unwrap() > stop);
}

/// The unit sets what the binary reads.
#[test]
fn what_the_unit_sets_is_a_setting() {
    let help = Command::new(env!("CARGO_BIN_EXE_tollgate")).args(["serve", "--help"]).output();
    let help = String::from_utf8(help.unwrap().stdout).unwrap();
    let unit = read("deploy/systemd/tollgate.service");
    let set = unit.lines().filter_map(|line| line.strip_prefix("Environment="));
    let names: Vec<_> = set.map(|setting| setting.split_once('=').unwrap().0).collect();
    assert!(names.len() >= 3, "{names:?}");
    for name in names {
        assert!(help.contains(&format!("[env: {name}=")), "{name} is no setting");
    }
}
