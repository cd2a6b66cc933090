//! The variables of the store.

use std::path::PathBuf;
use std::time::Duration;

use ::redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use super::value::{boolean, host_and_port, timeout};
use super::variables::Variables;
use crate::cli::values::{DEFAULT_PREFIX, prefix};
use crate::shared::Tls;
use crate::shared::target::Target;

/// A shared store in Redis.
#[derive(Debug)]
pub(super) struct Redis {
    pub(super) target: Target,
    pub(super) tls: Tls,
    pub(super) prefix: String,
    pub(super) timeout: Duration,
}

/// The variables that name a server. With none of them, counts are kept in memory.
const OF_SERVER: [&str; 4] = ["REDIS_URL", "REDIS_SOCKET_TYPE", "REDIS_TYPE", "REDIS_AUTH"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Single,
    Cluster,
    Sentinel,
}

/// The store in Redis; `None` if the counts are kept in memory, or if there is a problem.
///
/// `REDIS_PERSECOND` names a second server, for limits per second. It is not used: it was made for servers that one
/// process of Redis could not keep up with, and a script there decides on all limits of a request at once, which two
/// servers cannot. Limits per second are kept with the others; `REDIS_TYPE=CLUSTER` spreads them over several servers.
pub(super) fn read(of: &mut Variables) -> Option<Redis> {
    if !OF_SERVER.iter().any(|name| of.has(name)) {
        return None;
    }
    let kinds = [Kind::Single, Kind::Cluster, Kind::Sentinel];
    let kind_of = |text: &str| {
        let kind = kinds.into_iter().find(|kind| format!("{kind:?}").eq_ignore_ascii_case(text));
        kind.ok_or_else(|| "unknown; write SINGLE, CLUSTER or SENTINEL".to_owned())
    };
    let kind = of.read("REDIS_TYPE", Kind::Single, kind_of);
    // Only for a single server: the others are reached by TCP.
    let is_unix = of.read("REDIS_SOCKET_TYPE", true, |text| match text {
        "unix" => Ok(true),
        "tcp" | "tcp4" | "tcp6" => Ok(false),
        _ => Err("unknown; write tcp or unix".to_owned()),
    });
    let is_tls = of.read("REDIS_TLS", false, boolean);
    let tls = tls(of, kind);
    let prefix = match of.filled("CACHE_KEY_PREFIX") {
        None => DEFAULT_PREFIX.to_owned(),
        Some(_) => of.read("CACHE_KEY_PREFIX", String::new(), prefix),
    };
    let timeout = of.read("REDIS_TIMEOUT", Duration::from_secs(10), timeout);
    let url = of.text("REDIS_URL", "/var/run/nutcracker/ratelimit.sock");
    let login = of.filled("REDIS_AUTH").map(login);
    let target = match kind {
        Kind::Single if url.contains("://") => url.parse().map_err(|error| format!("{error}")),
        Kind::Single if is_unix => server(ConnectionAddr::Unix(url.into())).map(Target::Server),
        Kind::Single => tcp(&url, is_tls).map(Target::Server),
        Kind::Cluster => servers(&url, is_tls).map(Target::Cluster),
        Kind::Sentinel => sentinels(&url, is_tls, of.filled("REDIS_SENTINEL_AUTH")),
    };
    match target {
        Ok(target) => {
            let target = match login {
                Some((user, password)) => target.with_credentials(user.as_deref(), Some(&password)),
                None => target,
            };
            Some(Redis { target, tls, prefix, timeout })
        }
        Err(what) => {
            of.unreadable("REDIS_URL", &what);
            None
        }
    }
}

fn tls(of: &mut Variables, kind: Kind) -> Tls {
    let file = |name: &str| of.filled(name).map(PathBuf::from);
    let client = file("REDIS_TLS_CLIENT_CERT").zip(file("REDIS_TLS_CLIENT_KEY"));
    let root = file("REDIS_TLS_CACERT");
    let skip = "REDIS_TLS_SKIP_HOSTNAME_VERIFICATION";
    let accepts_any_name = of.read(skip, false, boolean);
    if accepts_any_name && kind == Kind::Sentinel {
        of.unreadable(skip, "cannot be had with REDIS_TYPE=SENTINEL; give the servers certificates with their names");
    }
    Tls { root, client, accepts_any_name }
}

