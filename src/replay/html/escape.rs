//! Text of a page: clients have written much of it.

use std::fmt::{self, Display, Formatter, Write as _};

/// A text as content or as the value of a quoted attribute. It holds no character that HTML gives a meaning, and what
/// would change how other text looks (control characters, marks of direction) is written out, as `\u{202e}`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // Escapes as in a Rust literal, of which quotes and backslashes need none here.
        let mut chars = self.0.escape_debug();
        while let Some(c) = chars.next() {
            let literal = if c == '\\' { chars.next() } else { None };
            match literal {
                Some(quoted @ ('\\' | '"' | '\'')) => write_char(quoted, f)?,
                Some(letter) => write!(f, "\\{letter}")?,
                None => write_char(c, f)?,
            }
        }
        Ok(())
    }
}

fn write_char(c: char, f: &mut Formatter<'_>) -> fmt::Result {
    match c {
        '&' => f.write_str("&amp;"),
        '<' => f.write_str("&lt;"),
        '>' => f.write_str("&gt;"),
        '"' => f.write_str("&quot;"),
        '\'' => f.write_str("&#39;"),
        c => f.write_char(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_html_gives_a_meaning() {
        let hostile = r#"<img src=x onerror='a'>&amp; "b""#;
        let escaped = Escaped(hostile).to_string();
        assert_eq!(escaped, "&lt;img src=x onerror=&#39;a&#39;&gt;&amp;amp; &quot;b&quot;");
    }

    #[test]
    fn what_changes_how_other_text_looks_is_written_out() {
        let escaped = Escaped("a\r\n\t\0\u{1b}[31m\u{202e}\u{2028}\u{feff}b").to_string();
        assert_eq!(escaped, "a\\r\\n\\t\\0\\u{1b}[31m\\u{202e}\\u{2028}\\u{feff}b");
    }

    #[test]
    fn other_text_stays_as_it_is() {
        for text in [r"C:\new\u{41}", "Zoë, हिन्दी, 日本語, e\u{301}", "", "100 %"]
        {
            assert_eq!(Escaped(text).to_string(), text);
        }
    }
}
