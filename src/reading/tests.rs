use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use super::*;

/// What is applied, in words, and a gate that keeps the reader.
struct Bench {
    reader: Reader,
    is_closed: Arc<AtomicBool>,
    reads: Arc<AtomicU32>,
    applied: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    fn new() -> Self {
        Self {
            reader: Reader::with_deadline(Duration::from_secs(5)),
            is_closed: Arc::default(),
            reads: Arc::default(),
            applied: Arc::default(),
        }
    }

    async fn read(&self) -> String {
        let (is_closed, reads) = (Arc::clone(&self.is_closed), Arc::clone(&self.reads));
        let applied = Arc::clone(&self.applied);
        let read = move || {
            let number = reads.fetch_add(1, SeqCst);
            while is_closed.load(SeqCst) {
                std::thread::park_timeout(Duration::from_millis(1));
            }
            number
        };
        let apply = move |read: Result<u32, ReadError>| {
            let text = read.map_or_else(|error| error.to_string(), |read| read.to_string());
            applied.lock().push(text.clone());
            text
        };
        self.reader.read(read, apply).await
    }

    /// Polls until the condition holds.
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
async fn a_result_is_applied_once() {
    let bench = Bench::new();
    assert_eq!([bench.read().await, bench.read().await], ["0", "1"]);
    assert_eq!(*bench.applied.lock(), ["0", "1"]);
}

/// A paused Tokio clock advances when all tasks are idle.
#[tokio::test(start_paused = true)]
async fn a_reader_that_hangs_is_left_and_reads_again_once_it_can() {
    let bench = Bench::new();
    bench.is_closed.store(true, SeqCst);
    let late = bench.read().await;
    assert!(late.starts_with("no answer within 5s"), "{late}");
    let before = Instant::now();
    for _ in 0..100 {
        let busy = bench.read().await;
        assert!(busy.starts_with("the previous read has not ended"), "{busy}");
    }
    assert_eq!(before, Instant::now(), "known to hang, it is not waited for");
    // The thread may not have started to read yet.
    bench.wait_for(|bench| bench.reads.load(SeqCst) > 0);
    assert_eq!(bench.reads.load(SeqCst), 1, "one reader for all of them");
    bench.applied.lock().clear();
    bench.is_closed.store(false, SeqCst);
    bench.wait_for(|bench| *bench.applied.lock() == ["1"]);
    bench.wait_for(|bench| bench.reader.permit.available_permits() == 1);
    tokio::time::resume();
    assert_eq!(bench.read().await, "2");
}

#[tokio::test(start_paused = true)]
async fn a_second_caller_waits_no_longer_than_the_deadline() {
    let bench = Bench::new();
    bench.is_closed.store(true, SeqCst);
    let (first, second) = tokio::join!(bench.read(), bench.read());
    assert!(first.starts_with("no answer") && second.starts_with("the previous read"));
    bench.is_closed.store(false, SeqCst);
}

#[tokio::test]
async fn a_panic_is_applied_as_an_error_and_the_next_read_works() {
    let reader = Reader::default();
    let apply = |read: Result<u32, ReadError>| read.map_err(|error| error.to_string());
    let panicked = reader.read(|| panic!("not this"), apply).await.unwrap_err();
    assert!(panicked.starts_with("a fault in tollgate itself: not this ("), "{panicked}");
    assert_eq!(reader.read(|| 5, apply).await, Ok(5));
}

#[test]
fn a_panic_at_the_start_is_an_error() {
    assert!(matches!(read_now::<()>(|| panic!("no")), Err(ReadError::Panicked(_))));
    assert_eq!(read_now(|| 5).unwrap(), 5);
}
