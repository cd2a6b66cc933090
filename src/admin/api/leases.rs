//! `/leases`: those that this process has taken and that are held, with their age; and `/leases/release`.

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::bucket;
use crate::admin::{Failed, Shared, answered, auth};
use crate::descriptor::LeaseId;
use crate::held::Slots;
use crate::service::{HeldLeases, Service};

/// The most leases that are listed.
const LISTED: usize = 1000;

pub(super) async fn list(State(shared): State<Shared>, request: Request) -> Response {
    let Shared { service, controls, desks, .. } = shared;
    let may_release = auth::may_change(&controls, request.headers(), request.extensions());
    let told: fn(&Slots) -> Value = if may_release { whole } else { told };
    let desk = if may_release { desks.changes } else { desks.looks };
    desk.work(async move {
        let HeldLeases { listed, left_off } = service.leases(LISTED).await;
        answered(Ok(json!({
            "at": bucket::milliseconds(service.store_now()),
            "left_off": left_off,
            "listed": listed.iter().map(told).collect::<Vec<_>>(),
        })))
    })
    .await
}

/// How much of a lease is told to whoever looks: who knows it all can release it, and 96 bits are left to guess.
const SHOWN: usize = 8;

/// What a lease holds in a bucket, since when, and until when; without the whole of its number.
pub(in crate::admin) fn told(slots: &Slots) -> Value {
    let start: String = slots.lease.to_string().chars().take(SHOWN).collect();
    called(format!("{start}…"), slots)
}

/// The same with it, for who may release it.
fn whole(slots: &Slots) -> Value {
    called(slots.lease.to_string(), slots)
}

fn called(lease: String, slots: &Slots) -> Value {
    let named = &*slots.named;
    json!({
        "lease": lease,
        "domain": named.domain,
        "table": named.table,
        "row": named.row,
        "key": named.key_text(),
        "is_cut": named.is_cut,
        "slots": slots.count,
        "since": bucket::milliseconds(slots.since),
        "expires": bucket::milliseconds(slots.expires),
    })
}

pub(super) async fn release(State(shared): State<Shared>, body: Bytes) -> Response {
    answered(give_back(&shared.service, &body).await)
}

async fn give_back(service: &Service, body: &[u8]) -> Result<Value, Failed> {
    let body: Option<Value> = serde_json::from_slice(body).ok();
    let lease =
        body.as_ref().and_then(|body| LeaseId::parse(body.get("lease")?.as_str()?.as_bytes()));
    let lease = lease.ok_or_else(|| {
        Failed::bad(
            "send {\"lease\": \"..\"}, the 32 hexadecimal digits that the acquiring call returned",
        )
    })?;
    if !service.release(lease).await {
        let error = "it is not known to hold a slot: it was released, or has expired, or the \
                     shared store is away and will be told";
        return Err(Failed::none(error));
    }
    // The whole of it would let whoever reads the log release others like it.
    tracing::info!(?lease, "released by request");
    Ok(json!({ "released": lease.to_string() }))
}
