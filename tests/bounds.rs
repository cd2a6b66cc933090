//! What is bounded, what happens beyond, and that those within do not notice.
//!
//! `docs/bounds.md` is the list.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

#[path = "bounds/beyond.rs"]
mod beyond;
#[path = "bounds/bystanders.rs"]
mod bystanders;
#[path = "support/frames.rs"]
mod frames;
#[path = "bounds/harm.rs"]
mod harm;
#[path = "bounds/http.rs"]
mod http;
#[path = "support/own_time.rs"]
mod own_time;
#[path = "bounds/process.rs"]
mod process;
mod support;
