//! Who is honest does not wait for who is not: counted, without a clock.
//!
//! Several connections of one worker. On those that are not honest lies a megabyte, come and not read, when an
//! honest call comes behind it. When that is answered, the server has read a turn or so of each harmful
//! connection and the rest still lies there, and so with each honest call. Without turns it would have read
//! all of it before the first.

use super::meter::Served;
use super::*;

/// What of a connection is read before others are.
const TURN: usize = 16 << 10;

/// How much of each harmful connection may be read for each honest call, and before the first: a turn, and
/// what the turn's last read brings beyond it.
const MOST: usize = 2 * TURN;

/// What lies on each of them.
const HARM: usize = 1 << 20;

/// Honest calls, one after another. There is harm for twice as many turns as they may take.
const CALLS: usize = 16;

/// A call of the usual kind.
fn ask(stream: u32) -> Vec<u8> {
    // Domain `d`, one descriptor of the one entry c=1.
    whole(stream, b"\x0a\x01d\x12\x08\x0a\x06\x0a\x01c\x12\x011")
}

fn reset(stream: u32) -> Vec<u8> {
    frame(3, 0, stream, &8_u32.to_be_bytes())
}

/// A megabyte of this on one stream after another.
fn harm(one: impl FnMut(u32) -> Vec<u8>) -> Vec<u8> {
    let mut harm = Vec::with_capacity(HARM);
    let mut ones = (1..).step_by(2).map(one);
    while harm.len() < HARM {
        harm.extend(ones.next().unwrap());
    }
    harm
}

/// Runs as one of a worker's tasks, whose turn comes when theirs does.
fn on_a_worker<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Services) -> F) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(async {
        let services = services(Arc::new(MemoryStore::new(100_000)));
        tokio::spawn(test(services)).await.unwrap();
    });
}

/// Holds it for one connection that does this harm, and for several.
fn nobody_waits_for(beginning: &[u8], harm: &[u8]) {
    for count in [1, 7] {
        let (beginning, harm) = (beginning.to_vec(), harm.to_vec());
        on_a_worker(async move |services| {
            let mut harmful = Vec::new();
            for _ in 0..count {
                harmful.push(Served::open(&services, 4 * HARM, &beginning).await);
            }
            let mut honest = Served::open(&services, HARM, &begin()).await;
            for one in &mut harmful {
                one.send(&harm).await;
            }
            for (number, stream) in (1..).zip((1..).step_by(2)).take(CALLS) {
                // Whoever has had a turn is to have the next one.
                tokio::task::yield_now().await;
                honest.send(&ask(stream)).await;
                honest.answer(stream).await;
                let read: Vec<_> = harmful.iter().map(|one| one.meter.read()).collect();
                let most = (number + 1) * MOST;
                assert!(read.iter().all(|read| *read <= most), "{number}: {read:?}");
            }
            // They did want to be read all the while.
            assert!(harmful.iter().all(|one| one.meter.read() > CALLS / 3 * TURN));
        });
    }
}

#[test]
fn of_many_calls_at_once() {
    nobody_waits_for(&begin(), &harm(ask));
}

#[test]
fn of_calls_begun_and_reset() {
    nobody_waits_for(&begin(), &harm(|stream| [head(stream), reset(stream)].concat()));
}

#[test]
fn of_pings() {
    nobody_waits_for(&begin(), &harm(|_| frame(6, 0, 0, b"and now?")));
}

#[test]
fn of_settings() {
    nobody_waits_for(&begin(), &harm(|_| frame(4, 0, 0, &[])));
}

#[test]
fn of_messages_that_are_too_large() {
    let begun = |stream| {
        let body = [&prefix(4 << 20)[..], &[0; 8 << 10]].concat();
        [head(stream), frame(0, 0, stream, &body)].concat()
    };
    nobody_waits_for(&begin(), &harm(begun));
}

