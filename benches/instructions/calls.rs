//! Calls for callgrind to count the instructions of; benches/instructions.sh runs it and compares.
//!
//! ```text
//! instructions CASE COUNT [URL]
//! ```
//!
//! Makes COUNT calls. CASE is `decision` (four buckets met and charged) or `tree` (a limit at the fifth level of a ratelimit
//! configuration met and counted), or a whole call from bytes to bytes:
//! `admitted` or `denied` under config/management-api.yaml; `open` or `spent` of one policy, of whose four
//! buckets none or some deny, so that the one count over the other is what a denial costs; `prepaid`, the same as `open`
//! where each call spends a prepaid admission of the shared store at URL; `call` or `call_denied`, the
//! same as `admitted` and `denied` over a connection in memory, HTTP/2 included, 50 at a time. `quota` reports COUNT bucket ids,
//! in reports of a thousand, of ten streams that share each of their buckets. Names are hashed
//! under a fixed key and time stands still, so that the same program executes the same instructions.

#![allow(clippy::unwrap_used, clippy::panic, reason = "bench code: a failure is a panic")]

#[path = "connection.rs"]
mod connection;
#[path = "prepaid.rs"]
mod prepaid;
#[path = "quota.rs"]
mod quota;
#[path = "../support/mod.rs"]
mod support;

use std::error::Error;
use std::hint::black_box;

use support::{Parts, USUAL, message, shipped_message, tenant, tree, tree_message};
use tollgate::clock::Nanos;
use tollgate::wire;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a bucket, an allocator or a table does once, it has done by then.
const FIRST: usize = 128;

/// After this time the buckets of the shipped policy that such a call meets are full again. The odd
/// microsecond makes one call in 64 be timed, as in a server.
const PAUSE: Nanos = Nanos::new(60_000_001_000);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [case, count, rest @ ..] = &arguments[..] else {
        return Err("instructions CASE COUNT [URL]".into());
    };
    let count = FIRST + count.parse::<usize>()?;
    match &**case {
        "decision" => decide(count, &Parts::of(USUAL), &message("type_0", &tenant(0), None)),
        "tree" => decide(count, &Parts::new(&tree(), 10_000_000), &tree_message()),
        "admitted" => answer(count, "GET", "/api/v2/organizations/org_1/members", false),
        "denied" => answer(count, "POST", "/api/v2/keys/signing/rotate", true),
        "call" => connection::calls(count, "GET", "/api/v2/organizations/org_1/members", false),
        "call_denied" => connection::calls(count, "POST", "/api/v2/keys/signing/rotate", true),
        "open" => repeat(count, "type_0", false),
        "prepaid" => prepaid::spend(count, rest.first().ok_or("prepaid needs a URL")?),
        "spent" => repeat(count, "spent", true),
        "quota" => quota::report(count),
        other => return Err(format!("{other} is not among the cases").into()),
    }
    Ok(())
}

/// Makes the same decision again and again, which admits.
fn decide(count: usize, parts: &Parts, message: &[u8]) {
    let query = wire::decode(message).unwrap();
    for _ in 0..count {
        assert!(parts.decide(black_box(&query)));
    }
    assert!(!parts.store.is_empty());
}

/// Makes calls, of which all but the first are denied or all admitted.
fn answer(count: usize, method: &str, path: &str, is_denied: bool) {
    let parts = Parts::shipped();
    let message = shipped_message("enterprise_production", "acme", method, path);
    let mut denied = 0;
    for _ in 0..count {
        denied += usize::from(parts.answer(black_box(&message)).unwrap().is_over_limit);
        if !is_denied {
            parts.clock.advance(PAUSE);
        }
    }
    assert_eq!(denied > 0, is_denied);
}

/// Makes the same call again and again, of which all or all but the first are told the same.
fn repeat(count: usize, tenant_type: &str, is_denied: bool) {
    let parts = Parts::of(USUAL);
    let message = message(tenant_type, &tenant(0), None);
    let mut denied = 0;
    for _ in 0..count {
        denied += usize::from(parts.answer(black_box(&message)).unwrap().is_over_limit);
    }
    assert_eq!(denied, if is_denied { count - 1 } else { 0 });
}
