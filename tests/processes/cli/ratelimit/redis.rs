//! The store in Redis, there and gone.

use tonic::Code;

use super::*;
use crate::certificates::Authority;
use crate::redis_server::{Redis, free_address};
use crate::support::{Client, call};

fn tcp(address: SocketAddr) -> [(&'static str, String); 2] {
    [("REDIS_SOCKET_TYPE", "tcp".to_owned()), ("REDIS_URL", address.to_string())]
}

fn started(folder: &Folder, variables: &[(&str, String)], more: &[(&str, &str)]) -> Started {
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, &**value)).collect();
    Started::new(folder, &[&variables, more].concat())
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn counts_are_shared_by_all_who_name_the_same_server() {
    let (folder, redis) = (Folder::new(LIMITS), Redis::start());
    let [one, other] = [(); 2].map(|()| started(&folder, &tcp(redis.address), &[]));
    assert_eq!((one.json("1").0, other.json("1").0, one.json("1").0), (200, 200, 429));
    let elsewhere = [("CACHE_KEY_PREFIX", "elsewhere")];
    assert_eq!(started(&folder, &tcp(redis.address), &elsewhere).json("1").0, 200);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_unix_socket_and_a_password_lead_to_the_server() {
    let folder = Folder::new(LIMITS);
    let socket = folder.0.path().join("redis.sock");
    let socket = socket.to_str().unwrap();
    let redis = Redis::with(&["--unixsocket", socket, "--requirepass", "word"]);
    let by_socket = [("REDIS_URL", socket), ("REDIS_AUTH", "word")];
    let started = Started::new(&folder, &by_socket);
    eventually("the store is reached", || started.is_healthy());
    assert_eq!((started.json("1").0, started.json("1").0, started.json("1").0), (200, 200, 429));
    drop(redis);
}

/// The server demands a certificate of its own authority.
#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn over_tls_the_server_is_shown_a_certificate() {
    let (folder, files) = (Folder::new(LIMITS), tempfile::tempdir().unwrap());
    let (authority, other) = (Authority::new(), Authority::new());
    let ca = files.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let written = |authority: &Authority, name: &str| {
        let (certificate, key) = authority.issue(&["localhost"]).write(files.path(), name);
        [certificate, key].map(|path| path.to_str().unwrap().to_owned())
    };
    let (ca, server) = (ca.to_str().unwrap(), written(&authority, "server"));
    let port = free_address().port().to_string();
    let of_server = ["--tls-port", &port, "--tls-cert-file", &server[0], "--tls-key-file"];
    let of_clients = ["--tls-ca-cert-file", ca, "--tls-auth-clients", "yes"];
    let _redis = Redis::with(&[&of_server[..], &[&*server[1]], &of_clients].concat());
    let url = format!("localhost:{port}");
    let variables = [
        ("REDIS_SOCKET_TYPE", "tcp"),
        ("REDIS_URL", &*url),
        ("REDIS_TLS", "true"),
        ("REDIS_TLS_CACERT", ca),
    ];
    let start = |shown: Option<&[String; 2]>| {
        let names = ["REDIS_TLS_CLIENT_CERT", "REDIS_TLS_CLIENT_KEY"];
        let files = shown.into_iter().flatten().map(|path| &**path);
        let shown: Vec<_> = names.into_iter().zip(files).collect();
        Started::new(&folder, &[&variables[..], &shown].concat())
    };
    let (own, foreign) = (written(&authority, "client"), written(&other, "other"));
    let shown = start(Some(&own));
    eventually("the store is reached", || shown.is_healthy());
    assert_eq!([(); 3].map(|()| shown.json("1").0), [200, 200, 429]);
    for refused in [None, Some(&foreign)] {
        let started = start(refused);
        assert_eq!((started.json("2").0, started.is_healthy()), (400, false), "{refused:?}");
    }
}

/// Ports are open, so that probes and callers are answered, but no calls are sent here by who asks for the health.
#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn before_the_store_is_there_it_is_unhealthy_and_calls_fail() {
    let folder = Folder::new(LIMITS);
    let address = free_address();
    let started = started(&folder, &tcp(address), &[]);
    assert!(!started.is_healthy());
    let mut client = Client::connect(started.address("grpc"));
    assert_eq!(client.try_ask(call(&[("k", "1")])).unwrap_err().code(), Code::Unavailable);
    assert_eq!(started.json("1").0, 400);
    let _redis = Redis::at(address);
    eventually("it is healthy", || started.is_healthy());
    eventually("it decides", || started.json("1").0 == 200);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn when_the_store_is_lost_calls_fail_and_the_health_stays_good_unless_it_is_asked_for() {
    let (folder, mut redis) = (Folder::new(LIMITS), Redis::start());
    let lax = started(&folder, &tcp(redis.address), &[]);
    let needs = [("REDIS_HEALTH_CHECK_ACTIVE_CONNECTION", "true")];
    let strict = started(&folder, &tcp(redis.address), &needs);
    assert_eq!((lax.json("1").0, strict.json("1").0), (200, 200));
    eventually("both are healthy", || lax.is_healthy() && strict.is_healthy());
    redis.kill();
    eventually("calls fail", || lax.json("2").0 == 400 && strict.json("2").0 == 400);
    eventually("it tells that it has no connection", || !strict.is_healthy());
    eventually("healthy", || lax.is_healthy());
}
