//! Patterns of values.

use memchr::memmem;

/// A text in which each `*` stands for any bytes, also none. The texts between them must not overlap: `/a/*/z` does not
/// match `/a/z`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    text: Box<str>,
    /// The length of the text before the first `*`.
    first: usize,
    /// The length of the text after the last `*`.
    last: usize,
}

impl Pattern {
    /// A pattern of a text; `None` if that has no `*`.
    pub(super) fn new(text: &str) -> Option<Self> {
        let first = text.find('*')?;
        let last = text.len() - text.rfind('*')? - 1;
        Some(Self { text: text.into(), first, last })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it matches all of a value.
    pub(super) fn matches(&self, value: &[u8]) -> bool {
        self.matched(value).is_some()
    }

    fn matched(&self, value: &[u8]) -> Option<()> {
        let text = self.text.as_bytes();
        let (first, rest) = text.split_at_checked(self.first)?;
        let (middle, last) = rest.split_at_checked(rest.len() - self.last)?;
        let mut value = value.strip_prefix(first)?.strip_suffix(last)?;
        // `middle` begins and ends with a `*`. Where a part occurs first, most is left for those behind it.
        for part in middle.split(|byte| *byte == b'*').filter(|part| !part.is_empty()) {
            let at = memmem::find(value, part)?;
            value = value.get(at + part.len()..)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, value: impl AsRef<[u8]>) -> bool {
        Pattern::new(pattern).unwrap().matches(value.as_ref())
    }

    #[test]
    fn a_star_stands_for_any_bytes_and_for_none() {
        for value in ["", "x", "/a/b", "*"] {
            assert!(matches("*", value) && matches("**", value), "{value}");
        }
        assert!(matches("*", b"\xff\x00"));
        assert!(matches("/api/*", "/api/"));
        assert!(matches("/api/*", "/api/v1/users"));
        assert!(!matches("/api/*", "/api"));
        assert!(matches("*.png", ".png") && matches("*.png", b"\xfe.png"));
        assert!(!matches("*.png", "a.png?"));
    }

    #[test]
    fn parts_are_in_order_and_do_not_overlap() {
        assert!(matches("/a/*/z", "/a//z") && matches("/a/*/z", "/a/b/c/z"));
        assert!(!matches("/a/*/z", "/a/z"));
        assert!(matches("ab*ba", "abba") && !matches("ab*ba", "aba"));
        assert!(matches("*b*c*", "abcd") && !matches("*c*b*", "abcd"));
        assert!(matches("a*bc*bc", "abcbc") && !matches("a*bc*bc", "abc"));
        assert!(matches("*aa*aa*", "aaaa") && !matches("*aa*aa*", "aaa"));
        assert!(matches("a**b", "ab"));
    }

    #[test]
    fn a_text_without_a_star_is_no_pattern() {
        assert_eq!(Pattern::new("/api"), None);
        assert_eq!(Pattern::new(""), None);
    }

    /// Against the plain definition: a star takes any number of bytes.
    #[test]
    fn patterns_match_what_their_definition_says() {
        fn defined(pattern: &[u8], value: &[u8]) -> bool {
            match pattern.split_first() {
                None => value.is_empty(),
                Some((b'*', rest)) => (0..=value.len()).any(|at| defined(rest, &value[at..])),
                Some((byte, rest)) => value
                    .split_first()
                    .is_some_and(|(own, left)| own == byte && defined(rest, left)),
            }
        }
        let texts = |letters: &[char], longest| {
            let mut all = vec![String::new()];
            let mut from = 0;
            for _ in 0..longest {
                let to = all.len();
                for at in from..to {
                    all.extend(
                        letters
                            .iter()
                            .map(|letter| format!("{}{letter}", all[at]))
                            .collect::<Vec<_>>(),
                    );
                }
                from = to;
            }
            all
        };
        let values = texts(&['a', 'b'], 5);
        for pattern in texts(&['a', 'b', '*'], 5).iter().filter(|text| text.contains('*')) {
            for value in &values {
                let expected = defined(pattern.as_bytes(), value.as_bytes());
                assert_eq!(matches(pattern, value), expected, "{pattern} {value}");
            }
        }
    }
}
