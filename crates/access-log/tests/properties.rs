//! Whatever a line contains: nothing panics, the same line gives the same record, and values are no longer than it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: a failure is a panic")]

mod support;

use access_log::{Format, Reader, detect};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use support::{LOGS, read, reader};

/// Checks a line behind these others. A reader that has read many lines must read as a new one does.
fn check(reader: &mut Reader, new: &mut Reader, line: &[u8]) {
    let told = read(reader, line);
    assert_eq!(told, read(new, line));
    assert_eq!(told, read(reader, line), "read twice");
    let mut fields = 0;
    let all = reader.fields(line, &mut |_, _| fields += 1);
    match told {
        Ok(told) => {
            for value in told.iter().flat_map(|told| &told.values).flatten() {
                assert!(!value.is_empty() && value != b"-");
                // U+FFFD for half of a pair is shorter than its escape, and ", " stands for a comma alone.
                assert!(value.len() <= 2 * line.len());
            }
            assert!(told.is_empty() || fields > 0);
            all.unwrap();
        }
        Err(error) => {
            assert!((1..=line.len() + 1).contains(&error.at()), "{error}");
            assert!(!error.to_string().contains(char::is_control), "{error:?}");
        }
    }
}

/// A change of a line.
#[derive(Debug, Clone)]
enum Change {
    Cut(Index),
    Replace(Index, u8),
    Remove(Index),
    Insert(Index, Vec<u8>),
    /// What stands between two places comes once more.
    Repeat(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let special = select(&b"\"\\[]{}: ,-\t\r\n\0\x1b%#=0\xff"[..]);
    let byte = prop_oneof![special, any::<u8>()].boxed();
    prop_oneof![
        any::<Index>().prop_map(Change::Cut),
        (any::<Index>(), byte.clone()).prop_map(|(at, byte)| Change::Replace(at, byte)),
        any::<Index>().prop_map(Change::Remove),
        (any::<Index>(), vec(byte, 1..8)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        any::<(Index, Index)>().prop_map(|(from, to)| Change::Repeat(from, to)),
    ]
}

fn changed(line: &str, changes: &[Change]) -> Vec<u8> {
    let mut line = line.as_bytes().to_vec();
    for change in changes {
        let place = |at: &Index| at.index(line.len() + 1);
        match change {
            Change::Cut(at) => line.truncate(place(at)),
            Change::Replace(at, byte) if !line.is_empty() => {
                let at = at.index(line.len());
                line[at] = *byte;
            }
            Change::Remove(at) if !line.is_empty() => {
                line.remove(at.index(line.len()));
            }
            Change::Insert(at, bytes) => {
                let at = place(at);
                line.splice(at..at, bytes.iter().copied());
            }
            Change::Repeat(from, to) => {
                let (from, to) = (place(from), place(to));
                let piece = line[from.min(to)..from.max(to)].to_vec();
                line.splice(to..to, piece);
            }
            Change::Replace(..) | Change::Remove(_) => {}
        }
    }
    line
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn changed_lines_of_each_format(
        log in select(&LOGS[..]),
        all_changes in vec(vec(change(), 0..4), 1..6),
        other in select(&Format::ALL[..]),
    ) {
        let (format, lines) = log;
        let (line, header) = lines.split_last().unwrap();
        for format in [format, other] {
            let mut seasoned = reader(format);
            for changes in &all_changes {
                let mut new = reader(format);
                for header in header {
                    let _is_of_other_format = (read(&mut seasoned, header.as_bytes()), read(&mut new, header.as_bytes()));
                }
                check(&mut seasoned, &mut new, &changed(line, changes));
            }
        }
    }

    #[test]
    fn changed_headers(log in select(&LOGS[..]), changes in vec(change(), 1..4)) {
        let (format, lines) = log;
        let mut reader = reader(format);
        let _may_be_refused = read(&mut reader, &changed(lines[0], &changes));
        for line in lines {
            let _may_be_refused = read(&mut reader, line.as_bytes());
        }
    }

    #[test]
    fn arbitrary_bytes(format in select(&Format::ALL[..]), lines in vec(vec(any::<u8>(), 0..80), 1..6)) {
        let mut reader = reader(format);
        for line in &lines {
            let _may_be_refused = read(&mut reader, line);
        }
        let lines: Vec<_> = lines.iter().map(Vec::as_slice).collect();
        if let Err(error) = detect(&lines) {
            prop_assert!(!error.to_string().contains(char::is_control), "{error:?}");
        }
    }

    #[test]
    fn the_format_is_found_among_broken_lines(log in select(&LOGS[..]), broken in vec(vec(any::<u8>(), 0..80), 0..3)) {
        let (format, lines) = log;
        let (line, header) = lines.split_last().unwrap();
        let mut all: Vec<_> = header.iter().map(|line| line.as_bytes()).collect();
        all.extend(broken.iter().map(Vec::as_slice));
        all.extend([line.as_bytes(); 4]);
        prop_assert_eq!(detect(&all), Ok(format));
    }
}

#[test]
fn every_line_here_is_read() {
    for (format, lines) in LOGS {
        let mut reader = reader(format);
        let records: usize =
            lines.iter().map(|line| read(&mut reader, line.as_bytes()).unwrap().len()).sum();
        assert!(records > 0, "{lines:?}");
    }
}

/// 256 KiB of each of these, within a line or alone, in the time of a few passes over it. The bound is for a machine that
/// does much else; what takes a time in the square of the length takes minutes.
#[test]
fn long_lines_take_time_in_proportion() {
    let pieces: [&[u8]; 16] = [
        b"\"",
        b"\\",
        b"\\\"",
        b"[",
        b"{\"a\":",
        b"{\"a\":1},",
        b"\"a\":1,",
        b" ",
        b",",
        b"\"\",",
        b"=",
        b"a=b ",
        b"%25",
        b"\\u{1}",
        b"1",
        b"\xff",
    ];
    for (format, lines) in LOGS {
        for piece in pieces {
            let mut reader = reader(format);
            for header in &lines[..lines.len() - 1] {
                read(&mut reader, header.as_bytes()).unwrap();
            }
            let line = lines.last().unwrap().as_bytes();
            let long = piece.repeat((1 << 18) / piece.len());
            for at in [0, line.len() / 3, line.len() / 2, line.len()] {
                let (before, behind) = line.split_at(at);
                let _may_be_refused = read(&mut reader, &[before, &long, behind].concat());
            }
        }
    }
}
