//! The content of a document as a tree of values with their positions.

use std::borrow::Cow;
use std::rc::Rc;

use super::path::Position;
use super::yaml_1_1::{self, Scalar};

/// A value and where it begins. A clone shares its children, so that an alias costs no more than a scalar.
#[derive(Debug, Clone)]
pub(super) struct Value<'t> {
    pub(super) kind: Kind<'t>,
    pub(super) position: Position,
}

/// A key and its value.
pub(super) type Entry<'t> = (Value<'t>, Value<'t>);

/// The kinds of values.
#[derive(Debug, Clone)]
pub(super) enum Kind<'t> {
    Nothing,
    Flag(bool),
    Whole(u64),
    /// Any other number, as it is written: nothing in a policy is negative, a fraction or above `u64`.
    Number(Cow<'t, str>),
    Text(Cow<'t, str>),
    /// A plain scalar of YAML 1.1, as it is written: where a text is due, `yes` is one.
    Plain(Cow<'t, str>),
    List(Rc<[Value<'t>]>),
    Mapping(Rc<[Entry<'t>]>),
    /// A value with a custom tag, which no policy has; only the tag is kept.
    Tagged(String),
}

impl<'t> Value<'t> {
    pub(super) const fn is_mapping(&self) -> bool {
        matches!(self.kind, Kind::Mapping(_))
    }

    pub(super) const fn is_sequence(&self) -> bool {
        matches!(self.kind, Kind::List(_))
    }

    pub(super) const fn is_string(&self) -> bool {
        matches!(self.kind, Kind::Text(_))
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_sequence(&self) -> Option<&[Self]> {
        match &self.kind {
            Kind::List(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn as_mapping(&self) -> Option<&[Entry<'t>]> {
        match &self.kind {
            Kind::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// The text of a scalar; `None` for other kinds.
    pub(super) fn scalar(&self) -> Option<Cow<'_, str>> {
        match &self.kind {
            Kind::Text(text) | Kind::Number(text) | Kind::Plain(text) => Some(Cow::Borrowed(text)),
            Kind::Whole(number) => Some(number.to_string().into()),
            Kind::Flag(flag) => Some(flag.to_string().into()),
            _ => None,
        }
    }

    /// The kind in words, for a problem.
    pub(super) fn describe(&self) -> String {
        match &self.kind {
            Kind::Nothing => "nothing".to_owned(),
            Kind::Flag(flag) => flag.to_string(),
            Kind::Whole(number) => format!("the number {number}"),
            Kind::Number(number) => format!("the number {number}"),
            Kind::Text(_) => "text".to_owned(),
            Kind::Plain(text) => describe_plain(text),
            Kind::List(_) => "a list".to_owned(),
            Kind::Mapping(_) => "a mapping".to_owned(),
            Kind::Tagged(tag) => format!("the tag {tag}"),
        }
    }
}

/// The kind of a plain scalar of YAML 1.1 in words.
fn describe_plain(text: &str) -> String {
    match yaml_1_1::resolve(text) {
        Scalar::Nothing => "nothing".to_owned(),
        Scalar::Flag(flag) => flag.to_string(),
        Scalar::Whole(_) | Scalar::Number(_) => format!("the number {text}"),
        Scalar::Text => "text".to_owned(),
    }
}

/// The value of a plain scalar by YAML's core schema.
pub(super) fn plain(scalar: Cow<'_, str>) -> Kind<'_> {
    match &*scalar {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Nothing,
        "true" | "True" | "TRUE" => return Kind::Flag(true),
        "false" | "False" | "FALSE" => return Kind::Flag(false),
        _ => {}
    }
    if let Some(number) = whole(&scalar) {
        return Kind::Whole(number);
    }
    if is_number(&scalar) { Kind::Number(scalar) } else { Kind::Text(scalar) }
}

fn whole(scalar: &str) -> Option<u64> {
    let digits = scalar.strip_prefix('+').unwrap_or(scalar);
    for (sign, base) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = digits.strip_prefix(sign) {
            let is_plain = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
            return u64::from_str_radix(digits, base).ok().filter(|_| is_plain);
        }
    }
    let is_plain = is_digits(digits) && !has_leading_zero(digits);
    digits.parse().ok().filter(|_| is_plain)
}

/// Whether it is a number that is not a `u64`: negative, a fraction, an infinity or too large.
fn is_number(scalar: &str) -> bool {
    let bare = scalar.strip_prefix(['-', '+']).unwrap_or(scalar);
    if [".inf", ".Inf", ".INF"].contains(&bare) || [".nan", ".NaN", ".NAN"].contains(&scalar) {
        return true;
    }
    let begins = bare.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let is_octal = is_digits(bare) && has_leading_zero(bare);
    begins && !is_octal && bare.parse::<f64>().is_ok()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// YAML reads digits with a leading zero as text.
fn has_leading_zero(digits: &str) -> bool {
    digits.len() > 1 && digits.starts_with('0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(scalar: &str) -> String {
        Value { kind: plain(scalar.into()), position: Position::default() }.describe()
    }

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        for (scalar, expected) in [
            ("", "nothing"),
            ("~", "nothing"),
            ("null", "nothing"),
            ("True", "true"),
            ("FALSE", "false"),
            ("0", "the number 0"),
            ("+5", "the number 5"),
            ("0x10", "the number 16"),
            ("0o17", "the number 15"),
            ("0b101", "the number 5"),
            ("18446744073709551615", "the number 18446744073709551615"),
            ("18446744073709551616", "the number 18446744073709551616"),
            ("-1", "the number -1"),
            ("0.5", "the number 0.5"),
            ("1e3", "the number 1e3"),
            (".5", "the number .5"),
            ("-.inf", "the number -.inf"),
            (".nan", "the number .nan"),
        ] {
            assert_eq!(described(scalar), expected, "{scalar}");
        }
        for text in ["nan", "inf", "infinity", "no", "yes", "nULL", "007", "-01", "0x", "0xg"] {
            assert_eq!(described(text), "text", "{text}");
        }
        for text in ["0x-1", "0x+1", "+", "-", ".", "1.2.3", "10.0.0.0/8", "5m", "--1", "+-1", "e5"]
        {
            assert_eq!(described(text), "text", "{text}");
        }
    }
}
