//! A snapshot that an earlier tollgate wrote is read by this one, and its buckets have the names they had.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

use crate::support;

use support::{Parts, START, call, give_back, hits, limit, request, source};
use tollgate::clock::Nanos;
use tollgate::store::memory::snapshot;
use tollgate::wire::RateLimitRequest;
use tollgate::wire::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;

/// Every way in which a bucket gets its name.
const POLICY: &str = "
domain: d
tables:
  - name: tenants
    select: type
    key: [tenant]
    rows:
      free: [{ per_day: 4 }, { size: 6, rate: 1, every: 240h }]
      otherwise: [{ per_day: 3 }]
  - { name: addresses, key: [remote_address], rows: { always: [{ per_day: 2 }] } }
  - { name: jobs, key: [job], rows: { always: [{ concurrent: 1, hold: 360d }] } }
overrides:
  - { table: tenants, when: { tenant: vip }, buckets: [{ per_day: 5 }] }
";

/// Written by the first tollgate that wrote snapshots, at [`START`], after [`spent`] and a job. Never renew
/// it: it is what lies on people's disks.
const VERSION_1: &[u8] = include_bytes!("../snapshot/version-1");

/// The same, written by the first tollgate that wrote version 2.
const VERSION_2: &[u8] = include_bytes!("../snapshot/version-2");

/// The same, written by the first tollgate that wrote version 3.
const VERSION_3: &[u8] = include_bytes!("../snapshot/version-3");

/// The same, written by the first tollgate that wrote version 4.
const VERSION_4: &[u8] = include_bytes!("../snapshot/version-4");

/// The lease that each has.
const LEASE: &str = "276945ae04fa27b5337930e93fede155";
const LEASE_3: &str = "2bfe2f24f197b461a16de21d4a835bb8";
const LEASE_4: &str = "6a5c86b0ea192fa424df5a65412169e1";

/// Calls that leave nothing in their token buckets: those with names that version 3 has changed come last.
fn spent() -> Vec<RateLimitRequest> {
    // Envoy's own limit, by the day.
    let brought = |size: u32, entries| RateLimitDescriptor {
        hits_addend: Some(size.into()),
        ..limit(size, 4, None, entries)
    };
    let all = [
        hits(4, &[("type", "free"), ("tenant", "acme")]),
        hits(3, &[("tenant", "acme")]),
        hits(2, &[("remote_address", "203.0.113.7")]),
        hits(2, &[("remote_address", "2001:db8::1")]),
        hits(5, &[("tenant", "vip")]),
        brought(7, &[("tenant", "brought along")]),
        brought(8, &[("nobody", "asks for this")]),
    ];
    all.into_iter().map(|descriptor| request("d", &[descriptor])).collect()
}

#[test]
fn a_snapshot_of_any_version_is_read_and_every_bucket_is_found_in_it() {
    let versions = [
        (VERSION_1, LEASE, 4),
        (VERSION_2, LEASE, 4),
        (VERSION_3, LEASE_3, 7),
        (VERSION_4, LEASE_4, 7),
    ];
    for ((version, lease, named), max_keys) in
        versions.into_iter().flat_map(|of| [(of, 64), (of, 10_000_000)])
    {
        let restored = snapshot::read(version, max_keys, START).unwrap();
        assert_eq!(restored.taken_at, START);
        let parts = Parts::over(restored.store, restored.key, &source(POLICY));
        assert_eq!((parts.store.len(), parts.store.lease_count()), (9, 1));
        for mut call in spent().into_iter().take(named) {
            call.descriptors[0].hits_addend = Some(1);
            assert!(!parts.ask(&call).is_ok(), "{call:?}");
            call.descriptors[0].hits_addend = Some(1);
            call.descriptors[0].is_negative_hits = true;
            assert!(parts.ask(&call).is_ok());
            call.descriptors[0].is_negative_hits = false;
            assert!(parts.ask(&call).is_ok(), "{call:?}");
        }
        let job = call(&[("job", "j")]);
        assert!(!parts.ask(&job).is_ok());
        let release = request("d", &[give_back(1, &[("lease", lease)])]);
        assert_eq!(
            [parts.ask(&release).released(), parts.ask(&release).released()],
            [Some(1), Some(0)]
        );
        assert!(parts.ask(&job).is_ok());
    }
}

#[test]
fn a_snapshot_of_any_version_gains_what_it_would_have_gained() {
    [VERSION_1, VERSION_2, VERSION_3, VERSION_4]
        .into_iter()
        .for_each(gains_what_it_would_have_gained);
}

fn gains_what_it_would_have_gained(version: &[u8]) {
    let later = START.after(Nanos::from_secs(8 * 3_600));
    let restored = snapshot::read(version, 1_000, later).unwrap();
    let parts = Parts::over(restored.store, restored.key, &source(POLICY));
    parts.clock.set(later);
    assert!(
        parts.ask(&call(&[("tenant", "acme")])).is_ok(),
        "a third of a day brings one of three"
    );
    assert!(!parts.ask(&call(&[("tenant", "acme")])).is_ok());
}
