//! How values are escaped in a line, and what they are without.

use std::borrow::Cow;

use crate::request::is_absent;

/// A value as it stands in a line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'l> {
    pub(crate) bytes: &'l [u8],
    pub(crate) form: Form<'l>,
}

/// What is to be done to have the value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form<'l> {
    /// Nothing.
    Plain,
    /// `\x22` of NGINX, Apache and AWS, and `\"`, `\\`, `\n` and the like.
    Backslashes,
    /// What stands between the quotes of a JSON string. Also `\x22`, which NGINX writes without `escape=json`.
    Json,
    /// What stands between the brackets of a JSON array; the elements are joined by `, `.
    JsonArray,
    /// `%22`.
    Percent,
    /// `""` for `"`, within the quotes of CSV.
    DoubledQuotes,
    /// What Rust's `escape_debug` writes, and `\xff` for bytes that are not UTF-8.
    Debug,
    /// A path, with `?` and this query behind it.
    WithQuery(&'l [u8]),
}

impl<'l> Raw<'l> {
    /// A value that stands as it is.
    pub(crate) const fn plain(bytes: &'l [u8]) -> Self {
        Self { bytes, form: Form::Plain }
    }

    /// Whether it stands for no value.
    pub(crate) const fn is_absent(&self) -> bool {
        is_absent(self.bytes)
    }

    /// The value.
    pub(crate) fn value(&self) -> Cow<'l, [u8]> {
        if let Form::Plain = self.form {
            return self.bytes.into();
        }
        let mut value = vec![];
        self.append_to(&mut value);
        value.into()
    }

    /// Appends the value. Escapes that mean nothing stay as they are.
    pub(crate) fn append_to(&self, to: &mut Vec<u8>) {
        match self.form {
            Form::Plain => to.extend_from_slice(self.bytes),
            Form::Backslashes => backslashes(self.bytes, to),
            Form::Json => json(self.bytes, to),
            Form::JsonArray => crate::json::array::append(self.bytes, to),
            Form::Percent => percent(self.bytes, to),
            Form::DoubledQuotes => doubled_quotes(self.bytes, to),
            Form::Debug => debug(self.bytes, to),
            Form::WithQuery(query) => {
                to.extend_from_slice(self.bytes);
                to.push(b'?');
                to.extend_from_slice(query);
            }
        }
    }
}

/// Copies up to each `mark`, behind which `escape` takes what it understands and returns the rest.
fn each_escape(
    text: &[u8],
    mark: u8,
    to: &mut Vec<u8>,
    mut escape: impl for<'t> FnMut(&'t [u8], &mut Vec<u8>) -> Option<&'t [u8]>,
) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(mark, rest) {
        let (before, from) = rest.split_at(at);
        to.extend_from_slice(before);
        let behind = from.get(1..).unwrap_or_default();
        rest = escape(behind, to).unwrap_or_else(|| {
            to.push(mark);
            behind
        });
    }
    to.extend_from_slice(rest);
}

fn backslashes(text: &[u8], to: &mut Vec<u8>) {
    each_escape(text, b'\\', to, |behind, to| {
        let (letter, rest) = behind.split_first()?;
        match letter {
            b'x' => return hex_byte(rest, to),
            b'"' | b'\\' => to.push(*letter),
            b'n' => to.push(b'\n'),
            b'r' => to.push(b'\r'),
            b't' => to.push(b'\t'),
            b'b' => to.push(8),
            b'v' => to.push(11),
            b'f' => to.push(12),
            _ => return None,
        }
        Some(rest)
    });
}

fn json(text: &[u8], to: &mut Vec<u8>) {
    each_escape(text, b'\\', to, |behind, to| {
        let (letter, rest) = behind.split_first()?;
        match letter {
            b'"' | b'\\' | b'/' => to.push(*letter),
            b'n' => to.push(b'\n'),
            b'r' => to.push(b'\r'),
            b't' => to.push(b'\t'),
            b'b' => to.push(8),
            b'f' => to.push(12),
            b'u' => return json_unit(rest, to),
            b'x' => return hex_byte(rest, to),
            _ => return None,
        }
        Some(rest)
    });
}

