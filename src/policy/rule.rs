//! A rule: a bucket at its place in the policy.

use super::identity::Salt;
use crate::limit::Bucket;

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

    /// Whether it denies every call.
    pub const fn is_blocked(&self) -> bool {
        matches!(self.bucket, Bucket::Blocked(_))
    }
}
