//! Decimal numbers, as times and durations are written.

/// Powers of ten that a `u64` holds.
const POWERS: [u64; 20] = {
    let mut powers = [1; 20];
    let mut at = 1;
    #[allow(clippy::indexing_slicing, reason = "a constant: a wrong index does not compile")]
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// A number that is not negative: `digits` times ten to the power `exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decimal {
    digits: u64,
    exponent: i32,
    /// Whether it is written with a fraction, be it `.0`.
    pub(crate) has_fraction: bool,
}

impl Decimal {
    /// Reads a number, and returns it with what follows it. Digits beyond the 19th are left out of the value.
    pub(crate) fn read(text: &[u8]) -> Option<(Self, &[u8])> {
        let mut number = Self { digits: 0, exponent: 0, has_fraction: false };
        let mut kept = 0_u8;
        let rest = number.read_digits(text, &mut kept);
        if rest.len() == text.len() {
            return None;
        }
        let rest = match rest {
            [b'.', fraction @ ..] => {
                number.has_fraction = true;
                let after = number.read_digits(fraction, &mut kept);
                if after.len() == fraction.len() {
                    return None;
                }
                after
            }
            _ => rest,
        };
        let rest = match rest {
            [b'e' | b'E', power @ ..] => number.read_power(power)?,
            _ => rest,
        };
        Some((number, rest))
    }

    fn read_digits<'t>(&mut self, text: &'t [u8], kept: &mut u8) -> &'t [u8] {
        let mut rest = text;
        while let [digit @ b'0'..=b'9', after @ ..] = rest {
            rest = after;
            if *kept < 19 {
                // Zeros in front do not count.
                *kept += u8::from(*kept > 0 || *digit != b'0');
                self.digits = self.digits * 10 + u64::from(digit - b'0');
                self.exponent = self.exponent.saturating_sub(i32::from(self.has_fraction));
            } else {
                self.exponent = self.exponent.saturating_add(i32::from(!self.has_fraction));
            }
        }
        rest
    }

    fn read_power<'t>(&mut self, text: &'t [u8]) -> Option<&'t [u8]> {
        let (is_negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        let (mut power, mut rest) = (0_i32, text);
        while let [digit @ b'0'..=b'9', after @ ..] = rest {
            power = power.saturating_mul(10).saturating_add(i32::from(digit - b'0'));
            rest = after;
        }
        let power = if is_negative { power.saturating_neg() } else { power };
        self.exponent = self.exponent.saturating_add(power);
        (rest.len() < text.len()).then_some(rest)
    }

    /// The whole number of it times ten to the power, rounded down. `None` beyond a `u64`.
    pub(crate) fn times_power_of_ten(self, power: i32) -> Option<u64> {
        let power = self.exponent.saturating_add(power);
        let of = |power: i32| POWERS.get(usize::try_from(power).ok()?).copied();
        if self.digits == 0 {
            Some(0)
        } else if power >= 0 {
            self.digits.checked_mul(of(power)?)
        } else {
            Some(of(power.saturating_neg()).map_or(0, |divisor| self.digits / divisor))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(text: &str) -> Option<u64> {
        let (number, rest) = Decimal::read(text.as_bytes())?;
        if rest.is_empty() { number.times_power_of_ten(9) } else { None }
    }

    #[test]
    fn numbers_are_read_exactly() {
        assert_eq!(nanos("0"), Some(0));
        assert_eq!(nanos("1.5"), Some(1_500_000_000));
        assert_eq!(nanos("0.000929675"), Some(929_675));
        assert_eq!(nanos("9.29675e-04"), Some(929_675));
        assert_eq!(nanos("1646861401.524102412"), Some(1_646_861_401_524_102_412));
        assert_eq!(nanos("1.9999999999999999999999"), Some(1_999_999_999));
        assert_eq!(nanos("000000000000000000000000000001"), Some(1_000_000_000));
        assert_eq!(nanos("1e-400"), Some(0));
        assert_eq!(nanos("0e400"), Some(0));
        for wrong in ["", ".", ".5", "1.", "-1", "1e", "1e+", "1e400", "18446744073709551616", "x"]
        {
            assert_eq!(nanos(wrong), None, "{wrong}");
        }
    }
}
