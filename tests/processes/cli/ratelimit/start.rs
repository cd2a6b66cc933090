//! How it starts, reports its health, and ends.

use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::*;
use crate::support::{Client, call, runtime};

/// The health over gRPC under these names: 1 is serving, 2 is not; or the code of the error.
fn health(started: &Started, names: [&str; 3]) -> [Result<i32, Code>; 3] {
    let url = format!("http://{}", started.address("grpc"));
    runtime().block_on(async {
        let channel = tonic::transport::Endpoint::from_shared(url).unwrap().connect().await;
        let mut client = HealthClient::new(channel.unwrap());
        let mut answers = [Ok(0); 3];
        for (answer, name) in answers.iter_mut().zip(names) {
            let asked = client.check(HealthCheckRequest { service: name.to_owned() }).await;
            *answer = asked.map(|answer| answer.into_inner().status).map_err(|error| error.code());
        }
        answers
    })
}

#[test]
fn under_the_name_ratelimit_it_is_this_command() {
    let folder = Folder::new(LIMITS);
    let elsewhere = tempfile::tempdir().unwrap();
    let program = link(elsewhere.path(), "ratelimit");
    let plain = ratelimit(&folder, &[]);
    let mut named = Command::new(program);
    named.env_clear();
    named.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    named.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = Started::of(named);
    eventually("healthy", || started.is_healthy());
    assert_eq!(started.stop(), Some(0));
}

#[test]
fn the_health_over_grpc_has_the_names_that_probes_use() {
    let folder = Folder::new(LIMITS);
    let started = Started::new(&folder, &[]);
    let names = ["", "ratelimit", "other"];
    eventually("it is healthy", || health(&started, names)[1] == Ok(1));
    assert_eq!(health(&started, names), [Ok(1), Ok(1), Err(Code::NotFound)]);
}

#[test]
fn during_the_drain_delay_it_is_unhealthy_and_still_decides() {
    let folder = Folder::new(LIMITS);
    let mut started = Started::new(&folder, &[("TOLLGATE_DRAIN_DELAY", "1h")]);
    eventually("it is healthy", || health(&started, ["", "ratelimit", ""])[1] == Ok(1));
    started.signal("TERM");
    eventually("it is unhealthy", || !started.is_healthy());
    // The empty name is that of a server that runs, as in envoyproxy/ratelimit.
    assert_eq!(health(&started, ["", "ratelimit", ""])[..2], [Ok(1), Ok(2)]);
    assert_eq!(started.json("1").0, 200);
    started.signal("TERM");
    assert_eq!(wait(&mut started.child).code(), Some(0));
}

#[test]
fn a_configuration_that_is_refused_at_the_start_fails_calls_until_a_good_one_comes() {
    let folder =
        Folder::new("domain: d\ndescriptors:\n  - key: k\n    rate_limit:\n      unit: eon\n");
    let started = Started::new(&folder, &[]);
    eventually("healthy", || started.is_healthy());
    let mut client = Client::connect(started.address("grpc"));
    let failed = client.try_ask(call(&[("k", "1")])).unwrap_err();
    assert_eq!(failed.code(), Code::Unknown, "{failed}");
    assert_eq!(started.json("1").0, 400);
    let told = started.log.iter().find(|line| line["level"] == "error").unwrap();
    assert!(told["problems"].as_str().unwrap().contains("limits.yaml"), "{told}");
    folder.write(LIMITS);
    eventually("the good one is in force", || started.json("2").0 == 200);
    assert!(client.ask(call(&[("k", "1")])).is_ok());
}

#[test]
fn it_may_be_unhealthy_until_there_is_a_configuration() {
    let folder =
        Folder::new("domain: d\ndescriptors:\n  - key: k\n    rate_limit:\n      unit: eon\n");
    let needs = [("HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED", "true")];
    let started = Started::new(&folder, &needs);
    assert!(!started.is_healthy());
    eventually("so over gRPC", || health(&started, ["", "ratelimit", ""])[1] == Ok(2));
    folder.write(LIMITS);
    eventually("it is healthy", || started.is_healthy());
    eventually("so over gRPC", || health(&started, ["", "ratelimit", ""])[1] == Ok(1));
}

/// A control plane that is not there.
const AWAITED: [(&str, &str); 2] =
    [("CONFIG_TYPE", "GRPC_XDS_SOTW"), ("CONFIG_GRPC_XDS_SERVER_URL", "127.0.0.1:1")];

#[test]
fn no_port_is_opened_before_the_first_configuration_has_come() {
    let folder = Folder::new(LIMITS);
    let port = crate::redis_server::free_address();
    let port_text = port.port().to_string();
    let mut started =
        Started::begin(ratelimit(&folder, &[&AWAITED[..], &[("PORT", &port_text)]].concat()));
    let line = started.lines.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_ne!(line["@message"], "started", "{line}");
    assert!(TcpStream::connect(port).is_err());
    started.signal("TERM");
    assert_eq!(wait(&mut started.child).code(), Some(0));
}

#[test]
fn a_forced_start_is_healthy_without_a_configuration_and_its_calls_fail() {
    let folder = Folder::new(LIMITS);
    let force = [("FORCE_START_WITHOUT_INITIAL_CONFIG", "true")];
    let started = Started::new(&folder, &[&AWAITED[..], &force].concat());
    assert_eq!(started.log.last().unwrap()["config"], "127.0.0.1:1");
    eventually("healthy", || started.is_healthy());
    let mut client = Client::connect(started.address("grpc"));
    assert_eq!(client.try_ask(call(&[("k", "1")])).unwrap_err().code(), Code::Unknown);
}

#[test]
fn the_check_has_the_flags_and_exit_codes_of_envoyproxy_ratelimit() {
    let folder = Folder::new(LIMITS);
    let program = link(folder.0.path(), "ratelimit_config_check");
    let config = folder.config();
    let check = |flags: &[&str]| {
        let output = Command::new(&program).args(flags).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, out) = check(&["-config_dir", config.to_str().unwrap()]);
    assert_eq!((code, out.ends_with("\nall rate limit configs ok\n")), (Some(0), true), "{out}");
    let (code, out) =
        check(&["--merge_domain_configs", &format!("-config_dir={}", config.display())]);
    assert_eq!(code, Some(0), "{out}");
    folder.write("domain: d\ndescriptors:\n  - key: k\n    rate_limit:\n      unit: eon\n");
    let (code, out) = check(&["-config_dir", config.to_str().unwrap()]);
    assert_eq!((code, out.contains("limits.yaml")), (Some(1), true), "{out}");
    assert_eq!(check(&["-config_dir", "nowhere"]).0, Some(1));
    assert_eq!(check(&["-unknown"]).0, Some(2));
}
