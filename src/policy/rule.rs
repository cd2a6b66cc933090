//! A rule: a bucket at its place in the policy.

use std::sync::Arc;

use super::identity::Salt;
use crate::limit::{Bucket, LimitChanges};

/// The number of a rule within its policy, counted through all rows and overrides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleId(pub(super) usize);

impl RuleId {
    /// The number.
    pub const fn get(self) -> usize {
        self.0
    }
}

/// A bucket at its place in the policy.
#[derive(Debug, Clone)]
pub struct Rule {
    pub(super) id: RuleId,
    pub(super) bucket: Bucket,
    pub(super) salt: Salt,
    /// Shared by the rules of the row and its overrides that limit the same buckets. None until the policy comes into
    /// force.
    pub(super) changes: Option<Arc<LimitChanges>>,
}

impl Rule {
    /// The rule's number.
    pub const fn id(&self) -> RuleId {
        self.id
    }

    /// The bucket's limit.
    pub const fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// When the limit of its buckets changed; `None` if the policy was never in force.
    pub fn changes(&self) -> Option<&LimitChanges> {
        self.changes.as_deref()
    }

    /// As [`Self::changes`], to be kept.
    pub fn shared_changes(&self) -> Option<Arc<LimitChanges>> {
        self.changes.clone()
    }

    /// Whether it denies every call.
    pub const fn is_blocked(&self) -> bool {
        matches!(self.bucket, Bucket::Blocked(_))
    }
}
