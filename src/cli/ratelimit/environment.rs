//! The environment of envoyproxy/ratelimit, read into what it means here.

use std::path::PathBuf;
use std::time::Duration;

use ::tracing::level_filters::LevelFilter;

use super::control_plane;
use super::redis::{self, Redis};
use super::tracing::{self, Tracing};
use super::value::{
    MAX_DURATION, boolean, duration, host_and_port, listen_address, map, number, port,
};
use super::variables::{Problems, Variables};
use super::without_effect;
use crate::cli::logging::{Filter, Format};
use crate::config::ratelimit::{self, RuntimeFolder};
use crate::limit::Counting;
use crate::listener::Address;
use crate::observe::statistics::{Sink, Statistics};
use crate::policy::descriptor_tree::TreeSettings;
use crate::reference::{HealthRules, Ports};
use crate::tls::{ClientAuth, ClientName, Files};
use crate::xds;

/// What the environment says, with the defaults of envoyproxy/ratelimit.
pub(super) struct Environment {
    pub(super) grpc: Address,
    pub(super) ports: Ports,
    /// The certificate of gRPC; plain text if `None`.
    pub(super) grpc_tls: Option<Files>,
    /// The maximum age of a gRPC connection.
    pub(super) max_connection_age: Option<Duration>,
    pub(super) log: (Format, Filter),
    /// `None` only where there is a problem.
    pub(super) source: Option<Source>,
    /// Whether ports are opened before the first configuration has come.
    pub(super) starts_without_config: bool,
    pub(super) health: HealthRules,
    /// The shared store; memory if `None`.
    pub(super) redis: Option<Redis>,
    pub(super) statistics: Statistics,
    pub(super) tracing: Option<Tracing>,
    /// Variables that are set and have no effect here.
    pub(super) without_effect: Vec<String>,
}

/// Where the configuration comes from (`CONFIG_TYPE`).
pub(super) enum Source {
    Files(RuntimeFolder, ratelimit::Settings),
    ControlPlane(xds::Settings, ratelimit::Settings),
}

