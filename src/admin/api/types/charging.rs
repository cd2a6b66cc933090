//! How a row is charged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limit::{Bucket, Counting, Debt};
use crate::policy::rule::Rule;
use crate::policy::table::Row;

/// When the hits of a request are charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Charge {
    /// If all buckets of the request admit it.
    IfAdmitted,
    /// Whatever is left, and whether or not the request is admitted.
    Always,
    /// By windows that are over their limit in any case; by others if no window of the request is.
    SpareOthers,
}

/// How the buckets of a row are charged.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Charging {
    /// When hits are charged.
    pub(crate) charge: Charge,
    /// The most tokens that a bucket may owe; null if none is set, or if it never owes.
    pub(crate) most_owed: Option<u32>,
}

impl Charging {
    /// How a bucket is charged, by what its windows count, and what it may owe.
    pub(crate) fn of(bucket: Option<&Bucket>, counting: Counting, debt: Option<Debt>) -> Self {
        let charge = match (bucket, counting) {
            (Some(Bucket::Window(_)), Counting::Each) => Charge::Always,
            (Some(Bucket::Window(_)), Counting::SpareOthers) => Charge::SpareOthers,
            _ if debt.is_some() => Charge::Always,
            _ => Charge::IfAdmitted,
        };
        Self { charge, most_owed: debt.and_then(Debt::most_owed) }
    }

    /// How a row charges the bucket of a rule.
    pub(crate) fn of_row(row: &Row, rule: Option<&Rule>) -> Self {
        Self::of(rule.map(Rule::bucket), row.counting(), row.debt())
    }
}
