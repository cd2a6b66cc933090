//! What each row did, in a table.

use std::fmt::{self, Display, Formatter};

use super::elements::{Tag, begin_section, write_head};
use super::escape::Escaped;
use crate::replay::report::{BucketReport, Outcome, Report, RowReport};
use crate::replay::text::{grouped, percent};

/// The section of the rows; nothing if none was met.
#[derive(Debug)]
pub(super) struct Rows<'a>(pub(super) &'a Report);

impl Display for Rows<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let rows = row_pairs(self.0);
        if rows.is_empty() {
            return Ok(());
        }
        begin_section("rows", "Tables and rows", "", f)?;
        f.write_str(
            "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-labelledby=\"rows-title\">",
        )?;
        f.write_str(
            "<table class=\"rows\"><caption class=\"hidden\">Rows, and their limits</caption>",
        )?;
        write_head("Row, limit", &["Requests", "Denied", "Share", "Keys", "Keys denied"], f)?;
        for of_table in rows.chunk_by(|one, other| one.row.table == other.row.table) {
            let Some(first) = of_table.first() else { continue };
            let table = Escaped(&first.row.table);
            f.write_str("<tbody><tr class=\"table\">")?;
            write!(f, "<th scope=\"rowgroup\" colspan=\"6\">{table}</th></tr>")?;
            of_table.iter().try_for_each(|row| write_row(*row, f))?;
            f.write_str("</tbody>")?;
        }
        f.write_str("</table></div></section>")
    }
}

/// A row, and the same row with the requests of whole seconds spread over them.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowPair<'a> {
    /// The row.
    pub(super) row: &'a RowReport,
    spread: Option<&'a RowReport>,
}

/// The rows of a report.
pub(super) fn row_pairs(report: &Report) -> Vec<RowPair<'_>> {
    let spread = report.spread.as_ref();
    report.outcome.rows.iter().map(|row| RowPair::new(row, spread)).collect()
}

impl<'a> RowPair<'a> {
    fn new(row: &'a RowReport, spread: Option<&'a Outcome>) -> Self {
        let name = |row: &'a RowReport| (&row.table, &row.row);
        let spread = spread.and_then(|of| of.rows.iter().find(|other| name(other) == name(row)));
        Self { row, spread }
    }

    /// The buckets, each with the one of the other bound.
    pub(super) fn buckets(
        self,
    ) -> impl Iterator<Item = (&'a BucketReport, Option<&'a BucketReport>)> {
        let spread = self.spread.map(|row| &*row.buckets).unwrap_or_default();
        let name = |bucket: &'a BucketReport| (&bucket.limit, bucket.is_override);
        self.row.buckets.iter().enumerate().map(move |(at, bucket)| {
            (bucket, spread.get(at).filter(|other| name(other) == name(bucket)))
        })
    }
}

fn write_row(pair: RowPair<'_>, f: &mut Formatter<'_>) -> fmt::Result {
    let RowPair { row, spread } = pair;
    let tag = Tag::shadow(row.is_shadow);
    write!(f, "<tr class=\"row\"><th scope=\"row\">{}{tag}</th>", Escaped(&row.row))?;
    let counts = |of: &RowReport| [of.requests, of.denied];
    write_counts(counts(row), spread.map(counts), f)?;
    f.write_str("<td></td><td></td></tr>")?;
    for (bucket, spread) in pair.buckets() {
        let (limit, tag) = (Escaped(&bucket.limit), Tag::of_override(bucket.is_override));
        write!(f, "<tr><th scope=\"row\" class=\"limit\">{limit}{tag}</th>")?;
        let counts = |of: &BucketReport| [of.requests, of.denied];
        write_counts(counts(bucket), spread.map(counts), f)?;
        write!(f, "<td class=\"number\">{}</td>", grouped(bucket.keys))?;
        let of_spread = spread.map(|of| grouped(of.keys_denied));
        write_cell(grouped(bucket.keys_denied), of_spread, bucket.keys_denied > 0, f)?;
        f.write_str("</tr>")?;
    }
    Ok(())
}

/// Writes the numbers of requests and denials, and the share of these.
fn write_counts(
    [requests, denied]: [u64; 2],
    spread: Option<[u64; 2]>,
    f: &mut Formatter<'_>,
) -> fmt::Result {
    write!(f, "<td class=\"number\">{}</td>", grouped(requests))?;
    write_cell(grouped(denied), spread.map(|[_, denied]| grouped(denied)), denied > 0, f)?;
    let of_spread = spread.map(|[requests, denied]| percent(denied, requests));
    write_cell(percent(denied, requests), of_spread, false, f)
}

/// Writes a number, and under it the one of the other bound if that differs.
fn write_cell(
    text: String,
    spread: Option<String>,
    is_bad: bool,
    f: &mut Formatter<'_>,
) -> fmt::Result {
    let class = if is_bad { "number bad" } else { "number" };
    write!(f, "<td class=\"{class}\">{text}")?;
    if let Some(spread) = spread.filter(|spread| *spread != text) {
        write!(f, "<small>{spread} spread</small>")?;
    }
    f.write_str("</td>")
}
