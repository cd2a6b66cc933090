//! The difference to another policy.

use std::fmt::{self, Display, Formatter};

use super::elements::{begin_section, write_head};
use super::escape::Escaped;
use super::keys::write_list;
use super::summary::BOUNDS;
use crate::replay::report::{Against, Difference, KeyReport, Outcome, Report, RowReport};
use crate::replay::text::grouped;

/// The section of the other policy; nothing if there is none.
#[derive(Debug)]
pub(super) struct Compared<'a>(pub(super) &'a Report);

impl Display for Compared<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(against) = &self.0.against else { return Ok(()) };
        begin_section("against", "Against the other policy", "", f)?;
        write_counts(against, f)?;
        write_rows(&self.0.outcome, &against.outcome, f)?;
        let Difference { newly_denied_keys, no_longer_denied_keys, .. } = &against.difference;
        write_keys("Newly denied most", newly_denied_keys, f)?;
        write_keys("No longer denied most", no_longer_denied_keys, f)?;
        f.write_str("</section>")
    }
}

fn write_keys(name: &str, keys: &[KeyReport], f: &mut Formatter<'_>) -> fmt::Result {
    if keys.is_empty() {
        return Ok(());
    }
    write!(f, "<h3>{name}</h3>")?;
    write_list(keys.iter(), None, f)
}

fn write_counts(against: &Against, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str(
        "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-labelledby=\"against-title\">",
    )?;
    f.write_str("<table class=\"bounds\"><caption>Requests that are denied</caption>")?;
    let has_bounds = against.spread_difference.is_some();
    let first = if has_bounds { "If the requests of a second come" } else { "" };
    write_head(first, &["By the other", "Newly", "No longer", "By both"], f)?;
    f.write_str("<tbody>")?;
    let at_once = Some((&against.outcome, &against.difference));
    let spread = against.spread.as_ref().zip(against.spread_difference.as_ref());
    let names = if has_bounds { BOUNDS } else { ["all requests", ""] };
    for (name, of) in names.into_iter().zip([at_once, spread]) {
        let Some((outcome, difference)) = of else { continue };
        let Difference { denied_by_both, newly_denied, no_longer_denied, .. } = *difference;
        write!(f, "<tr><th scope=\"row\">{name}</th>")?;
        for number in [outcome.denied, newly_denied, no_longer_denied, denied_by_both] {
            write!(f, "<td class=\"number\">{}</td>", grouped(number))?;
        }
        f.write_str("</tr>")?;
    }
    f.write_str("</tbody></table></div>")
}

fn write_rows(this: &Outcome, other: &Outcome, f: &mut Formatter<'_>) -> fmt::Result {
    let same = |row: &RowReport, of: &[RowReport]| {
        let found = of.iter().find(|other| other.table == row.table && other.row == row.row);
        found.map(|found| found.denied)
    };
    let of_this = this.rows.iter().map(|row| (row, Some(row.denied), same(row, &other.rows)));
    let only_other = other.rows.iter().filter(|row| same(row, &this.rows).is_none());
    let all = of_this.chain(only_other.map(|row| (row, None, Some(row.denied))));
    // A row that is not there denies nothing.
    let differs =
        |(this, other): (Option<u64>, Option<u64>)| this.unwrap_or(0) != other.unwrap_or(0);
    let mut different = all.filter(|(_, this, other)| differs((*this, *other))).peekable();
    if different.peek().is_none() {
        return Ok(());
    }
    f.write_str("<table class=\"bounds\"><caption>Rows that deny more or less</caption>")?;
    write_head("Row", &["This policy", "The other"], f)?;
    f.write_str("<tbody>")?;
    for (row, this, other) in different {
        let (table, row) = (Escaped(&row.table), Escaped(&row.row));
        write!(f, "<tr><th scope=\"row\">{table} / {row}</th>")?;
        for denied in [this, other] {
            let denied = denied.map_or_else(|| "–".to_owned(), grouped);
            write!(f, "<td class=\"number\">{denied}</td>")?;
        }
        f.write_str("</tr>")?;
    }
    f.write_str("</tbody></table>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::report::SeriesReport;

    fn outcome(rows: &[(&str, u64)]) -> Outcome {
        let row = |(row, denied): &(&str, u64)| RowReport {
            table: "calls".to_owned(),
            row: (*row).to_owned(),
            is_shadow: false,
            requests: 100,
            denied: *denied,
            buckets: Vec::new(),
        };
        Outcome {
            requests: 100,
            admitted: 100,
            denied: 0,
            denied_in_log: 0,
            denied_in_both: 0,
            bypassed: 0,
            unmatched: 0,
            unmatched_example: None,
            keys: 0,
            keys_denied: 0,
            rows: rows.iter().map(row).collect(),
            denied_keys: Vec::new(),
            series: SeriesReport { begin: String::new(), step_seconds: 60, steps: Vec::new() },
        }
    }

    struct Rows(Outcome, Outcome);

    impl Display for Rows {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            write_rows(&self.0, &self.1, f)
        }
    }

    #[test]
    fn only_rows_that_deny_more_or_less_are_told() {
        let rows = [("free", 3), ("paid", 0)];
        assert_eq!(Rows(outcome(&rows), outcome(&rows)).to_string(), "");
        assert_eq!(Rows(outcome(&rows), outcome(&rows[..1])).to_string(), "");
        let differing = Rows(outcome(&rows), outcome(&[("free", 3), ("paid", 1)])).to_string();
        assert!(differing.contains("calls / paid") && !differing.contains("calls / free"));
    }
}
