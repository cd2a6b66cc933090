//! What was read, and what one must know to judge the figures.

use std::fmt::{self, Display, Formatter};

use super::elements::{begin_section, write_fact};
use super::escape::Escaped;
use super::words::moment;
use crate::replay::report::{Example, Input, Outcome, Report};
use crate::replay::text::grouped;

/// The most names of logs.
const MAX_LOGS: usize = 10;

/// The section of what was read.
#[derive(Debug)]
pub(super) struct Read<'a>(pub(super) &'a Report);

impl Display for Read<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Report { input, outcome, .. } = self.0;
        begin_section("read", "What was read", "", f)?;
        f.write_str("<dl class=\"facts\">")?;
        for (name, number) in facts(input, outcome) {
            write_fact(name, grouped(number), f)?;
        }
        for (name, time) in [("First request", &input.first), ("Last request", &input.last)] {
            if let Some(time) = time {
                write_fact(name, format_args!("{} UTC", Escaped(&moment(time))), f)?;
            }
        }
        f.write_str("</dl>")?;
        if let Some(example) = &outcome.unmatched_example {
            let example = Escaped(example);
            f.write_str("<details><summary>The first request that no row matched</summary>")?;
            write!(f, "<p class=\"line\"><code>{example}</code></p></details>")?;
        }
        write_unreadable(&input.unreadable_examples, f)?;
        write_logs(&input.logs, f)?;
        f.write_str("</section>")
    }
}

/// The counts, in the order in which requests are dealt with. What there is none of is left out, but for the sums.
fn facts(input: &Input, outcome: &Outcome) -> impl Iterator<Item = (&'static str, u64)> {
    let all = [
        (true, "Lines", input.lines),
        (false, "Lines that could not be read", input.unreadable),
        (true, "Requests in them", input.requests),
        (false, "Left out, too late to be put in order", input.late),
        (false, "Left out by the mapping", input.skipped),
        (false, "Left out, of other times", input.other_times),
        (false, "Left out, no descriptor", input.without_descriptor),
        (false, "Left out, hits not readable", input.faulty),
        (true, "Requests decided", outcome.requests),
        (true, "Admitted", outcome.admitted),
        (false, "Passed by a bypass", outcome.bypassed),
        (false, "Passed, no row matched", outcome.unmatched),
        (true, "Denied", outcome.denied),
        (false, "Denied when they were logged (429)", outcome.denied_in_log),
        (false, "Denied then and now", outcome.denied_in_both),
        (false, "Logged in whole seconds", input.whole_seconds),
        (false, "Logged without a duration", input.without_duration),
    ];
    let told = all.into_iter().filter(|(is_sum, _, number)| *is_sum || *number > 0);
    told.map(|(_, name, number)| (name, number))
}

fn write_unreadable(examples: &[Example], f: &mut Formatter<'_>) -> fmt::Result {
    if examples.is_empty() {
        return Ok(());
    }
    f.write_str("<details><summary>Lines that could not be read, for example</summary><ul>")?;
    for Example { place, reason, line } in examples {
        let (place, reason, line) = (Escaped(place), Escaped(reason), Escaped(line));
        write!(f, "<li class=\"line\"><b>{place}</b>: {reason}<br><code>{line}</code></li>")?;
    }
    f.write_str("</ul></details>")
}

fn write_logs(logs: &[String], f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str("<h3>Logs</h3><ul>")?;
    for log in logs.iter().take(MAX_LOGS) {
        write!(f, "<li class=\"line\">{}</li>", Escaped(log))?;
    }
    if let Some(others) = logs.len().checked_sub(MAX_LOGS).filter(|others| *others > 0) {
        write!(f, "<li>and {} others</li>", grouped(u64::try_from(others).unwrap_or(u64::MAX)))?;
    }
    f.write_str("</ul>")
}

/// The section of remarks.
#[derive(Debug)]
pub(super) struct Notes<'a>(pub(super) &'a Report);

impl Display for Notes<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        begin_section("notes", "How to read this", "", f)?;
        f.write_str("<ul class=\"notes\">")?;
        for note in notes(self.0) {
            write!(f, "<li>{note}</li>")?;
        }
        f.write_str("</ul></section>")
    }
}

fn notes(report: &Report) -> Vec<&'static str> {
    let Report { input, outcome, .. } = report;
    let has_shadow = outcome.rows.iter().any(|row| row.is_shadow);
    let all = [
        (
            true,
            "The clients of a log do not know of these denials. Clients that are denied may retry, slow \
             down or give up, so that the same policy may deny more or less when it is in force.",
        ),
        (
            input.whole_seconds > 0 && report.spread.is_some(),
            "The log tells some times in whole seconds. Their requests are replayed twice: all at the \
             beginning of their second, and spread over it.",
        ),
        (
            input.whole_seconds > 0 && report.spread.is_none(),
            "The log tells some times in whole seconds, the first of them after others with fractions. \
             Their requests come all at once at the beginning of their second: less may be denied if they \
             do not.",
        ),
        (
            outcome.denied_in_log > 0,
            "Requests that were denied when they were logged (429) count as demand: they are decided \
             like all others.",
        ),
        (
            input.late > 0,
            "Lines may be out of order by a bounded time, which <code>--reorder</code> sets. Requests \
             that come later are left out.",
        ),
        (
            input.without_descriptor > 0,
            "Envoy does not ask about a request without a descriptor. An entry that descriptors need is \
             missing in these lines.",
        ),
        (
            input.without_duration > 0,
            "A request without a duration holds no slot of a concurrency bucket, so that such limits \
             deny too little here.",
        ),
        (
            has_shadow,
            "Rows in shadow deny nothing. Their denials are those that they would have made, and are \
             not in the sums.",
        ),
        (
            outcome.keys > 0,
            "A key is counted once for each limit that it met. In the pictures, 100 % is the size of \
             its bucket.",
        ),
    ];
    all.into_iter().filter_map(|(is_told, note)| is_told.then_some(note)).collect()
}
