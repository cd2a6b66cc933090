//! A part of all keys.

use std::fmt;
use std::str::FromStr;

/// All, in millionths.
const ALL: u32 = 1_000_000;

/// A part of all keys: above 0 % and at most 100 %, in steps of 0.0001 %.
///
/// ```
/// use tollgate::replay::suggest::Share;
///
/// let share: Share = "99.9%".parse()?;
/// assert_eq!((share.to_string().as_str(), share.percent()), ("99.9 %", 99.9));
/// assert!("0%".parse::<Share>().is_err());
/// # Ok::<(), tollgate::replay::suggest::InvalidShare>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u32);

/// A text is no part of all keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a percentage above 0% and up to 100%, with at most four decimals, such as 99.9%")]
pub struct InvalidShare;

impl Share {
    /// In percent.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// The least number of keys that are at least this part of so many; at least one.
    pub(super) fn of(self, keys: usize) -> usize {
        let part = u128::try_from(keys).unwrap_or(u128::MAX).saturating_mul(self.0.into());
        let part = part.div_ceil(ALL.into()).max(1);
        usize::try_from(part).unwrap_or(usize::MAX)
    }
}

impl FromStr for Share {
    type Err = InvalidShare;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix('%').unwrap_or(text).trim_end();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let are_digits = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !are_digits(whole, 3) || !are_digits(decimals, 4) {
            return Err(InvalidShare);
        }
        let millionths = format!("{whole}{decimals:0<4}").parse().map_err(|_| InvalidShare)?;
        if (1..=ALL).contains(&millionths) { Ok(Self(millionths)) } else { Err(InvalidShare) }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.percent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(text: &str) -> Share {
        text.parse().unwrap()
    }

    #[test]
    fn percentages_are_read_exactly() {
        let told = |text| share(text).to_string();
        let told = ["99.9%", "99.9", "100 %", "0.0001%", "99.9990%"].map(told);
        assert_eq!(told, ["99.9 %", "99.9 %", "100 %", "0.0001 %", "99.999 %"]);
        for wrong in ["", "%", "0%", "100.0001%", "-1%", "1.%", ".5%", "99.99999%", "1e1%", "+5%"] {
            assert_eq!(wrong.parse::<Share>(), Err(InvalidShare), "{wrong}");
        }
    }

    #[test]
    fn a_part_of_the_keys_is_rounded_up() {
        let of = |text, keys| share(text).of(keys);
        assert_eq!([of("99.9%", 1_000), of("99.9%", 999), of("99.9%", 1_001)], [999, 999, 1_000]);
        assert_eq!([of("50%", 3), of("0.0001%", 1), of("100%", 7), of("99.9%", 0)], [2, 1, 7, 1]);
    }
}
