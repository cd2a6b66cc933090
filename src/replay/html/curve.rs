//! The sizes that keys need at other rates, as a picture: the faster the rate, the smaller the size. Each rate has the same
//! width, and sizes are drawn by their logarithm, since both go through several powers of ten.

use std::fmt::{self, Display, Formatter};

use super::escape::Escaped;
use super::panel::percent;
use crate::replay::suggest::CurvePoint;
use crate::replay::text::grouped;

/// The height of a shape in its own units, which do not depend on the size of the picture.
const UNITS: f64 = 1_000.0;

/// Where the scale begins and how high it is, in pixels.
const TOP: u32 = 24;
const HEIGHT: u32 = 110;

/// A picture of the sizes that a bucket's keys need.
#[derive(Debug)]
pub(super) struct Curve<'a> {
    /// The row and the limit.
    pub(super) name: &'a str,
    /// The part of the keys, in percent.
    pub(super) keys_percent: f64,
    /// The sizes, the slowest rate first.
    pub(super) points: &'a [CurvePoint],
}

impl Display for Curve<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { keys_percent, points, .. } = self;
        let bottom = TOP + HEIGHT;
        write!(f, "<svg class=\"plot\" role=\"img\" height=\"{}\">", bottom + 20)?;
        write!(f, "<title>{}</title>", Escaped(self.name))?;
        write!(f, "<desc>{}</desc>", Escaped(&self.told()))?;
        write!(
            f,
            "<text y=\"10\">size for <tspan class=\"admitted\">{keys_percent} % of the keys</tspan>, \
             for <tspan class=\"denied\">all of them</tspan></text>"
        )?;
        self.write_scale(f)?;
        write!(f, "<svg y=\"{TOP}\" width=\"100%\" height=\"{HEIGHT}\"")?;
        write!(
            f,
            " viewBox=\"0 0 {} {UNITS}\" preserveAspectRatio=\"none\">",
            points.len().max(1)
        )?;
        self.write_line("all", |point| point.size_for_all, f)?;
        self.write_line("part", |point| point.size, f)?;
        f.write_str("</svg>")?;
        self.write_rates(f)?;
        f.write_str("</svg>")
    }
}

