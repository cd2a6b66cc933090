use parking_lot::{Condvar, Mutex};

use super::*;
use crate::clock::ManualClock;

/// Long enough for anything that is going to happen.
const BOUND: Duration = Duration::from_secs(30);

/// What lies behind a pipe: it may stall, or be full, and keeps what it took.
#[derive(Debug, Default)]
struct Reader {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_stalled: bool,
    is_full: bool,
    /// How often somebody began to write.
    begun: usize,
    taken: Vec<u8>,
}

impl Reader {
    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
    }

    /// Waits until that is so.
    fn wait(&self, what: &str, mut holds: impl FnMut(&State) -> bool) {
        let mut state = self.state.lock();
        let waited = self.changed.wait_while_for(&mut state, |state| !holds(state), BOUND);
        assert!(!waited.timed_out(), "never: {what}");
    }

    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.state.lock().taken.clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

struct Pipe(Arc<Reader>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state.lock();
        state.begun += 1;
        self.0.changed.notify_all();
        self.0.changed.wait_while(&mut state, |state| state.is_stalled);
        if state.is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.taken.extend_from_slice(bytes);
        self.0.changed.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Fixture {
    reader: Arc<Reader>,
    clock: Arc<ManualClock>,
    lines: Lines,
    /// What was told of dropped lines.
    told: Arc<Mutex<Vec<(u64, u64)>>>,
}

impl Fixture {
    fn new() -> Self {
        let (reader, clock) = (Arc::<Reader>::default(), Arc::new(ManualClock::at(NOW)));
        let told = Arc::<Mutex<Vec<_>>>::default();
        let tell = Arc::clone(&told);
        let lines = Lines::start(
            Pipe(Arc::clone(&reader)),
            Arc::clone(&clock) as Arc<dyn Clock>,
            move |lines, all| tell.lock().push((lines, all)),
        );
        Self { reader, clock, lines: lines.unwrap(), told }
    }

    fn log(&self, line: &str) {
        (&self.lines).write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Has a line begun that nobody takes, so that no other leaves the queue.
    fn stall(&self) {
        self.reader.set(|state| (state.is_stalled, state.begun) = (true, 0));
        self.log("stalled");
        self.reader.wait("it is written", |state| state.begun == 1);
    }

    fn resume(&self) {
        self.reader.set(|state| state.is_stalled = false);
    }

    fn dropped(&self) -> u64 {
        self.lines.counters().dropped.get()
    }
}

const NOW: Timestamp = Timestamp::from_unix_nanos(1_772_323_200_000_000_000);

#[test]
fn lines_are_written_in_order_and_none_is_lost_before_the_end() {
    let log = Fixture::new();
    let lines: Vec<_> = (0..1_000).map(|number| number.to_string()).collect();
    lines.iter().for_each(|line| log.log(line));
    log.lines.settle(BOUND);
    assert_eq!(log.reader.lines(), lines);
    assert_eq!((log.dropped(), log.told.lock().len()), (0, 0));
}

#[test]
fn whoever_logs_goes_on_while_nobody_reads_and_what_has_no_room_is_counted_and_told_once() {
    let log = Fixture::new();
    log.stall();
    let room = MAX_LINES;
    (0..room + 7).for_each(|number| log.log(&number.to_string()));
    assert_eq!(log.dropped(), 7);
    assert!(log.told.lock().is_empty(), "nobody reads that");
    log.resume();
    log.lines.settle(BOUND);
    let mut expected = vec!["stalled".to_owned()];
    expected.extend((0..room).map(|number| number.to_string()));
    assert_eq!(log.reader.lines(), expected);
    assert_eq!(*log.told.lock(), [(7, 7)]);
}

#[test]
fn it_is_told_once_a_second_at_most() {
    let log = Fixture::new();
    let drop_some = |count| {
        log.stall();
        (0..MAX_LINES + count).for_each(|_| log.log("x"));
        log.resume();
        log.lines.settle(BOUND);
    };
    drop_some(1);
    drop_some(2);
    drop_some(3);
    assert_eq!(*log.told.lock(), [(1, 1)]);
    log.clock.advance(TOLD_EVERY.into());
    log.log("later");
    log.lines.settle(BOUND);
    // It is told after the line is written.
    log.log("and once more");
    log.lines.settle(BOUND);
    assert_eq!(*log.told.lock(), [(1, 1), (5, 6)]);
}

#[test]
fn bytes_that_wait_are_bounded_as_well_and_a_single_line_may_be_longer() {
    let log = Fixture::new();
    let long = "x".repeat(MAX_BYTES / 4);
    log.stall();
    // The newlines, and the line that is being written, take a little of the room.
    (0..6).for_each(|_| log.log(&long));
    assert_eq!(log.dropped(), 3);
    log.resume();
    log.lines.settle(BOUND);
    log.log(&"x".repeat(2 * MAX_BYTES));
    log.lines.settle(BOUND);
    assert_eq!((log.dropped(), log.reader.lines().len()), (3, 5));
}

#[test]
fn the_end_does_not_wait_for_a_reader_that_stalls() {
    let log = Fixture::new();
    log.stall();
    // It returns at all.
    log.lines.settle(Duration::from_millis(20));
    assert_eq!(log.reader.lines(), Vec::<String>::new());
    log.resume();
}

#[test]
fn what_cannot_be_written_is_counted_and_told_when_something_can_be_again() {
    let log = Fixture::new();
    log.reader.set(|state| state.is_full = true);
    (0..3).for_each(|_| log.log("lost"));
    log.lines.settle(BOUND);
    assert_eq!(log.dropped(), 3);
    assert!(log.told.lock().is_empty());
    log.reader.set(|state| state.is_full = false);
    log.log("there is room");
    log.log("still");
    log.lines.settle(BOUND);
    assert_eq!(log.reader.lines(), ["there is room", "still"]);
    assert_eq!(*log.told.lock(), [(3, 3)]);
}
