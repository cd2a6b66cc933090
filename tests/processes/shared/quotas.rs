//! Buckets that Envoys of several replicas share.

use super::process::Tollgate;
use super::quota_stream::{Stream, Told, usage};
use super::redis_server::Redis;
use super::support::{call, eventually};

/// Fifty a second, and fifty at once.
const POLICY: &str = "domain: d
tables: [{ name: t, key: [k], rows: { all: [{ per_second: 50 }] } }]";

const ID: &[(&str, &str)] = &[("k", "1")];

fn replica(redis: &Redis) -> Tollgate {
    Tollgate::start(POLICY, &["--store", &redis.url()])
}

/// A stream of an Envoy that has had a request.
fn envoy(replica: &Tollgate) -> Stream {
    let stream = Stream::open(replica.grpc());
    stream.report(vec![usage(ID, 0, [1, 0])]);
    stream
}

/// Waits until the streams have been told of these rates last.
fn wait_for_rates(streams: &mut [Stream], expected: &[f64]) {
    let mut rates = vec![0.0; streams.len()];
    let is_so = |rates: &[f64]| {
        rates.iter().zip(expected).all(|(rate, expected)| (rate - expected).abs() < expected * 0.06)
    };
    let told = std::cell::RefCell::new((streams, &mut rates));
    eventually("the rates", || {
        let (streams, rates) = &mut *told.borrow_mut();
        for (stream, rate) in streams.iter_mut().zip(rates.iter_mut()) {
            if let Some(Told::Tokens(now, _)) = stream.latest() {
                *rate = now;
            }
        }
        is_so(rates)
    });
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn envoys_have_equal_shares_however_many_are_at_each_replica() {
    let redis = Redis::start();
    // What cannot be read of one replica keeps nobody from the claims of the others.
    redis.command(&["ZADD", "tollgate:replicas", "9000000000000000", "00000000000000aa"]);
    redis.command(&["LPUSH", "tollgate:claims:00000000000000aa", "of another type"]);
    let replicas = [replica(&redis), replica(&redis)];
    let mut streams = vec![envoy(&replicas[0]), envoy(&replicas[0]), envoy(&replicas[1])];
    wait_for_rates(&mut streams, &[50.0 / 3.0; 3]);
    // One that ends is noticed at the other replica.
    drop(streams.remove(0));
    wait_for_rates(&mut streams, &[25.0; 2]);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn what_envoys_use_at_one_replica_is_missing_for_calls_at_the_other() {
    let redis = Redis::start();
    let replicas = [replica(&redis), replica(&redis)];
    let mut client = replicas[1].client();
    assert_eq!(client.ask(call(ID)).remaining(), [49]);
    let stream = Stream::open(replicas[0].grpc());
    // More than is there by far: it owes for as long as this test runs.
    stream.report(vec![usage(ID, 0, [5_000, 0])]);
    eventually("a denial", || !replicas[1].client().ask(call(ID)).is_ok());
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_limit_that_is_put_back_is_shared_at_once() {
    let redis = Redis::start();
    let replica = replica(&redis);
    let mut stream = envoy(&replica);
    wait_for_rates(std::slice::from_mut(&mut stream), &[50.0]);
    let mut told = || (0..200).find_map(|_| stream.latest()).unwrap();
    // The replica has been the first with Envoys of the bucket, and still is.
    for _ in 0..3 {
        replica.reload(&POLICY.replace("[{ per_second: 50 }]", "unlimited"));
        assert_eq!(told(), Told::All);
        replica.reload(POLICY);
        let back = told();
        assert!(matches!(back, Told::Tokens(rate, 50) if rate >= 45.0), "{back:?}");
    }
}