/// Four digits, and those of the other half of a pair. A half alone is U+FFFD.
fn json_unit<'t>(text: &'t [u8], to: &mut Vec<u8>) -> Option<&'t [u8]> {
    let (first, mut rest) = hex_digits(text, 4)?;
    let mut c = char::from_u32(first);
    if (0xd800..0xdc00).contains(&first)
        && let Some((second, after)) =
            rest.strip_prefix(br"\u").and_then(|behind| hex_digits(behind, 4))
        && (0xdc00..0xe000).contains(&second)
    {
        c = char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00));
        rest = after;
    }
    push_char(c.unwrap_or(char::REPLACEMENT_CHARACTER), to);
    Some(rest)
}

pub(crate) fn push_char(c: char, to: &mut Vec<u8>) {
    to.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn debug(text: &[u8], to: &mut Vec<u8>) {
    each_escape(text, b'\\', to, |behind, to| {
        let (letter, rest) = behind.split_first()?;
        match letter {
            b'"' | b'\'' | b'\\' => to.push(*letter),
            b'n' => to.push(b'\n'),
            b'r' => to.push(b'\r'),
            b't' => to.push(b'\t'),
            b'0' => to.push(0),
            b'x' => return hex_byte(rest, to),
            b'u' => {
                let rest = rest.strip_prefix(b"{")?;
                let digits =
                    rest.iter().take(6).take_while(|byte| byte.is_ascii_hexdigit()).count();
                let (number, rest) = hex_digits(rest, digits)?;
                push_char(char::from_u32(number)?, to);
                return rest.strip_prefix(b"}");
            }
            _ => return None,
        }
        Some(rest)
    });
}

fn percent(text: &[u8], to: &mut Vec<u8>) {
    each_escape(text, b'%', to, hex_byte);
}

fn doubled_quotes(text: &[u8], to: &mut Vec<u8>) {
    each_escape(text, b'"', to, |behind, to| {
        to.push(b'"');
        Some(behind.strip_prefix(b"\"").unwrap_or(behind))
    });
}

fn hex_byte<'t>(text: &'t [u8], to: &mut Vec<u8>) -> Option<&'t [u8]> {
    let (byte, rest) = hex_digits(text, 2)?;
    to.push(u8::try_from(byte).ok()?);
    Some(rest)
}

/// The number of this many hexadecimal digits, and what is behind them.
pub(crate) fn hex_digits(text: &[u8], count: usize) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_at_checked(count)?;
    let add = |number: u32, digit: &u8| {
        number.checked_mul(16)?.checked_add(char::from(*digit).to_digit(16)?)
    };
    Some((digits.iter().try_fold(0, add)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(bytes: &[u8], form: Form<'_>) -> Vec<u8> {
        let mut value = vec![];
        Raw { bytes, form }.append_to(&mut value);
        value
    }

    #[test]
    fn backslashes_are_those_of_apache_and_nginx() {
        let value = |text: &[u8]| value(text, Form::Backslashes);
        assert_eq!(value(br#"a \"b\" \x22c\x22 \x5Cd\\e"#), br#"a "b" "c" \d\e"#);
        assert_eq!(value(br"\xe2\x82\xAC\xff"), b"\xe2\x82\xac\xff");
        assert_eq!(value(br"\n\t\q\x2"), b"\n\t\\q\\x2");
        assert_eq!(value(b"\\"), b"\\");
    }

    #[test]
    fn json_escapes_are_those_of_the_standard_and_of_nginx() {
        let value = |text: &[u8]| value(text, Form::Json);
        assert_eq!(value(br#"\"\\\/\b\f\n\r\t"#), b"\"\\/\x08\x0c\n\r\t");
        assert_eq!(value(br"\u20AC \ud83d\ude00"), "€ 😀".as_bytes());
        assert_eq!(
            value(br"\ud83d! \ude00 \ud83d\u0041"),
            "\u{fffd}! \u{fffd} \u{fffd}A".as_bytes()
        );
        assert_eq!(value(br"\x22\u12\q"), br#""\u12\q"#);
        assert_eq!(value(b"Zo\xeb\\"), b"Zo\xeb\\");
    }

    #[test]
    fn the_other_forms_are_undone() {
        assert_eq!(value(br#"\"a\u{1b}\0\\n\xff\u{e9}"#, Form::Debug), b"\"a\x1b\0\\n\xff\xc3\xa9");
        assert_eq!(value(b"a%20b%2525%zz%", Form::Percent), b"a b%25%zz%");
        assert_eq!(value(br#"a ""b"" c"#, Form::DoubledQuotes), br#"a "b" c"#);
        assert_eq!(value(b"/a", Form::WithQuery(b"b=1")), b"/a?b=1");
        assert_eq!(value(b"a\\x22%20", Form::Plain), b"a\\x22%20");
    }
}
