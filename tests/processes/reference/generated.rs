//! Generated configurations and requests: whatever they are, all answer the same.
//!
//! What fails is told with its seed, its configuration, and all that was asked before. `TOLLGATE_SEED` and
//! `TOLLGATE_REQUESTS` have other scripts, and longer ones.

use tollgate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;

use super::generator::{Features, Tree};
use super::script::{self, Script};
use super::sides::{self, Deployment, Sides, Version};
use crate::random::Random;

/// How many trees a deployment has, and how many requests each is asked.
const TREES: u64 = 24;
const REQUESTS: usize = 25;

/// The attempts at a script have a domain each.
const ATTEMPTS: usize = 5;

fn number<T: std::str::FromStr>(variable: &str, default: T) -> T {
    std::env::var(variable).ok().map_or(default, |given| given.parse().ok().unwrap())
}

fn tree(seed: u64, attempt: usize, features: Features) -> (Tree, Random) {
    let mut random = Random(seed);
    let tree = Tree::new(format!("seed {seed} {attempt}"), &mut random, features);
    (tree, random)
}

/// All that these features allow, with this environment.
fn compare(first: u64, features: Features, environment: &[(&'static str, &str)]) {
    let seeds = number("TOLLGATE_SEED", first)..;
    let seeds: Vec<u64> = seeds.take(usize::try_from(TREES).unwrap()).collect();
    let requests = number("TOLLGATE_REQUESTS", REQUESTS);
    let mut deployment = Deployment::of(&[], environment);
    for seed in &seeds {
        for attempt in 0..ATTEMPTS {
            let (tree, _) = tree(*seed, attempt, features);
            deployment.files.push((format!("{seed}-{attempt}.yaml"), tree.yaml()));
        }
    }
    // Where the reference is older than that, tollgate in memory is held to tollgate over Redis.
    let sides = match features.version {
        Version::Pinned => Sides::all(&deployment),
        Version::Later => Sides::later(&deployment),
    };
    let unit = if features.has_seconds { Unit::Second } else { Unit::Minute };
    for seed in seeds {
        script::attempt(&format!("seed {seed}"), unit, |attempt| {
            let (tree, mut random) = tree(seed, attempt, features);
            let mut script = Script::begin(&sides, tree.domain.clone(), unit);
            script.note(format!("seed {seed}, {environment:?}\n{}", tree.yaml()));
            for _ in 0..requests {
                _ = script.send(&tree.request(&mut random, features))?;
            }
            Ok(())
        });
    }
}

/// What the reference that there is has, but limits of a second.
fn features() -> Features {
    Features { version: sides::version(), has_seconds: false, has_brought: true }
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn any_tree() {
    compare(1_000, features(), &[]);
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn any_tree_with_limits_of_a_second() {
    compare(2_000, Features { has_seconds: true, ..features() }, &[]);
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn any_tree_with_headers_and_dynamic_metadata() {
    let on = [("LIMIT_RESPONSE_HEADERS_ENABLED", "true"), ("RESPONSE_DYNAMIC_METADATA", "true")];
    compare(3_000, features(), &on);
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn any_tree_in_shadow() {
    compare(4_000, features(), &[("SHADOW_MODE", "1"), ("LIMIT_RESPONSE_HEADERS_ENABLED", "T")]);
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn any_tree_whose_counters_are_spared() {
    compare(5_000, features(), &[("STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT", "true")]);
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn any_tree_with_a_local_cache() {
    // What is remembered is the counter, whatever number comes with a descriptor.
    let features = Features { has_brought: false, ..features() };
    compare(6_000, features, &[("LOCAL_CACHE_SIZE_IN_BYTES", "1000000")]);
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn any_tree_of_quotas() {
    let features = Features { version: Version::Later, ..features() };
    compare(7_000, features, &[("QUOTA_MODE", "true")]);
}

#[test]
#[ignore = "needs the reference and Redis; bash tests/run.sh"]
fn any_tree_of_a_later_version() {
    let features = Features { version: Version::Later, ..features() };
    compare(8_000, features, &[("RESPONSE_DYNAMIC_METADATA", "true")]);
}
