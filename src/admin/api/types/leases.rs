//! Leases: the answers of `/leases` and `/leases/release`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BucketName, List, Time};

/// The slots of a lease in one bucket.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Lease {
    /// The 32 digits of the lease, which allow a caller to release it, for authorized callers; for others the first
    /// eight.
    pub(crate) lease: String,
    #[serde(flatten)]
    pub(crate) bucket: BucketName,
    /// The number of slots that the lease holds.
    pub(crate) slots: u64,
    /// When the slots were taken.
    pub(crate) taken_at: Time,
    /// When the lease expires.
    pub(crate) expires_at: Time,
}

/// The answer of `/leases`: the oldest leases first. The number omitted includes leases with unknown names and, with a
/// shared store, may include leases that another replica has released.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Leases {
    /// The time of the list.
    pub(crate) at: Time,
    #[serde(flatten)]
    pub(crate) list: List<Lease>,
}

/// The request of `/leases/release`.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct ReleaseRequest {
    /// The 32 hexadecimal digits that the acquiring call returned.
    #[schemars(regex(pattern = "^[0-9a-fA-F]{32}$"))]
    pub(crate) lease: String,
}

/// The answer of `/leases/release`.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Released {
    /// The lease that was released.
    pub(crate) released: String,
}
