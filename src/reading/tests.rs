use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use super::*;

/// What is settled, in words, and a gate that keeps the reader.
struct Bench {
    reader: Reader,
    is_closed: Arc<AtomicBool>,
    reads: Arc<AtomicU32>,
    settled: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    fn new() -> Self {
        Self {
            reader: Reader::with_deadline(Duration::from_secs(5)),
            is_closed: Arc::default(),
            reads: Arc::default(),
            settled: Arc::default(),
        }
    }

    async fn read(&self) -> String {
        let (is_closed, reads) = (Arc::clone(&self.is_closed), Arc::clone(&self.reads));
        let settled = Arc::clone(&self.settled);
        let read = move || {
            let number = reads.fetch_add(1, SeqCst);
            while is_closed.load(SeqCst) {
                std::thread::park_timeout(Duration::from_millis(1));
            }
            number
        };
        let settle = move |read: Result<u32, Unread>| {
            let told = read.map_or_else(|unread| unread.to_string(), |read| read.to_string());
            settled.lock().push(told.clone());
            told
        };
        self.reader.read(read, settle).await
    }

    /// Until the threads have done so much.
    fn wait_for(&self, holds: impl Fn(&Self) -> bool) {
        for _ in 0..3000 {
            if holds(self) {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        panic!("never");
    }
}

#[tokio::test]
async fn what_is_read_is_settled_once() {
    let bench = Bench::new();
    assert_eq!([bench.read().await, bench.read().await], ["0", "1"]);
    assert_eq!(*bench.settled.lock(), ["0", "1"]);
}

/// Tokio's clock goes on by itself where nothing else is to do.
#[tokio::test(start_paused = true)]
async fn a_reader_that_hangs_is_left_and_reads_again_once_it_can() {
    let bench = Bench::new();
    bench.is_closed.store(true, SeqCst);
    let late = bench.read().await;
    assert!(late.starts_with("nothing came within 5s"), "{late}");
    let before = Instant::now();
    for _ in 0..100 {
        let busy = bench.read().await;
        assert!(busy.starts_with("the read before this one has not ended"), "{busy}");
    }
    assert_eq!(before, Instant::now(), "known to hang, it is not waited for");
    // Its thread may not have come so far yet.
    bench.wait_for(|bench| bench.reads.load(SeqCst) > 0);
    assert_eq!(bench.reads.load(SeqCst), 1, "one reader for all of them");
    bench.settled.lock().clear();
    bench.is_closed.store(false, SeqCst);
    bench.wait_for(|bench| *bench.settled.lock() == ["1"]);
    bench.wait_for(|bench| bench.reader.place.available_permits() == 1);
    tokio::time::resume();
    assert_eq!(bench.read().await, "2");
}

#[tokio::test(start_paused = true)]
async fn who_asks_meanwhile_waits_no_longer_either() {
    let bench = Bench::new();
    bench.is_closed.store(true, SeqCst);
    let (first, second) = tokio::join!(bench.read(), bench.read());
    assert!(first.starts_with("nothing came") && second.starts_with("the read before"));
    bench.is_closed.store(false, SeqCst);
}

#[tokio::test]
async fn a_panic_is_settled_and_the_next_reads() {
    let reader = Reader::default();
    let settle = |read: Result<u32, Unread>| read.map_err(|unread| unread.to_string());
    let panicked = reader.read(|| panic!("not this"), settle).await.unwrap_err();
    assert!(panicked.starts_with("a fault in tollgate itself: not this ("), "{panicked}");
    assert_eq!(reader.read(|| 5, settle).await, Ok(5));
}

#[test]
fn at_the_start_a_panic_is_an_error_too() {
    assert!(matches!(at_once::<()>(|| panic!("no")), Err(Unread::Panicked(_))));
    assert_eq!(at_once(|| 5).unwrap(), 5);
}
