//! A flood of addresses that were never seen before, and the limit on keys that has to hold through it.
//!
//! A test of its own program: what it measures is the memory of the process.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

mod support;

use std::net::{Ipv4Addr, Ipv6Addr};

use prost::Message;
use support::{Parts, call, source};
use tollgate::clock::{Clock, Nanos};

const MAX_KEYS: usize = 100_000;
const ROUNDS: u32 = 10;
const ADDRESSES_OF_A_ROUND: u32 = 500_000;

/// All pages of a flood that has met the limit are the same pages: what may come on top is the allocator's.
const SLACK: u64 = 2 << 20;

/// Each call takes one token of five, which comes back in 12 seconds.
const POLICY: &str = "
domain: d
tables:
  - name: registration
    key: [remote_address]
    rows: { always: [{ per_minute: 5 }] }
";
const ONE_TOKEN: Nanos = Nanos::from_secs(12);

/// Each a bucket of its own: whole in IPv4, a /64 of its own in IPv6.
fn address(number: u32) -> String {
    if number.is_multiple_of(2) {
        Ipv4Addr::from(number).to_string()
    } else {
        let [a, b, c, d] = number.to_be_bytes().map(u16::from);
        Ipv6Addr::new(0x2001, 0xdb8, a << 8 | b, c << 8 | d, 1, 2, 3, 4).to_string()
    }
}

/// What the process keeps in memory, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn five_million_addresses_take_no_more_memory_than_the_first_and_free_nobody_who_is_out_of_tokens()
{
    let parts = Parts::new(&source(POLICY), MAX_KEYS);
    let admitted = |address: &str| {
        let message = call(&[("remote_address", address)]).encode_to_vec();
        !parts.answer(&message).unwrap().is_over_limit
    };
    let busy = || admitted("203.0.113.7");
    assert_eq!((0..20).filter(|_| busy()).count(), 5);

    // The busy bucket is made once and never full again; every other address is asked about once.
    let (mut made, mut swept) = (1, 0);
    let (mut early, mut late) = (0, 0);
    for round in 0..ROUNDS {
        let mut busy_admitted = 0;
        for number in 0..ADDRESSES_OF_A_ROUND {
            assert!(admitted(&address(round * ADDRESSES_OF_A_ROUND + number)));
            made += 1;
            if number.is_multiple_of(1000) {
                busy_admitted += u32::from(busy());
            }
            if made == 200_000 {
                early = resident();
            }
        }
        // The token it gained since the round before, and none that the flood made it forget.
        assert_eq!(busy_admitted, u32::from(round > 0));

        let kept = parts.store.len();
        assert!(kept <= MAX_KEYS, "{kept} keys");
        assert!(kept > MAX_KEYS * 9 / 10, "the limit is met: {kept} keys");
        // Time stood still, so that whatever went by itself was live.
        assert_eq!(parts.store.evictions(), made - swept - u64::try_from(kept).unwrap());

        late = late.max(resident());
        parts.clock.advance(ONE_TOKEN);
        let now = parts.clock.now();
        let gone: usize = (0..parts.store.shard_count()).map(|_| parts.store.sweep(now)).sum();
        assert_eq!((gone, parts.store.len()), (kept - 1, 1), "all are full again but the busy one");
        swept += u64::try_from(gone).unwrap();
    }
    eprintln!("{early} bytes resident after 200,000 addresses, {late} at most later");
    assert!(late <= early + SLACK, "{early} bytes after 200,000 addresses, later {late}");

    // What is full says the same as what is not there: that it is forgotten is not worth telling. So few
    // come that each finds a full one among those it looks at.
    let first = ROUNDS * ADDRESSES_OF_A_ROUND;
    assert!((first..first + 300_000).all(|number| admitted(&address(number))));
    let before = (parts.store.len(), parts.store.evictions());
    parts.clock.advance(ONE_TOKEN);
    assert!((first + 300_000..first + 305_000).all(|number| admitted(&address(number))));
    assert_eq!((parts.store.len(), parts.store.evictions()), before);
}