/// User and password: `PASSWORD`, or `USER:PASSWORD`.
fn login(text: &str) -> (Option<String>, String) {
    match text.split_once(':') {
        Some((user, password)) => (Some(user.to_owned()), password.to_owned()),
        None => (None, text.to_owned()),
    }
}

fn server(address: ConnectionAddr) -> Result<ConnectionInfo, String> {
    address.into_connection_info().map_err(|error| error.to_string())
}

fn tcp(text: &str, is_tls: bool) -> Result<ConnectionInfo, String> {
    let (host, port) = host_and_port(text)?;
    // As Go does.
    let host = if host.is_empty() { "localhost".to_owned() } else { host };
    server(match is_tls {
        false => ConnectionAddr::Tcp(host, port),
        true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
    })
}

fn servers(text: &str, is_tls: bool) -> Result<Vec<ConnectionInfo>, String> {
    let servers = text.split(',').map(|text| tcp(text, is_tls));
    servers.collect::<Result<_, _>>().map_err(|what| format!("{what},HOST:PORT,..."))
}

fn sentinels(text: &str, is_tls: bool, auth: Option<&str>) -> Result<Target, String> {
    const FORM: &str = "write the name of the primary and the sentinels: NAME,HOST:PORT,...";
    let (name, sentinels) = text.split_once(',').ok_or(FORM)?;
    let sentinels = servers(sentinels, is_tls).map_err(|_| FORM)?;
    Ok(Target::Sentinel { sentinels, name: name.to_owned(), login: auth.map(login) })
}

#[cfg(test)]
mod tests {
    use ::redis::RedisConnectionInfo;

    use super::*;

