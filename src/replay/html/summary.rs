//! What came of the replay, in a sentence; both bounds, if the log tells whole seconds; and the requests over time.

use std::fmt::{self, Display, Formatter};

use super::elements::{begin_section, write_head};
use super::plot::Plot;
use super::words::{count, part_of, seconds, span};
use crate::replay::report::{Outcome, Report};
use crate::replay::text::{grouped, percent};

/// How the requests of a second may have come, if the log tells no more.
pub(super) const BOUNDS: [&str; 2] = ["all at once", "spread over the second"];

/// The first section of the page.
#[derive(Debug)]
pub(super) struct Summary<'a>(pub(super) &'a Report);

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Report { outcome, spread, .. } = self.0;
        f.write_str("<section aria-labelledby=\"summary-title\">")?;
        f.write_str("<h2 id=\"summary-title\" class=\"hidden\">Summary</h2>")?;
        write!(f, "<p class=\"sentence\">{}</p>", sentence(self.0))?;
        f.write_str(
            "<p class=\"quiet\">The clients of a log do not know of these denials: they neither retry \
             nor slow down.</p>",
        )?;
        if let Some(spread) = spread {
            write_bounds(self.0, outcome, spread, f)?;
        }
        f.write_str("</section>")?;
        if outcome.requests == 0 {
            return Ok(());
        }
        let spread = spread.as_ref().map(|spread| &spread.series);
        let series = &outcome.series;
        let plot = Plot { name: "Requests over time", series, spread, has_denied: true };
        let read_out = "<p class=\"quiet\" data-reads-out=\"plot\">UTC</p>";
        begin_section("time", "Requests over time", read_out, f)?;
        write!(f, "{plot}</section>")
    }
}

/// The whole report in a sentence.
pub(super) fn sentence(report: &Report) -> String {
    let Report { input, outcome, spread, .. } = report;
    let Outcome { requests, keys, .. } = *outcome;
    if requests == 0 {
        return "No request of the logs was decided.".to_owned();
    }
    let within = match (&input.first, &input.last) {
        (Some(first), Some(last)) => {
            format!(" in {}", span(seconds(last).saturating_sub(seconds(first))))
        }
        _ => String::new(),
    };
    let both = |of: fn(&Outcome) -> u64| {
        let (one, other) = (of(outcome), spread.as_ref().map_or(of(outcome), of));
        (one.min(other), one.max(other))
    };
    let of_requests = format!("{}{within}", count(requests, "request", "requests"));
    let were = if keys == 1 { "was" } else { "were" };
    let keys_in_all = count(keys, "key", "keys");
    match (both(|of| of.denied), both(|of| of.keys_denied)) {
        ((_, 0), _) => {
            format!("None of {of_requests} would have been denied; there {were} {keys_in_all}.")
        }
        (denied, keys_denied) => format!(
            "Of {of_requests}, {} would have been denied; {} of {keys_in_all}.",
            between(denied, |number| part_of(number, requests)),
            between(keys_denied, grouped),
        ),
    }
}

/// One number, or two.
fn between((least, most): (u64, u64), told: impl Fn(u64) -> String) -> String {
    if least == most { told(least) } else { format!("between {} and {}", told(least), told(most)) }
}

fn write_bounds(
    report: &Report,
    at_once: &Outcome,
    spread: &Outcome,
    f: &mut Formatter<'_>,
) -> fmt::Result {
    let whole = count(report.input.whole_seconds, "request is", "requests are");
    write!(
        f,
        "<table class=\"bounds\"><caption>Two bounds: {whole} logged in whole seconds. What would have \
         happened most likely lies between them.</caption>"
    )?;
    write_head("If the requests of a second come", &["Denied", "Share", "Keys denied"], f)?;
    f.write_str("<tbody>")?;
    for (name, outcome) in BOUNDS.into_iter().zip([at_once, spread]) {
        let (denied, keys) = (grouped(outcome.denied), grouped(outcome.keys_denied));
        let share = percent(outcome.denied, outcome.requests);
        write!(f, "<tr><th scope=\"row\">{name}</th>")?;
        for number in [denied, share, keys] {
            write!(f, "<td class=\"number\">{number}</td>")?;
        }
        f.write_str("</tr>")?;
    }
    f.write_str("</tbody></table>")
}
