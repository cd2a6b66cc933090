//! The reply of a descriptor tree: statuses, headers and metadata as those of envoyproxy/ratelimit.

use super::{Header, Headers, Metadata, Reply, Status, status_limit};
use crate::decision::{Decided, Verdict};
use crate::policy::Plan;
use crate::policy::descriptor_tree::TreeSettings;
use crate::policy::metadata::{self, Map, Value};

/// The field of the metadata with what the limits say.
const METADATA: &str = "metadata";

impl Reply<'_> {
    /// The reply to a request with this number of descriptors whose domain has no policy. `request` are the fields of the
    /// metadata that tell of the request, if a deployment asks for metadata.
    pub fn without_policy(descriptors: usize, request: Option<Map>) -> Self {
        let metadata = Metadata { of_tree: request, ..Metadata::default() };
        Self { metadata, ..Self::unlimited(descriptors) }
    }
}

/// Composes the reply to a query with this number of descriptors. `request` are the fields of the metadata that tell of the
/// request, if the settings ask for metadata.
pub fn compose_for_tree<'a>(
    verdict: &Verdict<'a>,
    plan: &Plan<'_>,
    descriptors: usize,
    settings: &'a TreeSettings,
    request: Option<Map>,
) -> Reply<'a> {
    let mut decided = verdict.decided.iter().peekable();
    let mut unlimited = plan.unlimited.iter().peekable();
    let statuses = (0..descriptors).map(|at| {
        if let Some(decided) = decided.next_if(|of| of.matched.descriptor == at) {
            let limit = Some(status_limit(decided, decided.matched.row.told_name()));
            Status { is_over_limit: is_over_limit(decided), limit, is_unlimited: false }
        } else {
            let is_unlimited = unlimited.next_if(|of| **of == at).is_some();
            Status { is_unlimited, ..Status::WITHOUT_LIMIT }
        }
    });
    Reply {
        is_over_limit: !verdict.is_admitted,
        statuses: statuses.collect(),
        response_headers: headers(verdict, settings),
        metadata: Metadata {
            of_tree: request.map(|request| with_metadata(request, verdict)),
            ..Metadata::default()
        },
        ..Reply::unlimited(0)
    }
}

/// Whether the status of a limit says so. One that denies no request may: a quota, or any in a deployment in shadow.
fn is_over_limit(decided: &Decided<'_>) -> bool {
    decided.is_over() && !decided.matched.row.is_shadow()
}

/// Whether the status of a limit outside quota mode says that it is over.
fn is_spent_limit(decided: &&Decided<'_>) -> bool {
    is_over_limit(decided) && !decided.matched.row.is_quota()
}

/// The headers of the last limit outside quota mode that is over, else of the first with the least remaining. As in the
/// reference, one with 2^32 - 1 remaining has none.
fn headers<'a>(verdict: &Verdict<'a>, settings: &'a TreeSettings) -> Headers<'a> {
    let Some([limit, remaining, reset]) = &settings.headers else { return Headers::new() };
    let spent = verdict.decided.iter().rfind(is_spent_limit);
    let told = spent.or_else(|| {
        let limits = verdict.decided.iter().filter(|of| of.outcome.remaining < u32::MAX);
        limits.min_by_key(|of| of.outcome.remaining)
    });
    let Some(Decided { matched, outcome, .. }) = told else { return Headers::new() };
    let headers = [
        Header::number(limit, matched.bucket.size().into()),
        Header::number(remaining, outcome.remaining.into()),
        Header::number(reset, outcome.reset.as_secs_ceil()),
    ];
    headers.into()
}

/// The fields of a request, and those of all limits whose status is OK, of which the first that has a field gives it.
fn with_metadata(request: Map, verdict: &Verdict<'_>) -> Map {
    let admitting = verdict.decided.iter().filter(|of| !is_over_limit(of));
    let all: Vec<&Map> = admitting.filter_map(|of| of.matched.row.metadata()).collect();
    let merged = metadata::merged(&all);
    let of_limits = (!merged.is_empty()).then(|| (METADATA.into(), Value::Map(merged)));
    request.0.into_iter().chain(of_limits).collect()
}
