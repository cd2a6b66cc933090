//! The limits that are suggested: what each would have denied, and the sizes that keys need at other rates.

use std::fmt::{self, Display, Formatter};

use super::curve::Curve;
use super::elements::{Tag, begin_section, write_head};
use super::escape::Escaped;
use super::words::count;
use crate::replay::report::Report;
use crate::replay::suggest::{BucketSuggestion, CurvePoint, Suggested as Limit, Suggestions};
use crate::replay::text::{grouped, percent};

/// The most limits of a policy for which others are shown.
const MAX_SHOWN: usize = 100;

/// The section of the suggestions; nothing if none were asked for, or nothing was met.
#[derive(Debug)]
pub(super) struct Suggested<'a>(pub(super) &'a Report);

impl Display for Suggested<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(suggestions) = &self.0.suggestions else { return Ok(()) };
        let Suggestions { keys_percent, have_logs_changed, buckets } = suggestions;
        if buckets.is_empty() {
            return Ok(());
        }
        begin_section("suggested", "Suggested limits", "", f)?;
        write!(
            f,
            "<p class=\"note\">The smallest limits, in round numbers, with which {keys_percent} % of the \
             keys would never have been denied, and what they would have denied of the rest. Each is judged \
             alone, as if no other limit denied a request, and by the requests of these logs: leave room \
             above it."
        )?;
        if *have_logs_changed {
            f.write_str(
                " <b>The logs have changed since they were read first: what these limits deny is not \
                 exact.</b>",
            )?;
        }
        if let Some(others) = buckets.len().checked_sub(MAX_SHOWN).filter(|others| *others > 0) {
            let others = u64::try_from(others).unwrap_or(u64::MAX);
            let others = count(others, "other limit is", "other limits are");
            write!(f, " {others} not shown here; <code>--json</code> has all.")?;
        }
        f.write_str("</p>")?;
        let shown = buckets.get(..MAX_SHOWN).unwrap_or(buckets);
        let row = |of: &BucketSuggestion| (of.table.clone(), of.row.clone());
        for of_row in shown.chunk_by(|one, other| row(one) == row(other)) {
            let Some(BucketSuggestion { table, row, .. }) = of_row.first() else { continue };
            let (table, row) = (Escaped(table), Escaped(row));
            write!(f, "<h3 class=\"near-row\">{table} / {row}</h3>")?;
            of_row.iter().try_for_each(|bucket| write_bucket(bucket, *keys_percent, f))?;
        }
        f.write_str("</section>")
    }
}

fn write_bucket(
    bucket: &BucketSuggestion,
    keys_percent: f64,
    f: &mut Formatter<'_>,
) -> fmt::Result {
    let BucketSuggestion { table, row, limit, curve, .. } = bucket;
    let tag = Tag::of_override(bucket.is_override);
    let requests = count(bucket.requests, "request", "requests");
    let keys = count(bucket.keys, "key", "keys");
    f.write_str("<div class=\"near-bucket\"><figure>")?;
    write!(f, "<figcaption>{}{tag}: {requests} of {keys}</figcaption>", Escaped(limit))?;
    if !curve.is_empty() {
        let name = format!("Sizes that keys of {table} / {row}, {limit}, need at other rates");
        write!(f, "{}", Curve { name: &name, keys_percent, points: curve })?;
    }
    f.write_str("</figure><div>")?;
    write_limits(bucket, f)?;
    write_sizes(curve, keys_percent, f)?;
    f.write_str("</div></div>")
}

fn write_limits(bucket: &BucketSuggestion, f: &mut Formatter<'_>) -> fmt::Result {
    if bucket.limits().next().is_some() {
        f.write_str("<table class=\"suggested\"><caption>Enough would have been</caption>")?;
        write_head("Limit", &["Denies", "Keys"], f)?;
        f.write_str("<tbody>")?;
        bucket.limits().try_for_each(|limit| write_limit(limit, bucket, f))?;
        f.write_str("</tbody></table>")?;
    }
    if bucket.same_rate.is_none() {
        f.write_str("<p class=\"quiet\">At this rate, no size is large enough.</p>")?;
    }
    if bucket.same_shape.is_none() && !bucket.curve.is_empty() {
        f.write_str(
            "<p class=\"quiet\">A hundred times the rate, with a size in proportion, is not enough.</p>",
        )?;
    }
    Ok(())
}

fn write_limit(limit: &Limit, bucket: &BucketSuggestion, f: &mut Formatter<'_>) -> fmt::Result {
    let less = if limit.is_smallest_tried { " or less" } else { "" };
    write!(f, "<tr><th scope=\"row\">{}{less}", Escaped(&limit.limit))?;
    if let Some(spread) = limit.size_if_spread.filter(|spread| *spread != limit.size) {
        write!(f, "<small>a size of {} if spread</small>", grouped(spread.into()))?;
    }
    write!(f, "</th><td class=\"number\">{}", grouped(limit.denied))?;
    if limit.denied > 0 {
        write!(f, "<small>{}</small>", percent(limit.denied, bucket.requests))?;
    }
    write!(f, "</td><td class=\"number\">{}</td></tr>", grouped(limit.keys_denied))
}

/// Writes the numbers of the curve.
fn write_sizes(curve: &[CurvePoint], keys_percent: f64, f: &mut Formatter<'_>) -> fmt::Result {
    if curve.is_empty() {
        return Ok(());
    }
    f.write_str("<details class=\"more\"><summary>Sizes at other rates</summary>")?;
    f.write_str(
        "<table class=\"suggested\"><caption class=\"hidden\">Sizes at other rates</caption>",
    )?;
    write_head("Rate", &[&format!("{keys_percent} %"), "all"], f)?;
    f.write_str("<tbody>")?;
    for point in curve {
        let now = if point.is_present { " (now)" } else { "" };
        write!(f, "<tr><th scope=\"row\">{}{now}</th>", Escaped(&point.rate))?;
        let spread = point.sizes_if_spread.map_or([None; 2], |sizes| sizes.map(Some));
        for (size, spread) in [point.size, point.size_for_all].into_iter().zip(spread) {
            write!(f, "<td class=\"number\">{}", grouped(size.into()))?;
            if let Some(spread) = spread.filter(|spread| *spread != size) {
                write!(f, "<small>{} spread</small>", grouped(spread.into()))?;
            }
            f.write_str("</td>")?;
        }
        f.write_str("</tr>")?;
    }
    f.write_str("</tbody></table></details>")
}
