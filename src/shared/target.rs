//! The address of the store of buckets, and how to connect to it.

use std::fmt;
use std::str::FromStr;

use redis::cluster::ClusterClientBuilder;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{Client, ConnectionInfo, IntoConnectionInfo, TlsMode};

use super::tls::TlsFiles;

/// The forms of the address of a shared store.
const FORMS: &str = "`redis://HOST:PORT`, `rediss://HOST:PORT` over TLS, `redis://HOST:PORT,HOST:PORT` for a \
                     cluster, `redis+sentinel://HOST:PORT,HOST:PORT/NAME`";

/// Where buckets are kept.
#[derive(Clone)]
pub enum Target {
    /// In the memory of this process.
    Memory,
    /// On one server.
    Server(ConnectionInfo),
    /// On a cluster with these servers among others.
    Cluster(Vec<ConnectionInfo>),
    /// On the primary that sentinels name.
    Sentinel {
        /// The sentinels.
        sentinels: Vec<ConnectionInfo>,
        /// The name of the primary with its replicas.
        name: String,
        /// The user, if any, and the password for the sentinels themselves; the other servers have those of the
        /// addresses.
        login: Option<(Option<String>, String)>,
    },
}

/// Why a text is not the address of a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The scheme is missing or unknown.
    #[error("unknown kind of store; write `memory`, {FORMS}")]
    Scheme,
    /// The name of the primary is missing.
    #[error("sentinels need the name of the primary; write `redis+sentinel://HOST:PORT/NAME`")]
    NoName,
    /// The path has an `@`, so that it begins with a part of the user or password, which would be logged.
    #[error("an `@` follows the first `/`; write a `/` in a user or a password as `%2F`")]
    Slash,
    /// The address of a server is invalid; its position, from 1. The text is not repeated: it may have a password.
    #[error("server {0} in the address is invalid; write {FORMS}")]
    Server(usize),
}

impl Target {
    /// Whether buckets are in the memory of this process.
    pub const fn is_memory(&self) -> bool {
        matches!(self, Self::Memory)
    }

    /// Sets the user and the password of all servers for which the address has none.
    #[must_use]
    pub fn with_credentials(mut self, user: Option<&str>, password: Option<&str>) -> Self {
        let servers = match &mut self {
            Self::Memory => Default::default(),
            Self::Server(server) => std::slice::from_mut(server),
            Self::Cluster(servers) | Self::Sentinel { sentinels: servers, .. } => servers,
        };
        for server in servers {
            let mut settings = server.redis_settings().clone();
            if let (Some(user), None) = (user, settings.username()) {
                settings = settings.set_username(user);
            }
            if let (Some(password), None) = (password, settings.password()) {
                settings = settings.set_password(password);
            }
            *server = server.clone().set_redis_settings(settings);
        }
        self
    }

    /// What connects to the store; `None` for memory.
    ///
    /// # Errors
    /// Invalid certificates, or servers of a cluster with different settings.
    pub(super) fn connector(&self, tls: &TlsFiles) -> redis::RedisResult<Option<Connector>> {
        Ok(Some(match self {
            Self::Memory => return Ok(None),
            Self::Server(server) => Connector::Server(Box::new(client(server, tls)?)),
            Self::Cluster(servers) => {
                let mut cluster = ClusterClientBuilder::new(servers.clone()).retries(3);
                if is_tls(servers) {
                    if let Some(certificates) = tls.certificates() {
                        cluster = cluster.certs(certificates);
                    }
                    cluster = cluster.danger_accept_invalid_hostnames(tls.accepts_any_name);
                }
                Connector::Cluster(Box::new(cluster.build()?))
            }
            Self::Sentinel { sentinels, name, login } => {
                let addresses = sentinels.iter().map(|sentinel| sentinel.addr().clone());
                let mut builder =
                    SentinelClientBuilder::new(addresses, name, SentinelServerType::Master)?;
                if let Some(settings) = sentinels.first().map(ConnectionInfo::redis_settings) {
                    builder = builder.set_client_to_redis_db(settings.db());
                    if let Some(user) = settings.username() {
                        builder = builder.set_client_to_redis_username(user);
                    }
                    if let Some(password) = settings.password() {
                        builder = builder.set_client_to_redis_password(password);
                    }
                }
                if let Some((user, password)) = login {
                    if let Some(user) = user {
                        builder = builder.set_client_to_sentinel_username(user);
                    }
                    builder = builder.set_client_to_sentinel_password(password);
                }
                if is_tls(sentinels) {
                    builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
                    if let Some(certificates) = tls.certificates() {
                        builder = builder
                            .set_client_to_redis_certificates(certificates.clone())
                            .set_client_to_sentinel_certificates(certificates);
                    }
                }
                Connector::Sentinel(Box::new(builder.build()?))
            }
        }))
    }
}

/// A client of one server.
fn client(server: &ConnectionInfo, tls: &TlsFiles) -> redis::RedisResult<Client> {
    let client = match tls.certificates() {
        Some(certificates) => Client::build_with_tls(server.clone(), certificates)?,
        None => Client::open(server.clone())?,
    };
    if !tls.accepts_any_name {
        return Ok(client);
    }
    let server = client.get_connection_info();
    let mut address = server.addr().clone();
    address.set_danger_accept_invalid_hostnames(true);
    Client::open(server.clone().set_addr(address))
}

