//! The store that replicas share, on real servers: the same decisions as in memory, one budget over many
//! processes, and what becomes of calls while the store is away.
//!
//! The servers are `redis-server`, or what `TOLLGATE_REDIS` names, and for most of them once more Valkey:
//! `valkey-server`, or what `TOLLGATE_VALKEY` names.

mod admin;
mod clocks;
mod cluster;
mod lengthening;
mod local;
mod login;
mod near;
mod plain;
mod prepaid;
mod process;
mod quotas;
mod reasons;
mod reconnects;
mod refusals;
mod releases;
mod replicas;
mod restarts;
mod same;
mod scripts;
mod sentinel;
mod stores;
mod usage;
mod valkey;
mod windows;
mod wrong_denials;

use super::{quota_stream, redis_server, support};
