//! Reports of the quota service, from bytes to bytes: what they cost without a connection and without metrics.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use prost::Message;
use tollgate::clock::{Clock, Nanos};
use tollgate::config::Source;
use tollgate::policy::Policy;
use tollgate::shares::{Action, Ledger, Settings, StreamId};
use tollgate::wire::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_usage_reports::BucketQuotaUsage;
use tollgate::wire::quota::{self, RateLimitQuotaUsageReports};

use super::support::{NOW, Parts, tenant};

const POLICY: &str = "domain: bench
tables: [{ name: tenants, key: [tenant], rows: { all: [{ per_second: 50 }] } }]";

/// How many streams there are, and how many bucket ids each has; these are the same in all of them.
const STREAMS: u64 = 10;
const IDS: usize = 1_000;

/// They report one after the other, each every five seconds.
const PAUSE: Nanos = Nanos::new(500_000_000);

/// Reports `count` bucket ids, in whole reports of [`IDS`], with other numbers each time, so that all shares change.
pub(super) fn report(count: usize) {
    let text = POLICY.to_owned();
    let parts = Parts::new(&[Source { name: "bench.yaml".into(), text }], 100_000);
    let mut ledger = Ledger::new(Settings::default(), NOW.before(Nanos::from_secs(60)));
    let names: Vec<_> = (0..IDS).map(tenant).collect();
    for stream in 0..STREAMS {
        ledger.open(StreamId(stream), "bench".into());
        let first = names.iter().map(|name| usage(name, 0, 1)).collect();
        answer(&parts, &mut ledger, stream, first);
    }
    let mut random = 1_u32;
    let mut stream = 0;
    for _ in 0..count / IDS {
        parts.clock.advance(PAUSE);
        let usages = names.iter().map(|name| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            usage(name, 5, u64::from(random >> 26))
        });
        answer(&parts, &mut ledger, stream, usages.collect());
        stream = (stream + 1) % STREAMS;
    }
}

fn usage(tenant: &str, elapsed: i64, allowed: u64) -> BucketQuotaUsage {
    BucketQuotaUsage {
        bucket_id: Some([("tenant".to_owned(), tenant.to_owned())].into_iter().collect()),
        time_elapsed: Some(prost_types::Duration { seconds: elapsed, nanos: 0 }),
        num_requests_allowed: allowed,
        num_requests_denied: 0,
    }
}

/// What the server does with a report.
fn answer(parts: &Parts, ledger: &mut Ledger, stream: u64, usages: Vec<BucketQuotaUsage>) {
    let domain = "bench".to_owned();
    let message = RateLimitQuotaUsageReports { domain, bucket_quota_usages: usages };
    let message = message.encode_to_vec();
    let read = quota::read(RateLimitQuotaUsageReports::decode(&*message).unwrap());
    let policy_of = |_: &str| -> Option<&Policy> { Some(parts.policy()) };
    let now = parts.clock.read();
    ledger.report(StreamId(stream), read.usages, policy_of, now);
    let due = ledger.charges(now.steady);
    let charging = pin!(parts.service.charge_shares(&due));
    let Poll::Ready(outcomes) = charging.poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("the store is in memory");
    };
    for (charge, outcome) in due.iter().zip(outcomes.unwrap()) {
        ledger.charged(charge.fingerprint, charge.hits, outcome.reset, now.steady);
    }
    let told = ledger.assign(now.steady);
    assert_eq!(told.get(&StreamId(stream)).map(Vec::len), Some(IDS));
    for actions in told.into_values() {
        assert!(!encoded(actions).is_empty());
    }
    assert!(!ledger.take_events().is_empty());
}

fn encoded(actions: Vec<Action>) -> Vec<u8> {
    quota::response(actions, 20).encode_to_vec()
}
