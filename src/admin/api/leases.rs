//! `/leases`: the leases that this process gave out and that are held; and `/leases/release`.

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::Response;

use super::types::{Lease, Leases, List, ReleaseRequest, Released, Time};
use crate::admin::{ApiError, Shared, auth, respond};
use crate::descriptor::LeaseId;
use crate::observe::active_leases::HeldSlots;
use crate::service::{HeldLeases, Service};

/// The most leases that are listed.
const MAX_ITEMS: usize = 1000;

pub(super) async fn list(State(shared): State<Shared>, request: Request) -> Response {
    let Shared { service, controls, queues, .. } = shared;
    let may_release = auth::may_change(&controls, request.headers(), request.extensions());
    let lease: fn(&HeldSlots) -> Lease = if may_release { whole } else { shortened };
    let queue = if may_release { queues.changes } else { queues.reads };
    queue
        .work(async move {
            let HeldLeases { items, omitted } = service.leases(MAX_ITEMS).await;
            respond(Ok(Leases {
                at: Time(service.store_now()),
                list: List { items: items.iter().map(lease).collect(), omitted },
            }))
        })
        .await
}

/// How many digits of a lease everybody sees: whoever knows all of them can release it, and 96 bits are left to
/// guess.
const SHOWN_DIGITS: usize = 8;

/// What a lease holds in a bucket, without the whole of its number.
pub(in crate::admin) fn shortened(slots: &HeldSlots) -> Lease {
    let start: String = slots.lease.to_string().chars().take(SHOWN_DIGITS).collect();
    named(format!("{start}…"), slots)
}

/// The same with the whole of it, for callers who may release the lease.
fn whole(slots: &HeldSlots) -> Lease {
    named(slots.lease.to_string(), slots)
}

fn named(lease: String, slots: &HeldSlots) -> Lease {
    Lease {
        lease,
        bucket: (&*slots.label).into(),
        slots: slots.count,
        taken_at: Time(slots.since),
        expires_at: Time(slots.expires),
    }
}

pub(super) async fn release(State(shared): State<Shared>, body: Bytes) -> Response {
    respond(give_back(&shared.service, &body).await)
}

async fn give_back(service: &Service, body: &[u8]) -> Result<Released, ApiError> {
    let request: Option<ReleaseRequest> = serde_json::from_slice(body).ok();
    let lease = request.and_then(|request| LeaseId::parse(request.lease.as_bytes()));
    let lease = lease.ok_or_else(|| {
        ApiError::bad_request(
            "send {\"lease\": \"..\"}, the 32 hexadecimal digits that the acquiring call returned",
        )
    })?;
    if !service.release(lease).await {
        let error = "it is not known to hold a slot: it was released, or has expired, or the \
                     shared store is away and will be told";
        return Err(ApiError::not_found(error));
    }
    // The whole of it would let whoever reads the log release others like it.
    tracing::info!(?lease, "released by request");
    Ok(Released { released: lease.to_string() })
}
