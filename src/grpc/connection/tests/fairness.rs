//! Who is honest does not wait for who is not: counted, without a clock.
//!
//! Several connections of one worker. On those that are not honest lies a megabyte, come and not read, when an
//! honest call comes behind it. When that is answered, the server has dealt with a turn or so of each harmful
//! connection and the rest still lies there, and so with each honest call. Without turns it would have dealt
//! with all of it before the first.

use super::meter::Served;
use super::*;

/// What of a connection is read before others are, at most.
const TURN: usize = 16 << 10;

/// And of frames that cost more than their bytes: so many calls, frames of most kinds, or settings.
const CALLS_OF_A_TURN: usize = 86;
const FRAMES_OF_A_TURN: usize = 512;
const SETTINGS_OF_A_TURN: usize = 8;

/// What one read brings. What of it is not of this turn has been read, and waits.
const READ: usize = 16 << 10;

/// The least that an answer takes.
const ANSWER: usize = 60;

/// What lies on each of them.
const HARM: usize = 1 << 20;

/// Honest calls, one after another.
const CALLS: usize = 16;

/// A call of the usual kind.
fn ask(stream: u32) -> Vec<u8> {
    // Domain `d`, one descriptor of the one entry c=1.
    whole(stream, b"\x0a\x01d\x12\x08\x0a\x06\x0a\x01c\x12\x011")
}

