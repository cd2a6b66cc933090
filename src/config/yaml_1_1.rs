//! Plain scalars as YAML 1.1 has them, and gopkg.in/yaml.v2 reads them: `yes` is true and `010` is eight.

/// The value of a plain scalar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scalar {
    /// Nothing: `~`, `null` or an empty scalar.
    Nothing,
    /// True or false, in any of their six words.
    Flag(bool),
    /// A whole number: decimal, or with a prefix as in `0x1F`, `0b11`, `0o17` and `017`.
    Whole(i64),
    /// Any other number.
    Number(f64),
    /// Anything else, such as a date.
    Text,
}

/// The value of a plain scalar. Base 60, as in `1:30`, is text.
pub(super) fn resolve(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Nothing,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Scalar::Flag(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Scalar::Flag(false),
        "true" | "True" | "TRUE" => Scalar::Flag(true),
        "false" | "False" | "FALSE" => Scalar::Flag(false),
        ".nan" | ".NaN" | ".NAN" => Scalar::Number(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Scalar::Number(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Scalar::Number(f64::NEG_INFINITY),
        _ if text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => number(text),
        _ => Scalar::Text,
    }
}

/// A scalar that begins as a number does. Underscores may stand anywhere in one, but behind a point that begins it only
/// between digits.
fn number(text: &str) -> Scalar {
    if text.starts_with('.') && !text.split('_').is_sorted_by(separate_digits) {
        return Scalar::Text;
    }
    let digits = text.replace('_', "");
    match whole(&digits) {
        Some(number) => i64::try_from(number)
            .map(Scalar::Whole)
            // A number beyond 2^63 - 1.
            .unwrap_or(Scalar::Number(number as f64)),
        None => fraction(&digits).map_or(Scalar::Text, Scalar::Number),
    }
}

/// Whether two parts of a text end and begin with a digit where they meet.
fn separate_digits(before: &&str, behind: &&str) -> bool {
    let is_digit = |c: char| c.is_ascii_digit();
    before.ends_with(is_digit) && behind.starts_with(is_digit)
}

/// A whole number from -2^63 to 2^64 - 1.
fn whole(text: &str) -> Option<i128> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, text.get(1..)?),
        b'+' => (1, text.get(1..)?),
        _ => (1, text),
    };
    let (base, digits) = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => (16, digits.get(2..)?),
        Some("0o") => (8, digits.get(2..)?),
        Some("0b") => (2, digits.get(2..)?),
        Some(_) if digits.starts_with('0') => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    // `from_str_radix` takes a second sign.
    let number = u64::from_str_radix(digits, base).ok().filter(|_| !digits.starts_with('+'))?;
    let number = sign * i128::from(number);
    (number >= i128::from(i64::MIN)).then_some(number)
}

fn fraction(text: &str) -> Option<f64> {
    let is_decimal = text.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
    text.parse().ok().filter(|number: &f64| is_decimal && number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_are_what_the_reference_reads() {
        for (text, expected) in [
            ("", Scalar::Nothing),
            ("Null", Scalar::Nothing),
            ("y", Scalar::Flag(true)),
            ("Off", Scalar::Flag(false)),
            ("TRUE", Scalar::Flag(true)),
            ("0", Scalar::Whole(0)),
            ("+5", Scalar::Whole(5)),
            ("-1", Scalar::Whole(-1)),
            ("010", Scalar::Whole(8)),
            ("-010", Scalar::Whole(-8)),
            ("0o17", Scalar::Whole(15)),
            ("0x1F", Scalar::Whole(31)),
            ("0X1f", Scalar::Whole(31)),
            ("0b101", Scalar::Whole(5)),
            ("1_000", Scalar::Whole(1000)),
            ("1_", Scalar::Whole(1)),
            ("-9223372036854775808", Scalar::Whole(i64::MIN)),
            ("9223372036854775807", Scalar::Whole(i64::MAX)),
            ("9223372036854775808", Scalar::Number(9_223_372_036_854_775_808.0)),
            ("99999999999999999999", Scalar::Number(1e20)),
            // Not octal: a fraction with nothing behind the point.
            ("08", Scalar::Number(8.0)),
            ("1.5", Scalar::Number(1.5)),
            (".5", Scalar::Number(0.5)),
            (".5_0", Scalar::Number(0.5)),
            ("1.", Scalar::Number(1.0)),
            ("1e3", Scalar::Number(1000.0)),
            ("-.Inf", Scalar::Number(f64::NEG_INFINITY)),
        ] {
            assert_eq!(resolve(text), expected, "{text}");
        }
        assert!(matches!(resolve(".nan"), Scalar::Number(number) if number.is_nan()));
    }

    #[test]
    fn what_only_begins_as_a_number_is_text() {
        for text in [
            "yEs",
            "nULL",
            "none",
            "inf",
            "nan",
            "+",
            "-",
            ".",
            "..",
            "+-1",
            "0x",
            "0xg",
            "0x+1",
            "0b2",
            "1e400",
            "1:30",
            "10.0.0.0/8",
            "1.2.3",
            "2020-01-01",
            "5m",
            "_1",
            "-yes",
            "+.nan",
            "é",
        ] {
            assert_eq!(resolve(text), Scalar::Text, "{text}");
        }
    }
}