fn is_tls(servers: &[ConnectionInfo]) -> bool {
    let is_tls =
        |server: &ConnectionInfo| matches!(server.addr(), redis::ConnectionAddr::TcpTls { .. });
    servers.iter().any(is_tls)
}

/// A client that opens connections.
pub(super) enum Connector {
    Server(Box<Client>),
    Cluster(Box<redis::cluster::ClusterClient>),
    Sentinel(Box<redis::sentinel::SentinelClient>),
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text == "memory" {
            return Ok(Self::Memory);
        }
        let (scheme, rest) = text.split_once("://").ok_or(TargetError::Scheme)?;
        let (scheme, is_sentinel) = match scheme.strip_suffix("+sentinel") {
            Some(scheme) => (scheme, true),
            None => (scheme, false),
        };
        if !matches!(scheme, "redis" | "rediss" | "valkey" | "valkeys") {
            return Err(TargetError::Scheme);
        }
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, path),
            None => (rest, ""),
        };
        if path.contains('@') {
            return Err(TargetError::Slash);
        }
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), authority),
        };
        let (name, path) = match (is_sentinel, path.split_once('/')) {
            (true, Some((name, path))) => (name, path),
            (true, None) => (path, ""),
            (false, _) => ("", path),
        };
        if is_sentinel && name.is_empty() {
            return Err(TargetError::NoName);
        }
        let server = |(at, host): (usize, &str)| {
            // The client takes an empty host for localhost.
            let url = format!("{scheme}://{user}{host}/{path}");
            let server = if host.is_empty() { None } else { url.into_connection_info().ok() };
            server.ok_or(TargetError::Server(at + 1))
        };
        let mut servers =
            hosts.split(',').enumerate().map(server).collect::<Result<Vec<_>, _>>()?;
        Ok(match (is_sentinel, servers.len()) {
            (true, _) => Self::Sentinel { sentinels: servers, name: name.to_owned(), login: None },
            (false, 1) => Self::Server(servers.remove(0)),
            (false, _) => Self::Cluster(servers),
        })
    }
}

/// Shows no users and passwords.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers = match self {
            Self::Memory => return f.write_str("memory"),
            Self::Server(server) => std::slice::from_ref(server),
            Self::Cluster(servers) | Self::Sentinel { sentinels: servers, .. } => servers,
        };
        for (at, server) in servers.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{}", server.addr())?;
        }
        match self {
            Self::Sentinel { name, .. } => write!(f, "/{name}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, TargetError> {
        text.parse::<Target>().map(|target| match &target {
            Target::Memory => "memory".to_owned(),
            Target::Server(_) => format!("server {target}"),
            Target::Cluster(_) => format!("cluster {target}"),
            Target::Sentinel { .. } => format!("sentinel {target}"),
        })
    }

    #[test]
    fn an_address_selects_the_kind_of_store() {
        let read = |text| read(text).unwrap();
        assert_eq!(read("memory"), "memory");
        assert_eq!(read("redis://one:7000/3"), "server one:7000");
        assert_eq!(read("rediss://me:secret@one"), "server one:6379");
        assert_eq!(read("redis://:secret@one:1,two:2"), "cluster one:1,two:2");
        assert_eq!(read("redis+sentinel://one:1,two:2/main/4"), "sentinel one:1,two:2/main");
    }

    #[test]
    fn an_invalid_address_is_rejected_without_repeating_it() {
        assert_eq!(read("memcached://one"), Err(TargetError::Scheme));
        assert_eq!(read("one:6379"), Err(TargetError::Scheme));
        assert_eq!(read("redis+sentinel://one:1"), Err(TargetError::NoName));
        assert_eq!(read("redis://one:1,,two:2"), Err(TargetError::Server(2)));
        for secret in ["redis+sentinel://me:1/2@one:1/main", "redis+sentinel://me:1/2@one"] {
            assert_eq!(read(secret), Err(TargetError::Slash), "{secret}");
        }
        assert_eq!(read("redis://:1%2F2@one").unwrap(), "server one:6379");
        let error = read("redis://me:secret@one:port").unwrap_err();
        assert_eq!(error, TargetError::Server(1));
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn passwords_are_not_shown_and_those_of_the_address_come_first() {
        let target: Target = "redis://me:secret@one:1,two:2/5".parse().unwrap();
        let target = target.with_credentials(Some("other"), Some("word"));
        let shown = format!("{target} {target:?}");
        assert!(!shown.contains("secret") && !shown.contains("me"), "{shown}");
        let Target::Cluster(servers) = target else { panic!("{shown}") };
        for server in servers {
            let settings = server.redis_settings();
            assert_eq!((settings.username(), settings.password()), (Some("me"), Some("secret")));
            assert_eq!(settings.db(), 5);
        }
        let target: Target = "redis://one".parse().unwrap();
        let Target::Server(server) = target.with_credentials(Some("other"), Some("word")) else {
            panic!("{shown}")
        };
        assert_eq!(server.redis_settings().password(), Some("word"));
    }
}
