//! The samples of `envoy/` under the real Envoy: its binary, ours, and an HTTP client, all on 127.0.0.1.
//!
//! Envoy is `TOLLGATE_ENVOY`, or the one that `tests/setup.sh` puts into `target/tools`. Without either,
//! these tests say so and pass, unless `TOLLGATE_REQUIRE_TOOLS=1`. Each test has an Envoy and a tollgate
//! of its own, so that none spends another's budget.
//!
//! Time is real here: what must be exact is asked of buckets that gain a token in hours, and buckets of
//! a second are emptied in a burst and only then looked at.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

mod brought;
#[path = "../support/certificates.rs"]
mod certificates;
#[path = "../support/collector.rs"]
mod collector;
mod compose;
#[path = "../support/frames.rs"]
mod frames;
mod front;
mod hostile;
mod http;
mod lab;
mod leases;
mod mtls;
mod outage;
mod process;
#[path = "../shared/redis_server.rs"]
#[allow(
    dead_code,
    clippy::print_stderr,
    clippy::disallowed_types,
    reason = "no test uses all of it"
)]
mod redis_server;
mod rolling;
mod routes;
mod samples;
#[path = "../support/mod.rs"]
mod support;
mod tokens;
mod traces;
