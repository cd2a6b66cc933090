//! A report for a terminal.

use std::io::{self, Write};

use super::report::{Against, BucketReport, Input, KeyReport, Outcome, Report, RowReport};
use super::suggest;
use crate::text::{printable, sanitize};

/// How many of the keys that were denied most are shown.
const MAX_KEYS: usize = 10;

/// Writes a report.
///
/// # Errors
/// Those of `out`.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let Report { domain, input, outcome, spread, .. } = report;
    writeln!(out, "domain {}", printable(domain))?;
    write_summary(input, outcome, spread.as_ref(), out)?;
    write_rows(outcome, spread.as_ref(), out)?;
    write_keys("denied most", &outcome.denied_keys, out)?;
    if let Some(against) = &report.against {
        write_against(outcome, against, out)?;
    }
    if let Some(suggestions) = &report.suggestions {
        suggest::terminal::write(suggestions, out)?;
    }
    write_notes(report, out)
}

fn write_summary(
    input: &Input,
    outcome: &Outcome,
    spread: Option<&Outcome>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Outcome { requests, denied, keys, keys_denied, .. } = outcome;
    write!(out, "{} requests", grouped(*requests))?;
    if let (Some(first), Some(last)) = (&input.first, &input.last) {
        write!(out, " from {first} to {last}")?;
    }
    writeln!(out, ": {} denied, {}", grouped(*denied), percent(*denied, *requests))?;
    if let Some(spread) = spread {
        let denied = spread.denied;
        writeln!(
            out,
            "  if those of a second come at once; {} denied, {}, if they are spread over it",
            grouped(denied),
            percent(denied, spread.requests)
        )?;
    }
    writeln!(
        out,
        "{} keys; requests of {} of them were denied",
        grouped(*keys),
        grouped(*keys_denied)
    )
}

fn write_rows(outcome: &Outcome, spread: Option<&Outcome>, out: &mut dyn Write) -> io::Result<()> {
    let head =
        ["", "requests", "denied", "", "keys", "denied", "needs 50 %", "99 %", "99.9 %", "most"];
    let mut lines = vec![head.map(str::to_owned)];
    for row in &outcome.rows {
        let name = format!("{}, {}", row.table, row.row);
        let mode = if row.is_shadow { " (shadow)" } else { "" };
        let cells = [
            format!("{}{mode}", printable(&name)),
            grouped(row.requests),
            grouped(row.denied),
            percent(row.denied, row.requests),
        ];
        lines.push(padded(cells));
        for bucket in &row.buckets {
            lines.push(bucket_line(bucket));
        }
    }
    writeln!(out)?;
    write_table(&lines, out)?;
    if let Some(spread) = spread.filter(|of| of.denied != outcome.denied && of.denied > 0) {
        writeln!(out, "\nif the requests of a second are spread over it:")?;
        let mut lines = vec![head.map(str::to_owned)];
        for row in spread.rows.iter().filter(|row| row.denied > 0) {
            let of_row = row.buckets.iter().filter(|bucket| bucket.denied > 0);
            lines.push(padded([
                printable(&format!("{}, {}", row.table, row.row)),
                grouped(row.requests),
                grouped(row.denied),
                percent(row.denied, row.requests),
            ]));
            lines.extend(of_row.map(bucket_line));
        }
        write_table(&lines, out)?;
    }
    if outcome.rows.iter().any(|row| !row.buckets.is_empty()) {
        writeln!(
            out,
            "\nneeds: the size with which half, 99 %, 99.9 % and all of the keys would never have been denied, at this rate"
        )?;
    }
    Ok(())
}

fn bucket_line(bucket: &BucketReport) -> [String; 10] {
    let of = if bucket.is_override { ", by an override" } else { "" };
    let needed = bucket.needed;
    let shown = |number: u32| if bucket.size > 0 { grouped(number.into()) } else { String::new() };
    [
        format!("  {}{of}", bucket.limit),
        grouped(bucket.requests),
        grouped(bucket.denied),
        percent(bucket.denied, bucket.requests),
        grouped(bucket.keys),
        grouped(bucket.keys_denied),
        shown(needed.p50),
        shown(needed.p99),
        shown(needed.p999),
        shown(needed.max),
    ]
}

fn padded(cells: [String; 4]) -> [String; 10] {
    let mut cells = cells.into_iter();
    std::array::from_fn(|_| cells.next().unwrap_or_default())
}

/// Writes columns: the first to the left, the others to the right.
fn write_table(lines: &[[String; 10]], out: &mut dyn Write) -> io::Result<()> {
    let widths: [usize; 10] = std::array::from_fn(|column| {
        lines
            .iter()
            .filter_map(|line| line.get(column))
            .map(|c| c.chars().count())
            .max()
            .unwrap_or(0)
    });
    for line in lines {
        let mut text = String::new();
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            let cell =
                if column == 0 { format!("{cell:width$}") } else { format!("  {cell:>width$}") };
            text.push_str(&cell);
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

fn write_keys(title: &str, keys: &[KeyReport], out: &mut dyn Write) -> io::Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}:")?;
    for key in keys.iter().take(MAX_KEYS) {
        let KeyReport { denied, first, last, longest_streak, limit, .. } = key;
        let mode = if key.is_shadow { ", in shadow" } else { "" };
        let entry = |[name, value]: &[String; 2]| format!("{}={}", sanitize(name), sanitize(value));
        let entries: Vec<_> = key.key.iter().map(entry).collect();
        let entries =
            if entries.is_empty() { "all requests".to_owned() } else { entries.join(" ") };
        writeln!(
            out,
            "  {entries}: {} from {first} to {last}, at most {} on end; {}, {}, {limit}{mode}",
            grouped(*denied),
            grouped(*longest_streak),
            printable(&key.table),
            printable(&key.row),
        )?;
    }
    match keys.len().saturating_sub(MAX_KEYS) {
        0 => Ok(()),
        others => writeln!(out, "  and {others} others or more; --html lists up to 100"),
    }
}

