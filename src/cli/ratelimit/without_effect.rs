//! Variables of envoyproxy/ratelimit that have no effect here.

use super::variables::Variables;

/// Their names; a name that ends in `_` stands for all that begin with it. `docs/ratelimit.md` has the reasons.
const NAMES: [&str; 14] = [
    "DOG_STATSD_MOGRIFIER_",
    "EXPIRATION_JITTER_MAX_SECONDS",
    "GRPC_MAX_CONNECTION_AGE_GRACE",
    "LOCAL_CACHE_SIZE_IN_BYTES",
    "MEMCACHE_",
    "REDIS_CLUSTER_PIPELINE_PARALLELISM",
    "REDIS_PERSECOND",
    "REDIS_PERSECOND_",
    "REDIS_PIPELINE_LIMIT",
    "REDIS_PIPELINE_WINDOW",
    "REDIS_POOL_ON_EMPTY_BEHAVIOR",
    "REDIS_POOL_SIZE",
    "REDIS_STARTUP_",
    "USE_DOG_STATSD_MOGRIFIERS",
];

/// Records the variables that are set and have no effect, in the order of their names.
pub(super) fn record(of: &mut Variables) {
    let is_one = |name: &str| {
        NAMES.iter().any(|other| match other.ends_with('_') {
            true => name.starts_with(other),
            false => name == *other,
        })
    };
    let names: Vec<_> = of.names().filter(|name| is_one(name)).map(str::to_owned).collect();
    names.into_iter().for_each(|name| of.without_effect(name));
    if of.filled("PROMETHEUS_MAPPER_YAML").is_some() {
        of.without_effect("PROMETHEUS_MAPPER_YAML (metrics are mapped as without it)");
    }
    if of.get("BACKEND_TYPE") == Some("memcache") {
        of.without_effect("BACKEND_TYPE=memcache (counts are kept in memory)");
    }
}
