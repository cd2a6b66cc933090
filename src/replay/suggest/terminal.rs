//! Suggestions for a terminal.

use std::io::{self, Write};

use super::super::text::{grouped, percent};
use super::report::{BucketSuggestion, CurvePoint, Suggested, Suggestions};
use crate::text::printable;

/// Writes the suggestions.
///
/// # Errors
/// Those of `out`.
pub fn write(suggestions: &Suggestions, out: &mut dyn Write) -> io::Result<()> {
    let Suggestions { keys_percent, have_logs_changed, buckets } = suggestions;
    writeln!(
        out,
        "\nlimits with which {keys_percent} % of the keys would never have been denied:"
    )?;
    let mut row = None;
    for bucket in buckets {
        let of = (&bucket.table, &bucket.row);
        if row.replace(of) != Some(of) {
            writeln!(out, "{}", printable(&format!("{}, {}", bucket.table, bucket.row)))?;
        }
        write_bucket(bucket, out)?;
    }
    if *have_logs_changed {
        writeln!(
            out,
            "the logs have changed since they were read first: what these deny is not exact"
        )?;
    }
    writeln!(out, "each is judged alone, and by the requests of these logs; see docs/replay.md")
}

fn write_bucket(bucket: &BucketSuggestion, out: &mut dyn Write) -> io::Result<()> {
    let of = if bucket.is_override { ", by an override" } else { "" };
    let keys = of_keys(bucket.keys);
    writeln!(out, "  {}{of}: {} requests of {keys}", bucket.limit, grouped(bucket.requests))?;
    if bucket.same_rate.is_none() {
        writeln!(out, "    no size is large enough")?;
    }
    bucket.limits().try_for_each(|suggested| write_suggested(suggested, bucket, out))?;
    if bucket.same_shape.is_none() && !bucket.curve.is_empty() {
        writeln!(out, "    a hundred times the rate with a size in proportion is not enough")?;
    }
    Ok(())
}

fn write_suggested(
    suggested: &Suggested,
    bucket: &BucketSuggestion,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Suggested { limit, denied, keys_denied, size, size_if_spread, is_smallest_tried, .. } =
        suggested;
    let less = if *is_smallest_tried { " or less" } else { "" };
    let spread = size_if_spread.filter(|spread| spread != size);
    let spread = spread.map(|of| format!(" (a size of {} if spread)", grouped(of.into())));
    let spread = spread.unwrap_or_default();
    write!(out, "    {limit}{less}{spread}: ")?;
    if *denied == 0 {
        return writeln!(out, "denies none");
    }
    let (part, keys) = (percent(*denied, bucket.requests), of_keys(*keys_denied));
    let requests = if *denied == 1 { "request" } else { "requests" };
    writeln!(out, "denies {} {requests}, {part}, of {keys}", grouped(*denied))
}

fn of_keys(number: u64) -> String {
    format!("{} {}", grouped(number), if number == 1 { "key" } else { "keys" })
}

/// Writes the sizes that the token buckets of a row, given as `TABLE/ROW`, need at other rates.
///
/// # Errors
/// Those of `out`.
pub fn write_curve(suggestions: &Suggestions, label: &str, out: &mut dyn Write) -> io::Result<()> {
    let is_it = |of: &&BucketSuggestion| format!("{}/{}", of.table, of.row) == label;
    let mut of_row = suggestions.buckets.iter().filter(is_it).peekable();
    let label = printable(label);
    if of_row.peek().is_none() {
        return writeln!(out, "\nno request met {label}");
    }
    for bucket in of_row {
        let limit = &bucket.limit;
        if bucket.curve.is_empty() {
            writeln!(out, "\n{label}, {limit}: it has no rate")?;
            continue;
        }
        let percent = suggestions.keys_percent;
        writeln!(out, "\n{label}, {limit}: the sizes that keys need at other rates")?;
        let mut lines =
            vec![["rate".to_owned(), format!("{percent} %"), "all".to_owned()].to_vec()];
        if bucket.curve.iter().any(|point| point.sizes_if_spread.is_some()) {
            let head = [format!("{percent} % if spread"), "all if spread".to_owned()];
            lines.iter_mut().for_each(|line| line.extend(head.clone()));
        }
        lines.extend(bucket.curve.iter().map(curve_line));
        write_columns(&lines, out)?;
    }
    Ok(())
}

fn curve_line(point: &CurvePoint) -> Vec<String> {
    let mark = if point.is_present { " (now)" } else { "" };
    let sizes = [point.size, point.size_for_all].into_iter();
    let sizes = sizes.chain(point.sizes_if_spread.into_iter().flatten());
    let cells = sizes.map(|size| grouped(size.into()));
    std::iter::once(format!("{}{mark}", point.rate)).chain(cells).collect()
}

/// Writes columns: the first to the left, the others to the right.
fn write_columns(lines: &[Vec<String>], out: &mut dyn Write) -> io::Result<()> {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    for line in lines {
        write!(out, " ")?;
        for (column, cell) in line.iter().enumerate() {
            let width = width(column);
            match column {
                0 => write!(out, " {cell:width$}")?,
                _ => write!(out, "  {cell:>width$}")?,
            }
        }
        writeln!(out)?;
    }
    Ok(())
}