impl Curve<'_> {
    /// The powers of ten from one to the first that no size exceeds; at least 1 and 10.
    fn powers(&self) -> impl Iterator<Item = u64> {
        let most = self.points.iter().map(|point| point.size_for_all.max(point.size)).max();
        let most = u64::from(most.unwrap_or(0)).max(10);
        let mut is_last = false;
        (0..=19).map(|power| 10_u64.saturating_pow(power)).take_while(move |power| {
            let is_within = !is_last;
            is_last = *power >= most;
            is_within
        })
    }

    /// The part of the height of a size, from 0 to 1.
    fn height_of(&self, size: u32) -> f64 {
        let decades = self.powers().skip(1).fold(0.0, |sum, _| sum + 1.0);
        f64::from(size.max(1)).log10() / decades
    }

    fn write_scale(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for power in self.powers() {
            let size = u32::try_from(power).unwrap_or(u32::MAX);
            let y = f64::from(TOP) + f64::from(HEIGHT) * (1.0 - self.height_of(size));
            let class = if power == 1 { "base" } else { "grid" };
            write!(
                f,
                "<line class=\"{class}\" x1=\"0\" x2=\"100%\" y1=\"{y:.0}\" y2=\"{y:.0}\"/>"
            )?;
            let (y, number) = (y + 4.0, grouped(power));
            write!(f, "<text x=\"-6\" y=\"{y:.0}\" text-anchor=\"end\">{number}</text>")?;
        }
        Ok(())
    }

    /// Writes a size of each rate, from left to right.
    fn write_line(
        &self,
        class: &str,
        of: impl Fn(&CurvePoint) -> u32,
        f: &mut Formatter<'_>,
    ) -> fmt::Result {
        write!(f, "<path class=\"{class}\" d=\"")?;
        for (at, point) in self.points.iter().enumerate() {
            let y = UNITS * (1.0 - self.height_of(of(point)));
            let begin = if at == 0 { "M0 " } else { "V" };
            write!(f, "{begin}{y:.0}H{}", at + 1)?;
        }
        f.write_str("\"/>")
    }

    /// Writes the slowest and the fastest rate, and where the present one is.
    fn write_rates(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let y = TOP + HEIGHT + 15;
        if let (Some(first), Some(last)) = (self.points.first(), self.points.last()) {
            let (first, last) = (Escaped(&first.rate), Escaped(&last.rate));
            write!(f, "<text x=\"0\" y=\"{y}\">{first}</text>")?;
            write!(f, "<text x=\"100%\" y=\"{y}\" text-anchor=\"end\">{last}</text>")?;
        }
        let number = |place: usize| u64::try_from(place).unwrap_or(u64::MAX);
        if let Some(present) = self.points.iter().position(|point| point.is_present) {
            let x = percent(2 * number(present) + 1, 2 * number(self.points.len()));
            write!(
                f,
                "<line class=\"limit\" x1=\"{x}\" x2=\"{x}\" y1=\"{TOP}\" y2=\"{}\"/>\
                 <text class=\"limit\" x=\"{x}\" dx=\"5\" y=\"{}\">now</text>",
                TOP + HEIGHT,
                TOP + 10
            )?;
        }
        Ok(())
    }

    /// The picture in words: the slowest rate, the present one and the fastest.
    fn told(&self) -> String {
        let last = self.points.len().saturating_sub(1);
        let is_told = |at: usize, point: &CurvePoint| at == 0 || at == last || point.is_present;
        let told = self.points.iter().enumerate().filter(|(at, point)| is_told(*at, point));
        let told = told.map(|(_, CurvePoint { rate, size, size_for_all, is_present, .. })| {
            let now = if *is_present { ", as now" } else { "" };
            let [size, all] = [*size, *size_for_all].map(|size| grouped(size.into()));
            format!("At {rate}{now}, {} % of the keys need {size}, all {all}.", self.keys_percent)
        });
        told.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(rate: &str, size: u32, size_for_all: u32) -> CurvePoint {
        CurvePoint {
            rate: rate.to_owned(),
            tokens: 1,
            period_seconds: 1,
            is_present: rate.starts_with("10 "),
            size,
            size_for_all,
            sizes_if_spread: None,
        }
    }

    fn drawn(points: &[CurvePoint]) -> String {
        Curve { name: "calls", keys_percent: 99.9, points }.to_string()
    }

    #[test]
    fn a_tenth_of_a_size_is_a_step_of_the_scale() {
        let points = [
            point("1 per minute", 100, 1_000),
            point("10 per minute", 10, 100),
            point("1 per second", 1, 1),
        ];
        let curve = drawn(&points);
        assert!(curve.contains(r#"<path class="all" d="M0 0H1V333H2V1000H3"/>"#), "{curve}");
        assert!(curve.contains(r#"<path class="part" d="M0 333H1V667H2V1000H3"/>"#), "{curve}");
        assert!(curve.contains(r#"<line class="limit" x1="50.00%""#), "{curve}");
        for (y, number) in [(134, "1"), (97, "10"), (61, "100"), (24, "1,000")] {
            let text =
                format!("<text x=\"-6\" y=\"{}\" text-anchor=\"end\">{number}</text>", y + 4);
            assert!(curve.contains(&text), "{text} in {curve}");
        }
        let told = "At 1 per minute, 99.9 % of the keys need 100, all 1,000. \
                    At 10 per minute, as now, 99.9 % of the keys need 10, all 100. \
                    At 1 per second, 99.9 % of the keys need 1, all 1.";
        assert!(curve.contains(told), "{curve}");
    }

    #[test]
    fn a_scale_has_two_powers_at_least_and_the_largest_size_at_most() {
        let powers = |size| {
            let points = [point("1 per day", size, size)];
            let curve = Curve { name: "", keys_percent: 50.0, points: &points };
            curve.powers().collect::<Vec<_>>()
        };
        assert_eq!(powers(1), [1, 10]);
        assert_eq!(powers(10), [1, 10]);
        assert_eq!(powers(11), [1, 10, 100]);
        assert_eq!(powers(u32::MAX).last(), Some(&10_000_000_000));
        assert!(drawn(&[]).contains(r#"viewBox="0 0 1 1000""#));
    }
}
