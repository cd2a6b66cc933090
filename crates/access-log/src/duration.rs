//! How long a request took, in nanoseconds.

use crate::number::Decimal;

/// The unit of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

impl Unit {
    /// The power of ten of its nanoseconds.
    const fn power(self) -> i32 {
        match self {
            Self::Seconds => 9,
            Self::Milliseconds => 6,
            Self::Microseconds => 3,
            Self::Nanoseconds => 0,
        }
    }
}

/// Reads a duration in this unit, or in the one behind the number: `12ms`. `None` if it is no number, or negative, as
/// load balancers write for a request that had no answer.
pub(crate) fn read(text: &[u8], unit: Unit) -> Option<u64> {
    let (number, rest) = Decimal::read(text)?;
    let unit = match rest {
        b"" => unit,
        b"s" => Unit::Seconds,
        b"ms" => Unit::Milliseconds,
        b"us" | b"\xc2\xb5s" | b"\xce\xbcs" => Unit::Microseconds,
        b"ns" => Unit::Nanoseconds,
        _ => return None,
    };
    number.times_power_of_ten(unit.power())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_the_unit_of_its_field_unless_it_names_another() {
        assert_eq!(read(b"5", Unit::Milliseconds), Some(5_000_000));
        assert_eq!(read(b"0.002", Unit::Seconds), Some(2_000_000));
        assert_eq!(read(b"1.5", Unit::Microseconds), Some(1_500));
        assert_eq!(read(b"929675", Unit::Nanoseconds), Some(929_675));
        assert_eq!(read(b"9.29675e-05", Unit::Seconds), Some(92_967));
        assert_eq!(read(b"12ms", Unit::Seconds), Some(12_000_000));
        assert_eq!(read("7µs".as_bytes(), Unit::Seconds), Some(7_000));
        for wrong in ["", "-", "-1", "1m", "1h2m", "x"] {
            assert_eq!(read(wrong.as_bytes(), Unit::Seconds), None, "{wrong}");
        }
    }
}
