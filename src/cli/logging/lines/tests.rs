use parking_lot::{Condvar, Mutex};

use super::*;
use crate::clock::ManualClock;

/// Long enough for anything that is going to happen.
const BOUND: Duration = Duration::from_secs(30);

/// The reader of a pipe. It may stall or fail, and keeps the bytes that it took.
#[derive(Debug, Default)]
struct Reader {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_stalled: bool,
    is_full: bool,
    /// The number of writes that began.
    begun: usize,
    taken: Vec<u8>,
}

impl Reader {
    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
    }

    /// Waits until the condition holds.
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
    /// The reports of dropped lines.
    reports: Arc<Mutex<Vec<(u64, u64)>>>,
}

impl Fixture {
    fn new() -> Self {
        let (reader, clock) = (Arc::<Reader>::default(), Arc::new(ManualClock::at(NOW)));
        let reports = Arc::<Mutex<Vec<_>>>::default();
        let report = Arc::clone(&reports);
        let lines = Lines::start(
            Pipe(Arc::clone(&reader)),
            Arc::clone(&clock) as Arc<dyn Clock>,
            move |lines, all| report.lock().push((lines, all)),
        );
        Self { reader, clock, lines: lines.unwrap(), reports }
    }

    fn log(&self, line: &str) {
        (&self.lines).write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Makes the reader stall in the middle of a line, so that no other leaves the queue.
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
    log.lines.flush(BOUND);
    assert_eq!(log.reader.lines(), lines);
    assert_eq!((log.dropped(), log.reports.lock().len()), (0, 0));
}

#[test]
fn logging_does_not_wait_for_a_stalled_reader_and_dropped_lines_are_counted_and_reported_once() {
    let log = Fixture::new();
    log.stall();
    let room = MAX_LINES;
    (0..room + 7).for_each(|number| log.log(&number.to_string()));
    assert_eq!(log.dropped(), 7);
    assert!(log.reports.lock().is_empty(), "the reader stalls");
    log.resume();
    log.lines.flush(BOUND);
    let mut expected = vec!["stalled".to_owned()];
    expected.extend((0..room).map(|number| number.to_string()));
    assert_eq!(log.reader.lines(), expected);
    assert_eq!(*log.reports.lock(), [(7, 7)]);
}

#[test]
fn dropped_lines_are_reported_at_most_once_a_second() {
    let log = Fixture::new();
    let drop_some = |count| {
        log.stall();
        (0..MAX_LINES + count).for_each(|_| log.log("x"));
        log.resume();
        log.lines.flush(BOUND);
    };
    drop_some(1);
    drop_some(2);
    drop_some(3);
    assert_eq!(*log.reports.lock(), [(1, 1)]);
    log.clock.advance(REPORT_INTERVAL.into());
    log.log("later");
    log.lines.flush(BOUND);
    // The report follows a written line.
    log.log("and once more");
    log.lines.flush(BOUND);
    assert_eq!(*log.reports.lock(), [(1, 1), (5, 6)]);
}

#[test]
fn waiting_bytes_are_bounded_and_a_single_line_may_be_longer() {
    let log = Fixture::new();
    let long = "x".repeat(MAX_BYTES / 4);
    log.stall();
    // The newlines and the stalled line take a few bytes of the bound.
    (0..6).for_each(|_| log.log(&long));
    assert_eq!(log.dropped(), 3);
    log.resume();
    log.lines.flush(BOUND);
    log.log(&"x".repeat(2 * MAX_BYTES));
    log.lines.flush(BOUND);
    assert_eq!((log.dropped(), log.reader.lines().len()), (3, 5));
}

#[test]
fn the_exit_does_not_wait_for_a_stalled_reader() {
    let log = Fixture::new();
    log.stall();
    // It returns nevertheless.
    log.lines.flush(Duration::from_millis(20));
    assert_eq!(log.reader.lines(), Vec::<String>::new());
    log.resume();
}

#[test]
fn lines_that_cannot_be_written_are_counted_and_reported_once_writing_works_again() {
    let log = Fixture::new();
    log.reader.set(|state| state.is_full = true);
    (0..3).for_each(|_| log.log("lost"));
    log.lines.flush(BOUND);
    assert_eq!(log.dropped(), 3);
    assert!(log.reports.lock().is_empty());
    log.reader.set(|state| state.is_full = false);
    log.log("there is room");
    log.log("still");
    log.lines.flush(BOUND);
    assert_eq!(log.reader.lines(), ["there is room", "still"]);
    assert_eq!(*log.reports.lock(), [(3, 3)]);
}
