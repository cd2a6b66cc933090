//! Requests over time, as a picture: those that were admitted, and on top of them those that were denied.

use std::fmt::{self, Display, Formatter, Write as _};

use super::axis::times;
use super::escape::Escaped;
use super::panel::{Panel, percent, scaled};
use super::words::{count, moment, seconds, step, tick};
use crate::clock::{Nanos, Timestamp};
use crate::replay::report::SeriesReport;
use crate::replay::text::grouped;

/// The height of a shape in its own units, which do not depend on the size of the picture.
const UNITS: u64 = 1_000;

/// A picture of requests over time. Places from left to right are in percent, so that it is as wide as its place is;
/// places from top to bottom are in pixels.
#[derive(Debug)]
pub(super) struct Plot<'a> {
    /// What it shows.
    pub(super) name: &'a str,
    /// The requests.
    pub(super) series: &'a SeriesReport,
    /// The same, with the requests of whole seconds spread over them.
    pub(super) spread: Option<&'a SeriesReport>,
    /// Whether a second picture shows those that were denied by their own scale.
    pub(super) has_denied: bool,
}

impl Display for Plot<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let all = Panel::new(20, if self.has_denied { 120 } else { 80 }, self.most(sum));
        let apart = self.panel_of_denied(all.bottom() + 30);
        let bottom = apart.as_ref().unwrap_or(&all).bottom();
        write!(f, "<svg class=\"plot\" role=\"img\" height=\"{}\"", bottom + 20)?;
        self.write_data(f)?;
        write!(f, "><title>{}</title>", Escaped(self.name))?;
        write!(f, "<desc>{}</desc>", Escaped(&self.told()))?;
        self.write_all(&all, f)?;
        if let Some(apart) = apart {
            self.write_denied(&apart, f)?;
        }
        self.write_times(bottom, f)?;
        f.write_str("</svg>")
    }
}

impl Plot<'_> {
    fn most(&self, of: fn(&[u64; 2]) -> u64) -> u64 {
        self.series.steps.iter().map(of).max().unwrap_or(0)
    }

    /// What a number of the picture is of: `per minute`.
    fn per_step(&self) -> String {
        format!("per {}", step(self.series.step_seconds))
    }

    /// The second picture; none without denials.
    fn panel_of_denied(&self, top: u64) -> Option<Panel> {
        let spread = self.spread_steps().unwrap_or_default();
        let most = spread.iter().map(denied).fold(self.most(denied), u64::max);
        (self.has_denied && most > 0).then(|| Panel::new(top, 70, most))
    }

    fn write_all(&self, panel: &Panel, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<text y=\"10\"><tspan class=\"admitted\">admitted</tspan>, on top \
             <tspan class=\"denied\">denied</tspan>, {}</text>",
            self.per_step()
        )?;
        panel.write_scale(f)?;
        let steps = &self.series.steps;
        let total = shape("area denied", steps, sum, panel.most());
        let admitted = shape("area admitted", steps, |[admitted, _]| *admitted, panel.most());
        write_shapes(panel, steps.len(), &[total, admitted], f)
    }

    fn write_denied(&self, panel: &Panel, f: &mut Formatter<'_>) -> fmt::Result {
        let (y, per_step, steps) = (panel.top - 10, self.per_step(), &self.series.steps);
        write!(f, "<text class=\"denied\" y=\"{y}\">denied {per_step}")?;
        let mut shapes = vec![shape("area denied", steps, denied, panel.most())];
        if let Some(spread) = self.spread_steps() {
            f.write_str(", <tspan class=\"spread\">dashed: if spread</tspan>")?;
            shapes.push(shape("spread", spread, denied, panel.most()));
        }
        f.write_str("</text>")?;
        panel.write_scale(f)?;
        write_shapes(panel, steps.len(), &shapes, f)
    }

    /// The steps of the spread series, if they are of the same times, and others.
    fn spread_steps(&self) -> Option<&[[u64; 2]]> {
        let of = |series: &SeriesReport| (seconds(&series.begin), series.step_seconds);
        let spread = self.spread.filter(|spread| of(spread) == of(self.series))?;
        (spread.steps != self.series.steps).then_some(&*spread.steps)
    }

    /// What the script tells of single steps: their counts, in order.
    fn write_data(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let SeriesReport { begin, step_seconds, steps } = self.series;
        let spread = self.spread_steps().unwrap_or_default();
        write!(f, " data-begin=\"{}\" data-step=\"{step_seconds}\" data-steps=\"", seconds(begin))?;
        for (at, [admitted, denied]) in steps.iter().enumerate() {
            let space = if at > 0 { " " } else { "" };
            write!(f, "{space}{admitted},{denied}")?;
            if let Some([_, spread]) = spread.get(at) {
                write!(f, ",{spread}")?;
            }
        }
        f.write_char('"')
    }

    /// The picture in words.
    fn told(&self) -> String {
        let (steps, per_step) = (&self.series.steps, self.per_step());
        let most = |of: fn(&[u64; 2]) -> u64| {
            let numbered = steps.iter().enumerate();
            // The first of equal ones.
            let (at, step) = numbered.rev().max_by_key(|(_, step)| of(step))?;
            Some((of(step), self.time_of(at)))
        };
        let mut told = String::new();
        if let Some((most, at)) = most(sum) {
            let requests = count(most, "request", "requests");
            told.push_str(&format!("At most {requests} {per_step}, at {at}."));
        }
        match most(denied) {
            Some((most, at)) if most > 0 => {
                told.push_str(&format!(" At most {} of them were denied, at {at}.", grouped(most)));
            }
            _ => told.push_str(" None were denied."),
        }
        told
    }

    /// When a step begins.
    fn time_of(&self, step: usize) -> String {
        let step = u64::try_from(step).unwrap_or(u64::MAX);
        let since = step.saturating_mul(self.series.step_seconds);
        let time = seconds(&self.series.begin).saturating_add(since);
        moment(&Timestamp::default().after(Nanos::from_secs(time)).rfc3339())
    }

    fn write_times(&self, bottom: u64, f: &mut Formatter<'_>) -> fmt::Result {
        let begin = seconds(&self.series.begin);
        let steps = u64::try_from(self.series.steps.len()).unwrap_or(u64::MAX);
        let length = steps.max(1).saturating_mul(self.series.step_seconds.max(1));
        for time in times(begin, begin.saturating_add(length), 6) {
            let x = percent(time - begin, length);
            write!(
                f,
                "<line class=\"tick\" x1=\"{x}\" x2=\"{x}\" y1=\"{bottom}\" y2=\"{}\"/>",
                bottom + 4
            )?;
            // A text in the middle of its place would reach beyond the picture there.
            let anchor = match (time - begin).saturating_mul(100) / length {
                ..5 => "start",
                5..95 => "middle",
                _ => "end",
            };
            write!(
                f,
                "<text x=\"{x}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
                bottom + 16,
                tick(time)
            )?;
        }
        Ok(())
    }
}