#[test]
fn of_messages_as_large_as_may_be_sent_ahead() {
    let message = [&b"\x0a\x01d"[..], &large_descriptor().repeat(150)].concat();
    nobody_waits_for(&begin(), &harm(|stream| whole(stream, &message)));
}

/// A descriptor of 64 entries.
fn large_descriptor() -> Vec<u8> {
    let entries = b"\x0a\x06\x0a\x01c\x12\x011".repeat(64);
    [&[0x12, 0x80, 0x04], &entries[..]].concat()
}

#[test]
fn of_who_asks_and_lets_nothing_be_answered() {
    nobody_waits_for(&[PREFACE, &frame(4, 0, 0, &[])].concat(), &harm(ask));
}

/// Nothing of it is even looked at, once nothing more can be written to it.
#[test]
fn of_who_asks_and_never_reads() {
    on_a_worker(async |services| {
        let mut harmful = Vec::new();
        for _ in 0..20 {
            harmful.push(Served::open(&services, 2 * TURN, &begin()).await);
        }
        let mut honest = Served::open(&services, HARM, &begin()).await;
        let asked = harm(ask);
        for one in &mut harmful {
            // As long as anything is taken.
            let mut sent = 0;
            while let more @ 1.. = one.send_what_fits(&asked[sent..]).await {
                sent += more;
                rest().await;
            }
            assert!(sent < HARM, "all is taken: that is no bound");
        }
        rest().await;
        let polls = || harmful.iter().map(|one| one.meter.polls()).sum::<usize>();
        let before = polls();
        for stream in (1..).step_by(2).take(CALLS) {
            honest.send(&ask(stream)).await;
            honest.answer(stream).await;
        }
        assert_eq!(polls(), before);
    });
}

#[test]
fn of_ten_thousand_connections_that_are_silent() {
    on_a_worker(async |services| {
        let mut silent = Vec::new();
        for _ in 0..10_000 {
            silent.push(Served::open(&services, 256, &begin()).await);
        }
        let mut honest = Served::open(&services, HARM, &begin()).await;
        let polls = || silent.iter().map(|one| one.meter.polls()).sum::<usize>();
        let before = polls();
        for stream in (1..).step_by(2).take(CALLS) {
            honest.send(&ask(stream)).await;
            honest.answer(stream).await;
        }
        assert_eq!(polls(), before);
    });
}

/// Of messages that were sent but for their last bytes, and then end all at once.
#[test]
fn of_large_messages_that_end_together() {
    on_a_worker(async |services| {
        let mut harmful = Served::open(&services, HARM, &begin()).await;
        let mut honest = Served::open(&services, HARM, &begin()).await;
        // A domain, and 256 descriptors of 64 entries: 130 KiB.
        let message = [&b"\x0a\x01d"[..], &large_descriptor().repeat(256)].concat();
        let streams = || (1..).step_by(2).take(16);
        let mut parts = message[..message.len() - 1].chunks(TURN / 2);
        for stream in streams() {
            harmful.send(&head(stream)).await;
            harmful.send(&frame(0, 0, stream, &prefix(message.len()))).await;
        }
        for part in &mut parts {
            for stream in streams() {
                harmful.send(&frame(0, 0, stream, part)).await;
            }
            rest().await;
        }
        let (meter, end) = (Arc::clone(&harmful.meter), &message[message.len() - 1..]);
        let ends: Vec<_> = streams().flat_map(|stream| frame(0, 1, stream, end)).collect();
        let before = meter.written();
        harmful.send(&ends).await;
        // Its turn comes when the ends have been read and before what they end is answered.
        let asking = tokio::spawn(async move {
            honest.send(&ask(1)).await;
            honest.answer(1).await;
        });
        asking.await.unwrap();
        let meanwhile = meter.written() - before;
        rest().await;
        let all = meter.written() - before;
        assert!(meanwhile <= all / 8, "{meanwhile} of {all}");
    });
}