    /// The target as it is shown, with its kind, user and password; or the problems.
    fn target(pairs: &[(&str, &str)]) -> Result<Option<Redis>, String> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut variables = Variables::new(pairs);
        let read = read(&mut variables);
        variables.finish().map(|()| read).map_err(|problems| problems.to_string())
    }

    fn settings(of: &Redis) -> (String, &RedisConnectionInfo) {
        match &of.target {
            Target::Memory => panic!("memory"),
            Target::Server(server) => {
                (format!("single {}", server.addr()), server.redis_settings())
            }
            Target::Cluster(servers) => {
                (format!("cluster {}", of.target), servers[0].redis_settings())
            }
            Target::Sentinel { sentinels, .. } => {
                (format!("sentinel {}", of.target), sentinels[0].redis_settings())
            }
        }
    }

    #[test]
    fn without_a_variable_of_a_server_counts_are_in_memory() {
        assert!(target(&[]).unwrap().is_none());
        assert!(target(&[("REDIS_POOL_SIZE", "5"), ("REDIS_TIMEOUT", "1s")]).unwrap().is_none());
    }

    #[test]
    fn the_type_decides_how_the_url_is_read() {
        let tcp = ("REDIS_SOCKET_TYPE", "tcp");
        for (pairs, expected) in [
            (&[("REDIS_TYPE", "SINGLE")][..], "single /var/run/nutcracker/ratelimit.sock"),
            (&[("REDIS_URL", "/run/redis.sock")], "single /run/redis.sock"),
            (&[tcp, ("REDIS_URL", "redis:6379")], "single redis:6379"),
            (&[tcp, ("REDIS_URL", "[::1]:6379")], "single ::1:6379"),
            (&[tcp, ("REDIS_URL", ":6379")], "single localhost:6379"),
            (&[tcp, ("REDIS_URL", "redis://redis:6380/2")], "single redis:6380"),
            (&[("REDIS_TYPE", "cluster"), ("REDIS_URL", "a:1,b:2")], "cluster a:1,b:2"),
            (&[("REDIS_TYPE", "SENTINEL"), ("REDIS_URL", "main,a:1,b:2")], "sentinel a:1,b:2/main"),
        ] {
            let redis = target(pairs).unwrap().unwrap();
            assert_eq!(settings(&redis).0, expected, "{pairs:?}");
            assert_eq!((&*redis.prefix, redis.timeout), ("tollgate", Duration::from_secs(10)));
        }
    }

    #[test]
    fn a_login_is_a_password_or_a_user_with_one() {
        let with = |auth| {
            let pairs = [("REDIS_SOCKET_TYPE", "tcp"), ("REDIS_URL", "a:1"), ("REDIS_AUTH", auth)];
            let redis = target(&pairs).unwrap().unwrap();
            let (_, settings) = settings(&redis);
            let text = |text: Option<&str>| text.map(str::to_owned);
            (text(settings.username()), text(settings.password()))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(with("secret"), (None, some("secret")));
        assert_eq!(with("me:sec:ret"), (some("me"), some("sec:ret")));
        assert_eq!(with(""), (None, None));
        let pairs = [
            ("REDIS_TYPE", "SENTINEL"),
            ("REDIS_URL", "main,a:1"),
            ("REDIS_AUTH", "one"),
            ("REDIS_SENTINEL_AUTH", "me:two"),
        ];
        let redis = target(&pairs).unwrap().unwrap();
        assert_eq!(settings(&redis).1.password(), Some("one"));
        let Target::Sentinel { login, .. } = redis.target else { panic!() };
        assert_eq!(login, Some((some("me"), "two".to_owned())));
    }

    #[test]
    fn tls_has_the_certificates_that_are_named() {
        let pairs = [
            ("REDIS_SOCKET_TYPE", "tcp"),
            ("REDIS_URL", "a:1"),
            ("REDIS_TLS", "true"),
            ("REDIS_TLS_CACERT", "ca.pem"),
            ("REDIS_TLS_CLIENT_CERT", "c.pem"),
            ("REDIS_TLS_CLIENT_KEY", "k.pem"),
            ("REDIS_TLS_SKIP_HOSTNAME_VERIFICATION", "1"),
            ("REDIS_TIMEOUT", "250ms"),
            ("CACHE_KEY_PREFIX", "edge:"),
        ];
        let redis = target(&pairs).unwrap().unwrap();
        assert!(matches!(&redis.target, Target::Server(server)
            if matches!(server.addr(), ConnectionAddr::TcpTls { .. })));
        assert_eq!(redis.tls.root, Some("ca.pem".into()));
        assert_eq!(redis.tls.client, Some(("c.pem".into(), "k.pem".into())));
        assert!(redis.tls.accepts_any_name);
        assert_eq!((&*redis.prefix, redis.timeout), ("edge:", Duration::from_millis(250)));
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_variable_and_without_secrets() {
        let tcp = ("REDIS_SOCKET_TYPE", "tcp");
        for (pairs, told) in [
            (&[tcp][..], "REDIS_URL: write HOST:PORT"),
            (&[tcp, ("REDIS_URL", "redis")], "REDIS_URL=redis: write HOST:PORT"),
            (&[("REDIS_SOCKET_TYPE", "udp")], "REDIS_SOCKET_TYPE=udp: unknown; write tcp or unix"),
            (
                &[("REDIS_TYPE", "RING")],
                "REDIS_TYPE=RING: unknown; write SINGLE, CLUSTER or SENTINEL",
            ),
            (
                &[("REDIS_TYPE", "SENTINEL"), ("REDIS_URL", "main")],
                "REDIS_URL=main: write the name",
            ),
            (&[tcp, ("REDIS_URL", "http://:pass@a:1")], "REDIS_URL: unknown kind of store"),
            (
                &[tcp, ("REDIS_URL", "a:1"), ("CACHE_KEY_PREFIX", "a{b")],
                "CACHE_KEY_PREFIX=a{b: write",
            ),
        ] {
            let problems = target(pairs).unwrap_err();
            assert!(problems.starts_with(told), "{pairs:?}: {problems}");
            assert!(!problems.contains("pass@"), "{problems}");
        }
    }
}
