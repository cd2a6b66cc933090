//! The suites that need no process of their own, in one program: each program has all of the crate compiled
//! into it and linked. Those that count a process's memory or threads, fill it, or change what all of it has
//! are programs of their own, beside this one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

mod admin;
mod blocked;
mod calls;
#[path = "../support/certificates.rs"]
mod certificates;
mod changed_limits;
mod codec;
mod config_errors;
mod config_warnings;
mod decisions;
mod dependencies;
mod deploy;
mod descriptor_trees;
mod docs;
mod examples;
mod explain_bucket;
#[path = "../support/frames.rs"]
mod frames;
mod leases;
mod metrics;
mod modules;
mod near;
mod openapi;
mod page;
mod policy_file;
mod policy_rows;
mod prepaid;
mod property;
#[path = "../support/quota_stream.rs"]
mod quota_stream;
mod quotas;
mod races;
#[path = "../support/random.rs"]
mod random;
mod ratelimit_config;
mod ratelimit_folder;
mod release;
mod repeated_keys;
mod replay;
mod replies;
mod shares;
mod shutdown;
mod snapshot;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod top;
mod usage;
mod wall_clock_set;