#[derive(Clone, Copy)]
enum ConfigType {
    File,
    Xds,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Backend {
    Redis,
    Memcache,
}

impl Environment {
    /// Reads the variables. If `has_store`, those of Redis do not matter, whatever they say.
    ///
    /// # Errors
    /// What is wrong with all of them.
    pub(super) fn read(
        variables: impl IntoIterator<Item = (String, String)>,
        has_store: bool,
    ) -> Result<Self, Problems> {
        let mut variables = Variables::new(variables);
        let of = &mut variables;
        let backends =
            [("redis", Backend::Redis), ("", Backend::Redis), ("memcache", Backend::Memcache)];
        let backend = of.choice("BACKEND_TYPE", Backend::Redis, &backends, false);
        let statistics = statistics(of);
        let metrics = match statistics.sink {
            Sink::Prometheus { .. } => Some(metrics(of)),
            _ => None,
        };
        let ports = Ports { main: http(of), debug: debug(of), metrics };
        without_effect::record(of);
        let environment = Self {
            grpc: grpc(of),
            ports,
            grpc_tls: grpc_tls(of),
            max_connection_age: max_connection_age(of),
            log: log(of),
            source: source(of),
            starts_without_config: of.read("FORCE_START_WITHOUT_INITIAL_CONFIG", false, boolean),
            health: HealthRules {
                needs_policy: of.read("HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED", false, boolean),
                needs_store: of.read("REDIS_HEALTH_CHECK_ACTIVE_CONNECTION", false, boolean),
            },
            redis: if backend == Backend::Redis && !has_store { redis::read(of) } else { None },
            statistics,
            tracing: tracing::read(of),
            without_effect: of.take_without_effect(),
        };
        variables.finish().map(|()| environment)
    }
}

fn http(of: &mut Variables) -> Address {
    let port = of.read("PORT", 8080, port);
    of.read("HOST", Address::AllInterfaces(port), |host| listen_address(host, port))
}

fn debug(of: &mut Variables) -> Address {
    let port = of.read("DEBUG_PORT", 6070, port);
    of.read("DEBUG_HOST", Address::AllInterfaces(port), |host| listen_address(host, port))
}

fn grpc(of: &mut Variables) -> Address {
    let port = of.read("GRPC_PORT", 8081, port);
    let all = Address::AllInterfaces(port);
    let address = of.read("GRPC_HOST", all.clone(), |host| listen_address(host, port));
    match of.filled("GRPC_UDS").map(|path| format!("unix:{path}").parse::<Address>()) {
        None => address,
        Some(Ok(socket)) => socket,
        Some(Err(error)) => {
            of.unreadable("GRPC_UDS", &error.to_string());
            address
        }
    }
}

/// The address and the path of the metrics for Prometheus.
fn metrics(of: &mut Variables) -> (Address, String) {
    let address = of.read("PROMETHEUS_ADDR", Address::AllInterfaces(9090), |text| {
        let (host, port) = host_and_port(text)?;
        listen_address(&host, port)
    });
    let path = of.read("PROMETHEUS_PATH", "/metrics".to_owned(), |path| {
        // The other characters have a meaning in a route, or none in a path.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
        let is_path = path.starts_with('/') && path.chars().all(is_plain);
        let error = "not a path; write one such as /metrics, of letters, digits and any of /-_.~";
        if is_path { Ok(path.to_owned()) } else { Err(error.to_owned()) }
    });
    (address, path)
}

fn grpc_tls(of: &mut Variables) -> Option<Files> {
    if !of.read("GRPC_SERVER_USE_TLS", false, boolean) {
        return None;
    }
    let name = of.filled("GRPC_CLIENT_TLS_SAN").map(str::parse::<ClientName>).transpose();
    let names = name.unwrap_or_else(|error| {
        of.unreadable("GRPC_CLIENT_TLS_SAN", &error.to_string());
        None
    });
    let authority = of.filled("GRPC_CLIENT_TLS_CACERT").map(PathBuf::from);
    let names: Vec<_> = names.into_iter().map(ClientName::or_wildcard).collect();
    let mut file = |name: &str| match of.filled(name).map(PathBuf::from) {
        Some(path) => path,
        None => {
            of.unreadable(name, "missing; name the PEM file, since GRPC_SERVER_USE_TLS is true");
            PathBuf::new()
        }
    };
    let (certificate, key) = (file("GRPC_SERVER_TLS_CERT"), file("GRPC_SERVER_TLS_KEY"));
    let client_auth = authority.map(|authority| ClientAuth { authority, names });
    Some(Files { certificate, key, client_auth })
}

/// 0 means that there is none. At least a second, so that connections are not reopened all the time.
fn max_connection_age(of: &mut Variables) -> Option<Duration> {
    let age = of.read("GRPC_MAX_CONNECTION_AGE", Duration::from_secs(86_400), duration);
    let is_limited = !age.is_zero() && age < MAX_DURATION;
    is_limited.then_some(age.max(Duration::from_secs(1)))
}

fn log(of: &mut Variables) -> (Format, Filter) {
    let levels = [
        // Nothing that is logged here is graver than an error.
        ("panic", LevelFilter::ERROR),
        ("fatal", LevelFilter::ERROR),
        ("error", LevelFilter::ERROR),
        ("warn", LevelFilter::WARN),
        ("warning", LevelFilter::WARN),
        ("info", LevelFilter::INFO),
        ("debug", LevelFilter::DEBUG),
        ("trace", LevelFilter::TRACE),
    ];
    let level = of.choice("LOG_LEVEL", LevelFilter::WARN, &levels, true);
    let is_json = of.get("LOG_FORMAT").is_some_and(|format| format.eq_ignore_ascii_case("json"));
    let format = if is_json { Format::Logrus } else { Format::Text };
    (format, Filter::level(level))
}

fn source(of: &mut Variables) -> Option<Source> {
    let settings = settings(of);
    let types = [("FILE", ConfigType::File), ("GRPC_XDS_SOTW", ConfigType::Xds)];
    match of.choice("CONFIG_TYPE", ConfigType::File, &types, false) {
        ConfigType::File => Some(Source::Files(runtime_folder(of), settings)),
        ConfigType::Xds => Some(Source::ControlPlane(control_plane::read(of)?, settings)),
    }
}

fn runtime_folder(of: &mut Variables) -> RuntimeFolder {
    RuntimeFolder {
        root: of.text("RUNTIME_ROOT", "/srv/runtime_data/current").into(),
        subdirectory: of.text("RUNTIME_SUBDIRECTORY", "").into(),
        app_directory: of.text("RUNTIME_APPDIRECTORY", "config").into(),
        ignores_dotfiles: of.read("RUNTIME_IGNOREDOTFILES", false, boolean),
        watches_root: of.read("RUNTIME_WATCH_ROOT", true, boolean),
    }
}

/// What the deployment says of every configuration.
fn settings(of: &mut Variables) -> ratelimit::Settings {
    let headers = [
        ("LIMIT_LIMIT_HEADER", "RateLimit-Limit"),
        ("LIMIT_REMAINING_HEADER", "RateLimit-Remaining"),
        ("LIMIT_RESET_HEADER", "RateLimit-Reset"),
    ];
    let names = headers.map(|(name, default)| {
        let default: Box<str> = default.into();
        of.read(name, default, |text| match text.parse::<http::HeaderName>() {
            Ok(_) => Ok(text.into()),
            Err(_) => Err("not the name of a header; write one such as RateLimit-Limit".to_owned()),
        })
    });
    let has_headers = of.read("LIMIT_RESPONSE_HEADERS_ENABLED", false, boolean);
    let spares = of.read("STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT", false, boolean);
    ratelimit::Settings {
        tree: TreeSettings {
            headers: has_headers.then_some(names),
            is_shadow: of.read("SHADOW_MODE", false, boolean),
            is_quota: of.read("QUOTA_MODE", false, boolean),
            has_metadata: of.read("RESPONSE_DYNAMIC_METADATA", false, boolean),
            counting: if spares { Counting::SpareOthers } else { Counting::Each },
        },
        merges_domains: of.read("MERGE_DOMAIN_CONFIG", false, boolean),
        ..ratelimit::Settings::default()
    }
}

fn statistics(of: &mut Variables) -> Statistics {
    // The ratio is a 32-bit number there, too.
    let ratio = of.read("NEAR_LIMIT_RATIO", 0.8, |text| {
        let error = |_| "not a number; write one such as 0.8".to_owned();
        number(text).and_then(|_| text.parse::<f32>().map_err(error))
    });
    Statistics {
        near_limit_ratio: ratio,
        sink: sink(of),
        flush_interval: of.read("STATS_FLUSH_INTERVAL", Duration::from_secs(10), |text| {
            match duration(text)? {
                Duration::ZERO => Err("must be above 0; write one such as 10s".to_owned()),
                interval => Ok(interval),
            }
        }),
        extra_tags: of.read("EXTRA_TAGS", Vec::new(), map),
    }
}

fn sink(of: &mut Variables) -> Sink {
    let (host, port) = (of.text("STATSD_HOST", "localhost"), of.read("STATSD_PORT", 8125, port));
    let is_udp = of.get("STATSD_PROTOCOL") == Some("udp");
    let is_in_milliseconds = of.read("PROMETHEUS_RESPONSE_TIME_AS_MILLISECONDS", false, boolean);
    let uses = [
        of.read("USE_DOG_STATSD", false, boolean),
        of.read("USE_STATSD", true, boolean),
        of.read("USE_PROMETHEUS", false, boolean),
    ];
    if of.read("DISABLE_STATS", false, boolean) {
        return Sink::Nowhere;
    }
    match uses {
        [false, false, false] => Sink::Log,
        [true, false, false] => Sink::DogStatsd { host, port },
        [false, true, false] => Sink::Statsd { host, port, is_udp },
        [false, false, true] => Sink::Prometheus { is_in_milliseconds },
        _ => {
            let what = "statistics go to one place; set two of USE_STATSD (which is true unless it is \
                        set), USE_DOG_STATSD and USE_PROMETHEUS to false";
            of.unknown("USE_STATSD", what);
            Sink::Nowhere
        }
    }
}

#[cfg(test)]
mod tests;
