//! The scales of a picture.

use std::fmt::{self, Formatter};

use super::axis::numbers;
use crate::replay::text::grouped;

/// The part of a picture with one scale from top to bottom.
#[derive(Debug)]
pub(super) struct Panel {
    /// Where it begins, in pixels.
    pub(super) top: u64,
    /// Its height, in pixels.
    pub(super) height: u64,
    ticks: Vec<u64>,
}

impl Panel {
    /// A part for numbers up to `most`, from `top` on, in pixels.
    pub(super) fn new(top: u64, height: u64, most: u64) -> Self {
        Self { top, height, ticks: numbers(most, if height < 100 { 2 } else { 4 }) }
    }

    /// The number at its top.
    pub(super) fn most(&self) -> u64 {
        self.ticks.last().copied().unwrap_or(1)
    }

    /// Where it ends, in pixels.
    pub(super) const fn bottom(&self) -> u64 {
        self.top + self.height
    }

    /// The height of a number in it.
    pub(super) fn height_of(&self, number: u64) -> u64 {
        scaled(number, self.most(), self.height)
    }

    /// Writes the lines and the numbers of its scale.
    pub(super) fn write_scale(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for number in &self.ticks {
            let y = self.bottom() - self.height_of(*number);
            let class = if *number == 0 { "base" } else { "grid" };
            write!(f, "<line class=\"{class}\" x1=\"0\" x2=\"100%\" y1=\"{y}\" y2=\"{y}\"/>")?;
            let number = grouped(*number);
            write!(f, "<text x=\"-6\" y=\"{}\" text-anchor=\"end\">{number}</text>", y + 4)?;
        }
        Ok(())
    }
}

/// A number of `most`, on a scale of `height`; at least 1, if it is not 0, so that it is seen.
pub(super) fn scaled(number: u64, most: u64, height: u64) -> u64 {
    let scaled = u128::from(number) * u128::from(height) / u128::from(most.max(1));
    let scaled = u64::try_from(scaled).unwrap_or(height).min(height);
    if number > 0 { scaled.max(1) } else { 0 }
}

/// A part of a length in percent, with two decimals: a place from left to right.
pub(super) fn percent(part: u64, length: u64) -> String {
    let hundredths = u128::from(part) * 10_000 / u128::from(length.max(1));
    format!("{}.{:02}%", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_at_a_round_number() {
        let panel = Panel::new(20, 120, 17);
        assert_eq!((panel.most(), panel.bottom()), (20, 140));
        assert_eq!([0, 5, 20, 40].map(|number| panel.height_of(number)), [0, 30, 120, 120]);
    }

    #[test]
    fn one_among_many_is_seen() {
        assert_eq!([0, 1, 1_000_000].map(|number| scaled(number, 1_000_000, 1_000)), [0, 1, 1_000]);
        assert_eq!(scaled(u64::MAX, u64::MAX, 120), 120);
    }

    #[test]
    fn places_have_two_decimals() {
        assert_eq!([0, 1, 3].map(|part| percent(part, 3)), ["0.00%", "33.33%", "100.00%"]);
        assert_eq!(percent(0, 0), "0.00%");
    }
}