fn sum([admitted, denied]: &[u64; 2]) -> u64 {
    admitted.saturating_add(*denied)
}

fn denied([_, denied]: &[u64; 2]) -> u64 {
    *denied
}

/// Writes shapes with a unit for each step from left to right.
fn write_shapes(
    panel: &Panel,
    steps: usize,
    shapes: &[String],
    f: &mut Formatter<'_>,
) -> fmt::Result {
    let (y, height, steps) = (panel.top, panel.height, steps.max(1));
    write!(f, "<svg y=\"{y}\" width=\"100%\" height=\"{height}\" viewBox=\"0 0 {steps} {UNITS}\"")?;
    f.write_str(" preserveAspectRatio=\"none\">")?;
    shapes.iter().try_for_each(|shape| f.write_str(shape))?;
    f.write_str("</svg>")
}

/// The outline of a number of each step.
fn shape(class: &str, steps: &[[u64; 2]], of: impl Fn(&[u64; 2]) -> u64, most: u64) -> String {
    let mut path = format!("<path class=\"{class}\" d=\"M0 {UNITS}");
    let mut last = UNITS;
    for (x, step) in steps.iter().enumerate() {
        let y = UNITS - scaled(of(step), most, UNITS);
        if y != last {
            path.push_str(&format!("H{x}V{y}"));
            last = y;
        }
    }
    path.push_str(&format!("H{}V{UNITS}\"/>", steps.len()));
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(steps: &[[u64; 2]]) -> SeriesReport {
        let begin = "2026-03-02T14:00:00Z".to_owned();
        SeriesReport { begin, step_seconds: 60, steps: steps.to_vec() }
    }

    fn drawn(series: &SeriesReport, spread: Option<&SeriesReport>) -> String {
        Plot { name: "all", series, spread, has_denied: true }.to_string()
    }

    #[test]
    fn the_denied_stand_on_the_admitted() {
        let plot = drawn(&series(&[[6, 4], [5, 0], [5, 0], [0, 0]]), None);
        let total = r#"<path class="area denied" d="M0 1000H0V0H1V500H3V1000H4V1000"/>"#;
        let admitted = r#"<path class="area admitted" d="M0 1000H0V400H1V500H3V1000H4V1000"/>"#;
        assert!(plot.contains(&format!("{total}{admitted}")), "{plot}");
        // Their own scale ends at 4.
        assert!(plot.contains(r#"<path class="area denied" d="M0 1000H0V0H1V1000H4V1000"/>"#));
        assert!(plot.contains("At most 10 requests per minute, at 2026-03-02 14:00:00."));
        assert!(plot.contains(" At most 4 of them were denied, at 2026-03-02 14:00:00."));
        assert!(
            plot.contains(r#"data-begin="1772460000" data-step="60" data-steps="6,4 5,0 5,0 0,0""#)
        );
    }

    #[test]
    fn what_is_spread_is_drawn_by_the_same_scale() {
        let spread = series(&[[9, 1], [5, 0]]);
        let plot = drawn(&series(&[[6, 4], [5, 0]]), Some(&spread));
        assert!(
            plot.contains(r#"<path class="spread" d="M0 1000H0V750H1V1000H2V1000"/>"#),
            "{plot}"
        );
        assert!(plot.contains(r#"data-steps="6,4,1 5,0,0""#));
        assert!(!drawn(&spread, Some(&spread)).contains("spread"));
        let later = SeriesReport { begin: "2026-03-02T14:01:00Z".to_owned(), ..spread };
        let plot = drawn(&series(&[[6, 4], [5, 0]]), Some(&later));
        assert!(!plot.contains("spread") && plot.contains(r#"data-steps="6,4 5,0""#));
    }

    #[test]
    fn a_series_without_steps_is_drawn_as_nothing() {
        let nothing = series(&[]);
        let plot = drawn(&nothing, Some(&nothing));
        assert!(plot.contains(r#"viewBox="0 0 1 1000""#) && plot.contains("None were denied."));
    }
}
