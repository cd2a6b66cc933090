//! A line allocates nothing, once lines like it were read. OpenTelemetry's are trees.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: a failure is a panic")]

mod support;

use access_log::Format;
use support::{LOGS, reader};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

#[test]
fn a_line_allocates_nothing() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let mut counted = 0;
    for (format, lines) in LOGS {
        // A number or a list with escapes is unescaped before it is read.
        if format == Format::OtelJson || lines.iter().any(|line| line.contains(r"17\/May")) {
            continue;
        }
        let mut reader = reader(format);
        let mut read = |lines: &[&str]| {
            let mut records = 0;
            for line in lines {
                reader.read(line.as_bytes(), &mut |_| records += 1).unwrap();
            }
            records
        };
        read(lines);
        let line = &lines[lines.len() - 1..];
        read(line);
        // The thread that waits for this test allocates now and then, too.
        let allocated = (0..5).map(|_| {
            let before = dhat::HeapStats::get().total_blocks;
            assert_eq!((0..100).map(|_| read(line)).sum::<i32>(), 100);
            dhat::HeapStats::get().total_blocks - before
        });
        assert_eq!(allocated.min(), Some(0), "{lines:?}");
        counted += 1;
    }
    assert!(counted > 10);
}
