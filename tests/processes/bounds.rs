//! What is bounded, what happens beyond, and that those within do not notice.
//!
//! `docs/bounds.md` is the list.

mod beyond;
mod bystanders;
mod harm;
mod http;
mod process;

use super::{frames, own_time, support};
