//! `/leases`: the leases that this process granted and that are still held; and `/leases/release`.

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
    let is_authorized = auth::is_authorized(&controls, request.headers(), request.extensions());
    let lease: fn(&Service, &HeldSlots) -> Lease = if is_authorized { whole } else { shortened };
    let queue = if is_authorized { queues.changes } else { queues.reads };
    queue
        .run(async move {
            let HeldLeases { items, omitted } = service.leases(MAX_ITEMS).await;
            respond(Ok(Leases {
                at: Time(service.lease_time(service.store_now())),
                list: List {
                    items: items.iter().map(|slots| lease(&service, slots)).collect(),
                    omitted,
                },
            }))
        })
        .await
}

/// The digits of a lease that every caller sees. All of its digits allow a caller to release it; 96 bits stay secret.
const SHOWN_DIGITS: usize = 8;

/// The slots of a lease in a bucket, with the first digits of the lease.
pub(in crate::admin) fn shortened(service: &Service, slots: &HeldSlots) -> Lease {
    let start: String = slots.lease.to_string().chars().take(SHOWN_DIGITS).collect();
    named(service, format!("{start}…"), slots)
}

/// The slots of a lease in a bucket, with all digits of the lease, for authorized callers.
fn whole(service: &Service, slots: &HeldSlots) -> Lease {
    named(service, slots.lease.to_string(), slots)
}

fn named(service: &Service, lease: String, slots: &HeldSlots) -> Lease {
    Lease {
        lease,
        bucket: (&*slots.label).into(),
        slots: slots.count,
        taken_at: Time(service.lease_time(slots.since)),
        expires_at: Time(service.lease_time(slots.expires)),
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
        let error = "the lease is not known to hold a slot: it was released, it has expired, or the \
                     shared store does not answer and will release it later";
        return Err(ApiError::not_found(error));
    }
    // The debug form is shortened, so that logs contain no lease in full.
    tracing::info!(?lease, "lease released by a request");
    Ok(Released { released: lease.to_string() })
}
