//! What a document says, as a tree: every value with the position where it stands.

use std::borrow::Cow;
use std::rc::Rc;

use super::path::Position;

/// A value and where it begins. A copy shares what is within: an alias costs no more than a word.
#[derive(Debug, Clone)]
pub(super) struct Value<'t> {
    pub(super) kind: Kind<'t>,
    pub(super) position: Position,
}

/// A key and its value.
pub(super) type Entry<'t> = (Value<'t>, Value<'t>);

/// What can be said.
#[derive(Debug, Clone)]
pub(super) enum Kind<'t> {
    Nothing,
    Flag(bool),
    Whole(u64),
    /// Any other number, as it is written: nothing in a policy is negative, a fraction or that large.
    Number(Cow<'t, str>),
    Text(Cow<'t, str>),
    List(Rc<[Value<'t>]>),
    Mapping(Rc<[Entry<'t>]>),
    /// No tag means anything here, so what is within does not matter.
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

    /// The value as it is written in the text, where it is a single word.
    pub(super) fn word(&self) -> Option<Cow<'_, str>> {
        match &self.kind {
            Kind::Text(text) | Kind::Number(text) => Some(Cow::Borrowed(text)),
            Kind::Whole(number) => Some(number.to_string().into()),
            Kind::Flag(flag) => Some(flag.to_string().into()),
            _ => None,
        }
    }

    /// What it is, in words.
    pub(super) fn describe(&self) -> String {
        match &self.kind {
            Kind::Nothing => "nothing".to_owned(),
            Kind::Flag(flag) => flag.to_string(),
            Kind::Whole(number) => format!("the number {number}"),
            Kind::Number(number) => format!("the number {number}"),
            Kind::Text(_) => "text".to_owned(),
            Kind::List(_) => "a list".to_owned(),
            Kind::Mapping(_) => "a mapping".to_owned(),
            Kind::Tagged(tag) => format!("the tag {tag}"),
        }
    }
}

/// What a word without quotes means, by YAML's core schema.
pub(super) fn plain(word: Cow<'_, str>) -> Kind<'_> {
    match &*word {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Nothing,
        "true" | "True" | "TRUE" => return Kind::Flag(true),
        "false" | "False" | "FALSE" => return Kind::Flag(false),
        _ => {}
    }
    if let Some(number) = whole(&word) {
        return Kind::Whole(number);
    }
    if is_number(&word) { Kind::Number(word) } else { Kind::Text(word) }
}

fn whole(word: &str) -> Option<u64> {
    let digits = word.strip_prefix('+').unwrap_or(word);
    for (sign, base) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = digits.strip_prefix(sign) {
            let is_plain = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
            return u64::from_str_radix(digits, base).ok().filter(|_| is_plain);
        }
    }
    let is_plain = is_digits(digits) && !has_leading_zero(digits);
    digits.parse().ok().filter(|_| is_plain)
}

/// Whether it is a number of another kind: negative, a fraction, an infinity, or of any length.
fn is_number(word: &str) -> bool {
    let bare = word.strip_prefix(['-', '+']).unwrap_or(word);
    if [".inf", ".Inf", ".INF"].contains(&bare) || [".nan", ".NaN", ".NAN"].contains(&word) {
        return true;
    }
    let begins = bare.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let is_octal = is_digits(bare) && has_leading_zero(bare);
    begins && !is_octal && bare.parse::<f64>().is_ok()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// YAML reads such a word as text.
fn has_leading_zero(digits: &str) -> bool {
    digits.len() > 1 && digits.starts_with('0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(word: &str) -> String {
        Value { kind: plain(word.into()), position: Position::default() }.describe()
    }

    #[test]
    fn words_mean_what_the_core_schema_says() {
        for (word, told) in [
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
            assert_eq!(is(word), told, "{word}");
        }
        for text in ["nan", "inf", "infinity", "no", "yes", "nULL", "007", "-01", "0x", "0xg"] {
            assert_eq!(is(text), "text", "{text}");
        }
        for text in ["0x-1", "0x+1", "+", "-", ".", "1.2.3", "10.0.0.0/8", "5m", "--1", "+-1", "e5"]
        {
            assert_eq!(is(text), "text", "{text}");
        }
    }
}
