//! How near the keys came to their limits: a picture of each limit, and the sizes that parts of the keys needed.

use std::cmp::Reverse;
use std::fmt::{self, Display, Formatter};

use super::elements::{Tag, begin_section, write_head};
use super::escape::Escaped;
use super::rows::{RowPair, row_pairs};
use super::usage::Usage;
use super::words::count;
use crate::replay::report::{BucketReport, Report, RowReport};
use crate::replay::text::grouped;

/// The most pictures.
const MAX_PICTURES: usize = 200;

/// The section of the pictures; nothing if there are none.
#[derive(Debug)]
pub(super) struct Nearness<'a>(pub(super) &'a Report);

impl Display for Nearness<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut rows = row_pairs(self.0);
        rows.retain(|row| rank(*row).is_some());
        if rows.is_empty() {
            return Ok(());
        }
        rows.sort_by_key(|row| (row.row.is_shadow, Reverse(rank(*row))));
        begin_section("near", "How near the keys came to their limits", "", f)?;
        f.write_str(
            "<p class=\"note\">A key needed the size with which, at the rate of the limit, none of its \
             requests would have been denied. Rows that denied most come first, then those whose keys \
             came nearest, then those in shadow.",
        )?;
        let all = rows.iter().map(|row| pictures(*row).count()).sum::<usize>();
        if let Some(others) = all.checked_sub(MAX_PICTURES).filter(|others| *others > 0) {
            let others = u64::try_from(others).unwrap_or(u64::MAX);
            write!(
                f,
                " {} only in the table.",
                count(others, "other limit is", "other limits are")
            )?;
        }
        f.write_str("</p>")?;
        let mut left = MAX_PICTURES;
        for row in rows {
            left -= write_row(row, left, f)?;
        }
        f.write_str("</section>")
    }
}

/// The buckets of a row that have a picture: one that is blocked has no size to come near to.
fn pictures(row: RowPair<'_>) -> impl Iterator<Item = (&BucketReport, Option<&BucketReport>)> {
    row.buckets().filter(|(bucket, _)| bucket.size > 0 && bucket.keys > 0)
}

/// The order of rows: by the requests that one limit denied, then by the greatest part of a size that was needed, in
/// thousandths. None without pictures.
fn rank(row: RowPair<'_>) -> Option<(u64, u64)> {
    let needed = |bucket: &BucketReport| {
        u64::from(bucket.needed.max) * 1_000 / u64::from(bucket.size.max(1))
    };
    pictures(row).map(|(bucket, _)| (bucket.denied, needed(bucket))).max()
}

/// Writes at most `most` pictures of a row, and returns how many.
fn write_row(pair: RowPair<'_>, most: usize, f: &mut Formatter<'_>) -> Result<usize, fmt::Error> {
    let mut written = 0;
    for (bucket, spread) in pictures(pair).take(most) {
        if written == 0 {
            let (table, row) = (Escaped(&pair.row.table), Escaped(&pair.row.row));
            let tag = Tag::shadow(pair.row.is_shadow);
            write!(f, "<h3 class=\"near-row\">{table} / {row}{tag}</h3>")?;
        }
        write_bucket(pair.row, bucket, spread, f)?;
        written += 1;
    }
    Ok(written)
}

fn write_bucket(
    row: &RowReport,
    bucket: &BucketReport,
    spread: Option<&BucketReport>,
    f: &mut Formatter<'_>,
) -> fmt::Result {
    let RowReport { table, row, .. } = row;
    let name =
        format!("Keys of {table} / {row}, {}, by how much of the size they needed", bucket.limit);
    let (limit, tag) = (Escaped(&bucket.limit), Tag::of_override(bucket.is_override));
    let usage = Usage { name: &name, bucket };
    f.write_str("<div class=\"near-bucket\">")?;
    write!(f, "<figure><figcaption>{limit}{tag}</figcaption>{usage}</figure>")?;
    write!(
        f,
        "<table class=\"needed\"><caption>Size needed, of {}</caption>",
        grouped(bucket.size.into())
    )?;
    let columns = if spread.is_some() { ["at once", "spread"] } else { ["size", "share"] };
    write_head("Keys", &columns, f)?;
    f.write_str("<tbody>")?;
    let needed = |of: &BucketReport| [of.needed.p50, of.needed.p99, of.needed.p999, of.needed.max];
    let of_spread = spread.map(needed);
    let parts = ["50 %", "99 %", "99.9 %", "all"].into_iter().zip(needed(bucket));
    for (at, (name, of)) in parts.enumerate() {
        write!(f, "<tr><th scope=\"row\">{name}</th>")?;
        write_needed(of, bucket.size, f)?;
        match of_spread.as_ref().and_then(|of| of.get(at)) {
            Some(spread) => write_needed(*spread, bucket.size, f)?,
            None => write!(f, "<td class=\"number\">{}</td>", share(of, bucket.size))?,
        }
        f.write_str("</tr>")?;
    }
    f.write_str("</tbody></table></div>")
}

fn write_needed(needed: u32, size: u32, f: &mut Formatter<'_>) -> fmt::Result {
    let class = if needed > size { "number bad" } else { "number" };
    write!(f, "<td class=\"{class}\">{}</td>", grouped(needed.into()))
}

/// A part of a size, in whole percent; more than 100, if it is larger.
fn share(needed: u32, size: u32) -> String {
    match u64::from(needed) * 100 / u64::from(size.max(1)) {
        0 if needed > 0 => "< 1 %".to_owned(),
        percent => format!("{} %", grouped(percent)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_tells_little_from_nothing() {
        let shares = [(0, 10), (4, 10), (29, 10), (1, 1_000), (u32::MAX, 1)];
        let shares = shares.map(|(needed, size)| share(needed, size));
        assert_eq!(shares, ["0 %", "40 %", "290 %", "< 1 %", "429,496,729,500 %"]);
    }
}
