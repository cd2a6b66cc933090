//! The store that replicas share, on real servers: the same decisions as in memory, one budget over many
//! processes, and what becomes of calls while the store is away.
//!
//! The servers are `redis-server`, or what `TOLLGATE_REDIS` names, and for most of them once more Valkey:
//! `valkey-server`, or what `TOLLGATE_VALKEY` names. Without one these tests say so and pass, unless
//! `TOLLGATE_REQUIRE_TOOLS=1`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_types,
    dead_code,
    unreachable_pub,
    reason = "test code: a failure is a panic, and how long a call waits is real time"
)]

mod admin;
mod clocks;
mod cluster;
mod local;
mod login;
mod near;
mod process;
mod redis_server;
mod refusals;
mod releases;
mod replicas;
mod same;
mod scripts;
mod sentinel;
#[path = "../support/mod.rs"]
mod support;
mod valkey;
