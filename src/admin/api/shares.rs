//! `/shares`: what Envoys that limit by themselves may use.

use axum::extract::State;
use axum::response::Response;

use super::types::{Assigned, List, Share, ShareRow, Shares, Time};
use crate::admin::{Shared, respond};
use crate::service::Service;
use crate::shares::{self, Assignment, StreamId};
use crate::text;

pub(super) async fn list(State(Shared { service, queues, .. }): State<Shared>) -> Response {
    let of = move |service: &Service| Shares {
        at: Time(service.wall_now()),
        list: largest(service, usize::MAX),
    };
    queues.reads.run(async move { respond(Ok(of(&service))) }).await
}

/// The largest shares, at most `max`.
pub(in crate::admin) fn largest(service: &Service, max: usize) -> List<Share> {
    let listed = service.core().shares().list();
    let count = listed.shares.len() + listed.omitted;
    List::new(listed.shares.iter().take(max).map(share).collect(), count)
}

fn share(of: &shares::Share) -> Share {
    let entry = |(key, value): (&str, &str)| {
        [text::truncate(key).into_string(), text::truncate(value).into_string()]
    };
    Share {
        stream: of.stream.map(|StreamId(number)| number),
        domain: text::truncate(&of.domain).into_string(),
        id: of.id.entries().map(entry).collect(),
        rows: of
            .rows
            .iter()
            .map(|row| ShareRow { table: row.table.to_string(), row: row.row.to_string() })
            .collect(),
        demand: of.demand,
        assignment: of.assignment.map(assigned),
    }
}

fn assigned(assignment: Assignment) -> Assigned {
    match assignment {
        Assignment::All => Assigned::AllowAll,
        Assignment::Nothing => Assigned::DenyAll,
        Assignment::Tokens { size, .. } => {
            Assigned::TokenBucket { per_second: assignment.rate().unwrap_or(0.0), size }
        }
    }
}
