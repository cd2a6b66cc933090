//! Texts as they are written in YAML.

use std::fmt::Write;

/// Words that YAML 1.1 or 1.2 take for something else than text.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// A text as a scalar that any version of YAML reads as this text: plain if that is safe, else in quotes.
pub(super) fn scalar(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    let begins_as_name = text.starts_with(|first: char| first.is_ascii_alphabetic());
    let is_word = WORDS.iter().any(|word| word.eq_ignore_ascii_case(text));
    if begins_as_name && text.bytes().all(is_plain) && !is_word {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    text.chars().for_each(|c| push(c, &mut quoted));
    quoted.push('"');
    quoted
}

/// Writes a character within quotes, escaped unless every reader takes and every editor shows it.
fn push(c: char, to: &mut String) {
    match c {
        '"' | '\\' => to.extend(['\\', c]),
        ' '..='~' => to.push(c),
        _ if c.is_alphanumeric() => to.push(c),
        _ => drop(write!(to, "\\U{:08X}", u32::from(c))),
    }
}

/// Texts as a list on one line.
pub(super) fn list<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<_> = texts.into_iter().map(|text| scalar(text.as_ref())).collect();
    format!("[{}]", texts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_written_so_that_it_is_read_as_it_is() {
        let texts = [
            "",
            "a",
            "a.b/c-d_e1",
            "yes",
            "Null",
            "1",
            "1e3",
            "0x1F",
            "-",
            "~",
            "a b",
            "a: b",
            "#",
            "a*",
            "*a",
            "\"",
            "\\n",
            "\n",
            "\t",
            "\u{0}",
            "\u{7f}",
            "\u{85}",
            "\u{feff}",
            "\u{2028}",
            "é",
            "日本",
            "😀",
            "a[1]",
            "2020-01-01",
            "<<",
            "=",
            "{",
            "'",
        ];
        for text in texts {
            let written = format!("[{}, x]", scalar(text));
            let read: Vec<String> = serde_yaml::from_str(&written).unwrap();
            assert_eq!(read, [text, "x"], "{written}");
        }
        assert_eq!(list(["a", "1"]), "[a, \"1\"]");
    }
}
