//! How a row is charged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limit::Debt;

/// When the hits of a request are charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Charge {
    /// If all buckets of the request admit it.
    IfAdmitted,
    /// Whatever is left, and whether or not the request is admitted.
    Always,
}

/// How the token buckets of a row are charged.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Charging {
    /// When hits are charged.
    pub(crate) charge: Charge,
    /// The most tokens that a bucket may owe; null if none is set, or if it never owes.
    pub(crate) most_owed: Option<u32>,
}

impl From<Option<Debt>> for Charging {
    fn from(debt: Option<Debt>) -> Self {
        let charge = if debt.is_some() { Charge::Always } else { Charge::IfAdmitted };
        Self { charge, most_owed: debt.and_then(Debt::most_owed) }
    }
}
