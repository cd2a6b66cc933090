//! The suites that start the real binary, in one program, so that the crate is linked into few.
//!
//! What a test needs beside Rust stands in its `ignore`: `cargo test` reports these tests as ignored, and
//! `bash tests/run.sh test` fetches the tools and runs them. Modules named `wall_clock` hold the tests that judge
//! how long something takes; these run alone, as `bash tests/run.sh clock`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_types,
    dead_code,
    unreachable_pub,
    reason = "test code: a failure is a panic, deadlines of processes are in real time, and no suite uses all \
              of what they share"
)]

mod bounds;
#[path = "../support/certificates.rs"]
mod certificates;
mod cli;
mod clients;
#[cfg(feature = "otlp")]
#[path = "../support/collector.rs"]
mod collector;
mod doc_commands;
mod envoy;
#[path = "../support/frames.rs"]
mod frames;
mod h2spec;
#[path = "../support/own_time.rs"]
mod own_time;
#[path = "../support/quota_stream.rs"]
mod quota_stream;
#[path = "../support/random.rs"]
mod random;
#[path = "../support/redis_server.rs"]
mod redis_server;
mod reference;
mod shared;
#[path = "../support/mod.rs"]
mod support;
mod web_servers;
mod xds;

use std::path::PathBuf;

/// A program that the tests need: the one that the environment variable names, else the one that
/// `tests/setup.sh` puts into `target/tools`.
fn tool(variable: &str, path: &str) -> PathBuf {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let path = named.unwrap_or_else(|| {
        let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        PathBuf::from(target).join("tools").join(path)
    });
    let advice = format!("`bash tests/setup.sh` fetches it, or name one in {variable}");
    assert!(path.exists(), "nothing at {}: {advice}", path.display());
    path
}