fn write_against(outcome: &Outcome, against: &Against, out: &mut dyn Write) -> io::Result<()> {
    let other = &against.outcome;
    let difference = &against.difference;
    writeln!(
        out,
        "\nthe other policy denies {}, {}: of these {} no longer, and {} newly",
        grouped(other.denied),
        percent(other.denied, other.requests),
        grouped(difference.no_longer_denied),
        grouped(difference.newly_denied),
    )?;
    if let Some((outcome, difference)) =
        against.spread.as_ref().zip(against.spread_difference.as_ref())
    {
        writeln!(
            out,
            "  if the requests of a second are spread over it, {}: {} no longer, and {} newly",
            grouped(outcome.denied),
            grouped(difference.no_longer_denied),
            grouped(difference.newly_denied),
        )?;
    }
    let differs = |row: &&RowReport| {
        let same = |of: &RowReport| of.table == row.table && of.row == row.row;
        other.rows.iter().find(|of| same(of)).is_none_or(|of| of.denied != row.denied)
    };
    for row in outcome.rows.iter().filter(differs) {
        let same = other.rows.iter().find(|of| of.table == row.table && of.row == row.row);
        let denied = same.map_or_else(|| "not there".to_owned(), |of| grouped(of.denied));
        let name = printable(&format!("{}, {}", row.table, row.row));
        writeln!(out, "  {name}: {} denied, where the other denies {denied}", grouped(row.denied))?;
    }
    write_keys("newly denied most", &difference.newly_denied_keys, out)?;
    write_keys("no longer denied most", &difference.no_longer_denied_keys, out)
}

/// What one must know to judge the figures.
fn write_notes(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    for note in notes(report) {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}

/// Remarks on what was read and on what the figures mean.
pub fn notes(report: &Report) -> Vec<String> {
    let Report { input, outcome, .. } = report;
    let mut notes = Vec::new();
    let mut count = |number: u64, what: &str| {
        if number > 0 {
            notes.push(format!("{} {what}", grouped(number)));
        }
    };
    count(input.unreadable, "lines could not be read");
    count(
        input.late,
        "requests came too late to be put in order, and were left out; see --reorder",
    );
    count(input.skipped, "requests were left out by the mapping");
    count(input.other_times, "requests were left out, since they are of other times");
    count(
        input.without_descriptor,
        "requests have no descriptor, since a field is missing: Envoy would not have asked about them",
    );
    count(input.faulty, "requests were left out, since their hits could not be read");
    count(outcome.bypassed, "requests were let pass by a bypass");
    count(outcome.unmatched, "requests were matched by no table");
    let is_denied_still = format!(
        "requests were denied when they were logged (429), of which {} would be denied now; all count as demand",
        grouped(outcome.denied_in_both)
    );
    count(outcome.denied_in_log, &is_denied_still);
    let of_seconds = if report.spread.is_some() {
        "requests are logged in whole seconds: most likely the truth lies between the two figures"
    } else {
        "requests are logged in whole seconds, the first of them after others with fractions: they come all at once at the \
         beginning of their second, and less may be denied if they do not"
    };
    count(input.whole_seconds, of_seconds);
    count(
        input.without_duration,
        "requests have no duration in the log, and so hold no slot of a concurrency bucket",
    );
    if input.divided_by.is_none() {
        notes.push(
            "one thread decided: the keys of all tables have no entry in common by which requests could be divided"
                .to_owned(),
        );
    }
    for example in &input.unreadable_examples {
        notes.push(format!("{}: {}: {}", example.place, example.reason, example.line));
    }
    if let Some(example) = &outcome.unmatched_example {
        notes.push(format!("the first that was matched by no table: {example}"));
    }
    notes.push(
        "the clients of a log do not know of these denials: they neither retry nor slow down"
            .to_owned(),
    );
    notes
}

/// A part of all in percent, with as many digits as tell it from none.
pub(super) fn percent(part: u64, all: u64) -> String {
    if part == 0 || all == 0 {
        return "0 %".to_owned();
    }
    // Hundredths of a percent.
    let rounded = (u128::from(part) * 10_000 + u128::from(all) / 2) / u128::from(all);
    if rounded == 0 {
        "< 0.01 %".to_owned()
    } else {
        format!("{}.{:02} %", rounded / 100, rounded % 100)
    }
}

/// A number with its digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_parts_are_easy_to_read() {
        let numbers = [0, 999, 1_000, 12_345, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "12,345", "1,234,567"]);
        let parts = [(0, 9), (0, 0), (1, 3), (1, 1), (1, 100_000), (u64::MAX, u64::MAX)];
        let parts = parts.map(|(part, all)| percent(part, all));
        assert_eq!(parts, ["0 %", "0 %", "33.33 %", "100.00 %", "< 0.01 %", "100.00 %"]);
    }
}
