//! Policies: the answers of `/config` and `/reload`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Charge, Charging, Milliseconds, Time};
use crate::policy::{HeaderStyle, OnStoreError};

/// The result of a reload.
#[derive(Debug, Clone, Copy, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ReloadResult {
    /// New policies are in force.
    Changed,
    /// The files have not changed.
    Unchanged,
}

/// The answer of `/reload` if the policies are valid.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Reload {
    /// The result.
    pub(crate) result: ReloadResult,
    /// The version of the policies in force, as in `/config`.
    pub(crate) version: String,
    /// The warnings about the policies in force, as in `/config`.
    pub(crate) warnings: Vec<String>,
}

/// The answer of `/reload` if the policies are not valid.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct ReloadRejected {
    /// That they were rejected.
    pub(crate) error: String,
    /// All problems, one per item.
    pub(crate) problems: Vec<String>,
    /// The version of the policies in force, as in `/config`.
    pub(crate) version: String,
}

/// The control plane that policies come from.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct ControlPlane {
    /// Its host and port.
    pub(crate) server: String,
    /// Whether it is connected.
    pub(crate) connected: bool,
    /// Since when it is connected, or is not.
    pub(crate) since_at: Time,
    /// Why a connection ended last, or could not be opened; null if none did.
    pub(crate) error: Option<ConnectionError>,
    /// Whether it has sent no policies yet. Calls fail until then.
    pub(crate) awaited: bool,
}

/// Why a connection ended, or could not be opened.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct ConnectionError {
    /// When.
    pub(crate) at: Time,
    /// Why.
    pub(crate) error: String,
}

/// The policies that were read last, if they were rejected.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Rejected {
    /// When they were rejected.
    pub(crate) at: Time,
    /// All problems, one line per item.
    pub(crate) problems: Vec<String>,
}

/// The answer of `/config`: the policies in force, in their compiled form.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Config {
    /// The policies that were read last, if they were rejected.
    pub(crate) rejected: Option<Rejected>,
    /// SHA-256 of the files, in the order of their names; or the version of the control plane, which is empty before the
    /// first one, with `, in part` if some of its domains were refused.
    pub(crate) version: String,
    /// When the policies came into force.
    pub(crate) loaded_at: Time,
    /// The control plane that the policies come from; null if they come from files.
    pub(crate) control_plane: Option<ControlPlane>,
    /// The files that the policies were read from, or the control plane.
    pub(crate) sources: Vec<String>,
    /// What the policies in force are warned of, one line per item: what is valid, but limits less than it seems.
    pub(crate) warnings: Vec<String>,
    /// The policies, ordered by domain.
    pub(crate) policies: Vec<Policy>,
}

/// Which response headers report the remaining limit.
#[derive(Debug, Clone, Copy, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Headers {
    /// `x-ratelimit-*`, with the reset in seconds since the Unix epoch.
    Epoch,
    /// `x-ratelimit-*`, with the reset in seconds from now.
    Delta,
    /// `ratelimit` and `ratelimit-policy`.
    Ietf,
    /// None.
    Off,
}

impl From<HeaderStyle> for Headers {
    fn from(style: HeaderStyle) -> Self {
        match style {
            HeaderStyle::Epoch => Self::Epoch,
            HeaderStyle::Delta => Self::Delta,
            HeaderStyle::Ietf => Self::Ietf,
            HeaderStyle::Off => Self::Off,
        }
    }
}

/// What happens to a call while the shared store does not answer.
#[derive(Debug, Clone, Copy, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreErrorAction {
    /// The call is allowed.
    Allow,
    /// The call is denied.
    Deny,
    /// The call fails with an error.
    Fail,
    /// The call is decided in this process's memory.
    Local,
}

impl From<OnStoreError> for StoreErrorAction {
    fn from(action: OnStoreError) -> Self {
        match action {
            OnStoreError::Allow => Self::Allow,
            OnStoreError::Deny => Self::Deny,
            OnStoreError::Fail => Self::Fail,
            OnStoreError::Local => Self::Local,
        }
    }
}

/// The policy of one domain.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Policy {
    /// The domain.
    pub(crate) domain: String,
    /// Which response headers report the remaining limit.
    pub(crate) headers: Headers,
    /// What happens to a call while the shared store does not answer.
    pub(crate) on_store_error: StoreErrorAction,
    /// For how long admissions are prepaid in a shared store; null if each call is asked for by itself, or without a shared
    /// store.
    pub(crate) store_prepaid_ms: Option<Milliseconds>,
    /// The entry whose value determines the partition of a bucket in a shared store, if the bucket's key has it.
    pub(crate) partition: String,
    /// The endpoint group of each endpoint.
    pub(crate) endpoints: BTreeMap<String, String>,
    /// The tables, in the order of the file.
    pub(crate) tables: Vec<Table>,
    /// The conditions under which a call is not limited.
    pub(crate) bypass: Vec<String>,
    /// The limits of a descriptor tree, in the order of the file; empty for a policy of tables.
    pub(crate) limits: Vec<TreeLimit>,
}

/// A limit of a descriptor tree.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct TreeLimit {
    /// The nodes that lead to it, each with its key, or its key and value joined by `_`, and joined by dots.
    pub(crate) path: String,
    /// The limit, as in `5 each minute`; null if it is unlimited.
    pub(crate) limit: Option<String>,
    /// The name by which clients are told of it, and by which others replace it; may be empty.
    pub(crate) name: String,
    /// The names of the limits that it replaces.
    pub(crate) replaces: Vec<String>,
    /// Whether it is in shadow, so that it denies no call.
    pub(crate) shadow: bool,
    /// Whether it denies a call only together with all other quotas of the call.
    pub(crate) quota: bool,
    /// When hits are charged.
    pub(crate) charge: Charge,
}

/// A table.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: String,
    /// The conditions under which it applies.
    pub(crate) when: String,
    /// The entry whose value selects the row; null for a table with one row for all calls.
    pub(crate) select: Option<String>,
    /// The entries that name its buckets.
    pub(crate) key: Vec<String>,
    /// How many bits of an address count; null if the key has no address.
    pub(crate) prefix: Option<Prefix>,
    /// The rows, in the order of the file.
    pub(crate) rows: Vec<Row>,
}

/// The prefix length of the networks that share a bucket, in bits.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Prefix {
    /// Of IPv4 addresses.
    pub(crate) ipv4: u8,
    /// Of IPv6 addresses.
    pub(crate) ipv6: u8,
}

/// A row of a table.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) name: String,
    /// Its buckets; empty if it is unlimited.
    pub(crate) buckets: Vec<String>,
    /// Whether it is in shadow, so that it denies no call.
    pub(crate) shadow: bool,
    #[serde(flatten)]
    pub(crate) charging: Charging,
    /// The message to a denied client.
    pub(crate) message: String,
    /// The overrides of the row.
    pub(crate) overrides: Vec<Override>,
}

/// Buckets that replace those of a row.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Override {
    /// The conditions under which the override applies.
    pub(crate) when: String,
    /// When the override ends; null for no end.
    pub(crate) until: Option<Time>,
    /// Its buckets; empty if calls are unlimited.
    pub(crate) buckets: Vec<String>,
}
