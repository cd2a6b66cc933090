//! The shares of Envoys that limit by themselves: the answer of `/shares`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KeyEntry, List, Time};

/// The answer of `/shares`: the largest shares first.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Shares {
    /// The time of the list.
    pub(crate) at: Time,
    #[serde(flatten)]
    pub(crate) list: List<Share>,
}

/// What an Envoy may let through of the requests of one bucket id.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Share {
    /// The number of the Envoy's stream; null if it has ended and the share is kept for a while.
    pub(crate) stream: Option<u64>,
    /// The domain of the policy.
    pub(crate) domain: String,
    /// The entries of the bucket id, ordered by key.
    pub(crate) id: Vec<KeyEntry>,
    /// The rows whose buckets it shares.
    pub(crate) rows: Vec<ShareRow>,
    /// The requests a second of its last report, let through or denied; null before one tells.
    pub(crate) demand: Option<f64>,
    /// What the Envoy was told last; null if it was told nothing yet.
    pub(crate) assignment: Option<Assigned>,
}

/// A row of the policy.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct ShareRow {
    pub(crate) table: String,
    pub(crate) row: String,
}

/// What an Envoy was told.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Assigned {
    /// To let every request through.
    AllowAll,
    /// To let none through.
    DenyAll,
    /// To let as many through as a token bucket has.
    TokenBucket {
        /// The tokens that it gains each second.
        per_second: f64,
        /// Its size.
        size: u32,
    },
}