/// The head of a call in 13 bytes; the first of a connection, which is longer, puts the path and the content type
/// into HPACK's table.
fn short_head(stream: u32) -> Vec<u8> {
    let named =
        |name: u8, value: &[u8]| [&[name, u8::try_from(value.len()).unwrap()], value].concat();
    let block = match stream {
        1 => [vec![0x83, 0x86], named(0x44, PATH.as_bytes()), named(0x5f, b"application/grpc")]
            .concat(),
        _ => vec![0x83, 0x86, 0xbf, 0xbe],
    };
    frame(1, 4, stream, &block)
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

/// Holds it for one connection that does this harm, and for several. So many bytes of it are a turn.
fn nobody_waits_for(beginning: &[u8], harm: &[u8], turn: usize) {
    for count in [1, 7] {
        let (beginning, harm) = (beginning.to_vec(), harm.to_vec());
        on_a_worker(async move |services| {
            let mut harmful = Vec::new();
            for _ in 0..count {
                harmful.push(Served::open(&services, 4 * HARM, &beginning).await);
            }
            let mut honest = Served::open(&services, HARM, &begin()).await;
            let before: Vec<_> = harmful.iter().map(|one| one.meter.read()).collect();
            for one in &mut harmful {
                one.send(&harm).await;
            }
            for (number, stream) in (1..).zip((1..).step_by(2)).take(CALLS) {
                // Whoever has had a turn is to have the next one.
                tokio::task::yield_now().await;
                honest.send(&ask(stream)).await;
                honest.answer(stream).await;
                let read =
                    harmful.iter().zip(&before).map(|(one, before)| one.meter.read() - before);
                let read: Vec<_> = read.collect();
                // A turn for each honest call, and before the first; each with what goes beyond it at its end.
                let most = 2 * (number + 1) * turn + READ;
                assert!(read.iter().all(|read| *read <= most), "{number}: {read:?} over {most}");
                // They did want to be read all the while.
                let least = number / 3 * turn;
                assert!(read.iter().all(|read| *read >= least), "{number}: {read:?} under {least}");
            }
        });
    }
}

#[test]
fn of_many_calls_at_once() {
    nobody_waits_for(&begin(), &harm(ask), CALLS_OF_A_TURN * ask(1).len());
}

#[test]
fn of_calls_begun_and_reset() {
    let begun_and_reset = |stream| [head(stream), reset(stream)].concat();
    let turn = CALLS_OF_A_TURN * begun_and_reset(1).len();
    nobody_waits_for(&begin(), &harm(begun_and_reset), turn);
}

/// In as few bytes as they can be, hundreds for each kilobyte.
#[test]
fn of_calls_begun_in_a_few_bytes_and_reset() {
    let begun_and_reset = |stream| [short_head(stream), reset(stream)].concat();
    let turn = CALLS_OF_A_TURN * begun_and_reset(3).len();
    nobody_waits_for(&begin(), &harm(begun_and_reset), turn);
}

#[test]
fn of_pings() {
    nobody_waits_for(&begin(), &harm(|_| frame(6, 0, 0, b"and now?")), FRAMES_OF_A_TURN * 17);
}

/// With a thousand calls open, each of which they concern.
#[test]
fn of_settings() {
    let open = (1..).step_by(2).take(1000).flat_map(short_head);
    let beginning: Vec<_> = begin().into_iter().chain(open).collect();
    let room = |number: u32| frame(4, 0, 0, &[&[0, 4], &number.to_be_bytes()[..]].concat());
    nobody_waits_for(&beginning, &harm(|number| room(1000 + number % 9)), SETTINGS_OF_A_TURN * 15);
}

#[test]
fn of_messages_that_are_too_large() {
    let begun = |stream| {
        let body = [&prefix(4 << 20)[..], &[0; 8 << 10]].concat();
        [head(stream), frame(0, 0, stream, &body)].concat()
    };
    nobody_waits_for(&begin(), &harm(begun), TURN);
}

#[test]
fn of_messages_as_large_as_may_be_sent_ahead() {
    let message = [&b"\x0a\x01d"[..], &large_descriptor().repeat(150)].concat();
    nobody_waits_for(&begin(), &harm(|stream| whole(stream, &message)), TURN);
}

#[test]
fn of_who_asks_and_lets_nothing_be_answered() {
    let beginning = [PREFACE, &frame(4, 0, 0, &[])].concat();
    nobody_waits_for(&beginning, &harm(ask), CALLS_OF_A_TURN * ask(1).len());
}

/// Nothing of it is even looked at, once nothing more can be written to it.
#[test]
fn of_who_asks_and_never_reads() {
    on_a_worker(async |services| {
        let mut harmful = Vec::new();
        for _ in 0..20 {
            harmful.push(Served::open(&services, READ, &begin()).await);
        }
        let mut honest = Served::open(&services, HARM, &begin()).await;
        let asked = harm(ask);
        // What fills the way back, and the turn in which it is full; far from all that may be open.
        let most = (READ / ANSWER + 2 * CALLS_OF_A_TURN) * ask(1).len();
        for one in &mut harmful {
            // As long as anything is taken.
            let mut sent = 0;
            while let more @ 1.. = one.send_what_fits(&asked[sent..]).await {
                sent += more;
                rest().await;
            }
            let read = one.meter.read();
            assert!(read < most, "{read} bytes of calls were read, over {most}");
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

/// A worker that has something to do for one of them does nothing for the others, and no time that passes
/// makes it look at them.
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
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        assert_eq!(polls(), before);
    });
}

/// A descriptor of 64 entries.
fn large_descriptor() -> Vec<u8> {
    let entries = b"\x0a\x06\x0a\x01c\x12\x011".repeat(64);
    [&[0x12, 0x80, 0x04], &entries[..]].concat()
}

/// Makes a call, whose turn comes when others of the worker had theirs.
async fn one_call(mut honest: Served) {
    let asking = tokio::spawn(async move {
        honest.send(&ask(1)).await;
        honest.answer(1).await;
    });
    asking.await.unwrap();
}

/// Of calls that were begun, and end with their connection.
#[test]
fn of_a_thousand_calls_whose_connection_ends() {
    on_a_worker(async |services| {
        let mut harmful = Served::open(&services, HARM, &begin()).await;
        let honest = Served::open(&services, HARM, &begin()).await;
        for stream in (1..).step_by(2).take(1000) {
            harmful.send(&head(stream)).await;
        }
        rest().await;
        // A connection waits for all of its calls, and drops them without a task for each.
        assert_eq!(services.in_flight.waiting(), 1);
        drop(harmful);
        one_call(honest).await;
        rest().await;
        assert_eq!(services.in_flight.waiting(), 0);
    });
}

/// Of messages that were sent whole, but for the word that they are, and then end all at once.
#[test]
fn of_small_messages_that_end_together() {
    on_a_worker(async |services| {
        let mut harmful = Served::open(&services, HARM, &begin()).await;
        let honest = Served::open(&services, HARM, &begin()).await;
        let streams = || (1..).step_by(2).take(500);
        // Domain `d`, one descriptor of the one entry c=1.
        let message = b"\x0a\x01d\x12\x08\x0a\x06\x0a\x01c\x12\x011";
        let sent = [&prefix(message.len())[..], message].concat();
        for stream in streams() {
            harmful.send(&head(stream)).await;
            harmful.send(&frame(0, 0, stream, &sent)).await;
        }
        rest().await;
        let meter = Arc::clone(&harmful.meter);
        let ends: Vec<_> = streams().flat_map(|stream| frame(0, 1, stream, b"")).collect();
        let before = meter.written();
        harmful.send(&ends).await;
        one_call(honest).await;
        let meanwhile = meter.written() - before;
        rest().await;
        let all = meter.written() - before;
        assert!(all >= 500 * ANSWER, "not all were answered: {all}");
        assert!(meanwhile <= all / 2, "{meanwhile} of {all}");
    });
}

/// Of messages that were sent but for their last bytes, and then end all at once.
#[test]
fn of_large_messages_that_end_together() {
    on_a_worker(async |services| {
        let mut harmful = Served::open(&services, HARM, &begin()).await;
        let honest = Served::open(&services, HARM, &begin()).await;
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
        one_call(honest).await;
        let meanwhile = meter.written() - before;
        rest().await;
        let all = meter.written() - before;
        assert!(meanwhile <= all / 8, "{meanwhile} of {all}");
    });
}
