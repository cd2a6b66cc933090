//! Which entries are paths, and the normal form of a path: spellings that most servers treat alike become one, before a
//! path is matched.
//!
//! RFC 3986, 6.2.2, describes escapes, their case and dot segments. That slashes are merged and parameters ignored is
//! what servers do, and in no standard.

use smallvec::SmallVec;

use super::values::PATH;

/// The entries that are paths if a policy does not say which: names that stand for nothing but the path of a request.
/// The pseudo-header, the attribute of Envoy, the header that keeps the path before a rewrite, and what policies call
/// them.
const USUAL_ENTRIES: [&str; 7] =
    [PATH, ":path", "request.path", "request_path", "request_uri", "uri", "x-envoy-original-path"];

/// The names of the entries that are paths, so that a query is no part of what they are compared by.
#[derive(Debug, Clone)]
pub struct PathEntries(Box<[Box<str>]>);

impl Default for PathEntries {
    fn default() -> Self {
        Self::new(USUAL_ENTRIES)
    }
}

impl PathEntries {
    /// The entries with these names, and no others.
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().map(Box::from).collect())
    }

    /// Whether an entry is a path, by its name. The case of the letters of ASCII does not matter.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// How much of a path counts in a table. It is not part of the identity of a bucket: a path without a query names the
/// same bucket by both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum PathInKey {
    /// What is before the first `?` or `#`.
    #[default]
    WithoutQuery,
    /// All of it, as it is sent.
    WithQuery,
}

/// Which spellings of a path are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathRules {
    /// `//` is `/`.
    pub merge_slashes: bool,
    /// A segment ends at its first `;`.
    pub ignore_parameters: bool,
    /// `%63` is `c`, `%c3` is `%C3`, a byte above 0x7F is its escape, and a `%` that begins no escape is `%25`.
    pub decode_unreserved: bool,
    /// `/a/./b` is `/a/b`, and `/a/../b` is `/b`.
    pub remove_dots: bool,
    /// `A` is `a`, for the letters of ASCII.
    pub ignore_case: bool,
}

impl Default for PathRules {
    /// What most servers do.
    fn default() -> Self {
        Self {
            merge_slashes: true,
            ignore_parameters: true,
            decode_unreserved: true,
            remove_dots: true,
            ignore_case: false,
        }
    }
}

/// The bytes of a normal form. Few paths are longer than what it holds in place.
pub(super) type Buffer = SmallVec<[u8; 256]>;

impl PathRules {
    /// The normal form of a path without its query: the path itself if it needs no change, otherwise in the empty
    /// buffer. The normal form of a normal form is itself. A path that does not begin with `/` is left as it is.
    #[inline]
    pub(super) fn normalize<'p>(self, path: &'p [u8], buffer: &'p mut Buffer) -> &'p [u8] {
        if self.may_change(path) { self.normalize_changed(path, buffer) } else { path }
    }

    /// As [`Self::normalize`], of a path that [may change](Self::may_change).
    pub(super) fn normalize_changed<'p>(self, path: &'p [u8], buffer: &'p mut Buffer) -> &'p [u8] {
        if !path.starts_with(b"/") {
            return path;
        }
        self.rewrite(path, buffer);
        buffer
    }

    /// Whether a path has a query, or a byte that some rule changes, whichever rules there are. Each pass looks at every byte without
    /// a branch, sixteen at a time: nearly every path has none, so that stopping at the first would gain nothing.
    #[inline]
    pub(super) fn may_change(self, path: &[u8]) -> bool {
        let special = |byte: u8| {
            (byte == b'%') | (byte == b';') | (byte == b'?') | (byte == b'#') | (byte >= 0x80)
        };
        let dots = |first: u8, second: u8| (first == b'/') & ((second == b'/') | (second == b'.'));
        let after = path.get(1..).unwrap_or_default();
        let uppercase = self.ignore_case && path.iter().any(u8::is_ascii_uppercase);
        any_pair(path, path, |byte, _| special(byte)) | any_pair(path, after, dots) | uppercase
    }

    fn rewrite(self, path: &[u8], out: &mut Buffer) {
        let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
        while let Some(segment) = segments.next() {
            let (start, is_last) = (out.len(), segments.peek().is_none());
            out.push(b'/');
            self.push_text(self.without_parameters(segment), out);
            match out.get(start + 1..).unwrap_or_default() {
                b"" if self.merge_slashes && !is_last => out.truncate(start),
                b"." if self.remove_dots => out.truncate(start),
                b".." if self.remove_dots => {
                    out.truncate(start);
                    out.truncate(memchr::memrchr(b'/', out).unwrap_or(0));
                }
                _ => continue,
            }
            if is_last {
                out.push(b'/');
            }
        }
    }

    fn without_parameters(self, segment: &[u8]) -> &[u8] {
        let end = memchr::memchr(b';', segment).filter(|_| self.ignore_parameters);
        end.and_then(|end| segment.get(..end)).unwrap_or(segment)
    }

    /// The literal text of a template, as it is in the normal form of a path.
    pub(super) fn literal(self, text: &str) -> String {
        let mut out = Buffer::new();
        self.push_text(text.as_bytes(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Adds text with the escapes and the case of the normal form.
    fn push_text(self, mut text: &[u8], out: &mut Buffer) {
        loop {
            let is_special = |byte: &u8| self.decode_unreserved && matches!(byte, b'%' | 0x80..);
            let end = text.iter().position(is_special).unwrap_or(text.len());
            let (plain, rest) = text.split_at(end);
            let begin = out.len();
            out.extend_from_slice(plain);
            if self.ignore_case {
                out.get_mut(begin..).unwrap_or_default().make_ascii_lowercase();
            }
            let Some((&byte, after)) = rest.split_first() else { return };
            text = after;
            match byte {
                b'%' => match escaped(after) {
                    Some((value, after)) => {
                        text = after;
                        if is_unreserved(value) {
                            out.push(self.fold(value));
                        } else {
                            self.push_escape(value, out);
                        }
                    }
                    // Left as it is, it could begin an escape together with what is decoded after it.
                    None => self.push_escape(b'%', out),
                },
                _ => self.push_escape(byte, out),
            }
        }
    }

    const fn fold(self, byte: u8) -> u8 {
        if self.ignore_case { byte.to_ascii_lowercase() } else { byte }
    }

    fn push_escape(self, value: u8, out: &mut Buffer) {
        let digit = |value: u8| match value {
            0..=9 => b'0' + value,
            _ => self.fold(b'A' + (value - 10)),
        };
        out.extend([b'%', digit(value >> 4), digit(value & 0xf)]);
    }
}

/// Whether this holds for two bytes at the same place of two texts, as far as the shorter one goes. The last sixteen overlap
/// with others, so that none are left to be looked at one by one.
#[inline(always)]
fn any_pair(one: &[u8], other: &[u8], is_it: impl Fn(u8, u8) -> bool) -> bool {
    const MANY: usize = 16;
    let length = one.len().min(other.len());
    let (one, other) =
        (one.get(..length).unwrap_or_default(), other.get(..length).unwrap_or_default());
    let fold = |one: &[u8], other: &[u8]| {
        one.iter().zip(other).fold(false, |found, (one, other)| found | is_it(*one, *other))
    };
    let many = |one: &[u8; MANY], other: &[u8; MANY]| fold(one, other);
    let (Some(last), Some(last_of_other)) = (one.last_chunk(), other.last_chunk()) else {
        return fold(one, other);
    };
    let (chunks, _) = one.as_chunks();
    let (chunks_of_other, _) = other.as_chunks();
    let all = chunks.iter().zip(chunks_of_other);
    all.fold(many(last, last_of_other), |found, (one, other)| found | many(one, other))
}

/// What is before the query, or before a fragment, which no client should send.
pub(super) fn without_query(path: &[u8]) -> &[u8] {
    let end = memchr::memchr2(b'?', b'#', path);
    end.and_then(|end| path.get(..end)).unwrap_or(path)
}

/// The byte whose escape goes on with this text, and the text after it.
fn escaped(after_percent: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, after) = after_percent.split_first_chunk::<2>()?;
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    Some((u8::try_from(high? * 16 + low?).ok()?, after))
}

/// The first escape of an unreserved character in a text, with that character.
pub(super) fn unreserved_escape(text: &str) -> Option<(&str, char)> {
    let escape = |(at, _)| {
        let escape = text.get(at..at + 3)?;
        let (value, _) = escaped(escape.as_bytes().get(1..)?)?;
        is_unreserved(value).then_some((escape, char::from(value)))
    };
    text.match_indices('%').find_map(escape)
}

/// RFC 3986, 2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// No rule, for tests.
#[cfg(test)]
pub(super) const AS_SENT: PathRules = PathRules {
    merge_slashes: false,
    ignore_parameters: false,
    decode_unreserved: false,
    remove_dots: false,
    ignore_case: false,
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(rules: PathRules, path: &[u8]) -> Vec<u8> {
        rules.normalize(path, &mut Buffer::new()).to_vec()
    }

    fn check(rules: PathRules, cases: &[(&str, &str)]) {
        for (path, expected) in cases {
            let found = String::from_utf8(normal(rules, path.as_bytes())).unwrap();
            assert_eq!(found, *expected, "{path}");
        }
    }

    #[test]
    fn slashes_are_merged_and_one_at_the_end_stays() {
        let rules = PathRules { merge_slashes: true, ..AS_SENT };
        check(rules, &[("//", "/"), ("/a//b", "/a/b"), ("///a///b///", "/a/b/"), ("/a/b", "/a/b")]);
        check(AS_SENT, &[("//", "//"), ("/a//b", "/a//b")]);
    }

    #[test]
    fn a_segment_ends_at_its_parameters() {
        let rules = PathRules { ignore_parameters: true, ..AS_SENT };
        check(rules, &[("/a;v=1/b;x;y", "/a/b"), ("/;x/a", "//a"), ("/a/;", "/a/")]);
        check(rules, &[("/a%3Bv/b", "/a%3Bv/b")]);
        check(PathRules { ignore_parameters: false, ..PathRules::default() }, &[("/a;v", "/a;v")]);
    }

    #[test]
    fn only_escapes_of_unreserved_characters_are_decoded_and_only_once() {
        let rules = PathRules { decode_unreserved: true, ..AS_SENT };
        check(
            rules,
            &[("/%63%4C%7e%2d%5F%2E", "/cL~-_."), ("/%c3%A9%2f%3b%20", "/%C3%A9%2F%3B%20")],
        );
        check(rules, &[("/%2563", "/%2563"), ("/é", "/%C3%A9")]);
        check(rules, &[("/50%", "/50%25"), ("/%4", "/%254"), ("/%zz", "/%25zz")]);
        // Not `A`, and not `%41`, which is `A`.
        check(rules, &[("/%%34%31", "/%2541"), ("/%4%31", "/%2541")]);
        check(AS_SENT, &[("/%63é%", "/%63é%")]);
    }

    #[test]
    fn dot_segments_are_removed_and_never_leave_the_root() {
        let rules = PathRules { remove_dots: true, ..AS_SENT };
        check(
            rules,
            &[("/a/./b", "/a/b"), ("/a/../b", "/b"), ("/../../a", "/a"), ("/a/b/../../c", "/c")],
        );
        check(
            rules,
            &[("/a/.", "/a/"), ("/a/..", "/"), ("/a/b/..", "/a/"), ("/.", "/"), ("/..", "/")],
        );
        // RFC 3986, 5.2.4: an empty segment is one.
        check(rules, &[("/a//../b", "/a/b"), ("/a//..", "/a/")]);
        check(
            rules,
            &[("/a/...", "/a/..."), ("/.a/..b/c.", "/.a/..b/c."), ("/%2e%2e/a", "/%2e%2e/a")],
        );
        check(AS_SENT, &[("/a/../b", "/a/../b")]);
    }

    #[test]
    fn case_is_that_of_ascii() {
        check(PathRules { ignore_case: true, ..AS_SENT }, &[("/Ab/%C3É", "/ab/%c3É")]);
        let all = PathRules { ignore_case: true, ..PathRules::default() };
        check(all, &[("/%41B/%c3%A9", "/ab/%c3%a9")]);
    }

    #[test]
    fn each_rule_sees_what_the_one_before_it_has_left() {
        let rules = PathRules::default();
        check(rules, &[("/a/..;x/b", "/b"), ("/a/%2e%2E/b", "/b"), ("/a/%2e;x/b", "/a/b")]);
        check(rules, &[("/a//../b", "/b"), ("/a/;x/../b", "/b"), ("/;x//a;y/", "/a/")]);
        check(rules, &[("*", "*"), ("", ""), ("a//b", "a//b"), ("http://a/b", "http://a/b")]);
    }

    #[test]
    fn a_path_in_normal_form_is_not_copied() {
        let path = b"/api/v2/users/7.json";
        let mut buffer = Buffer::new();
        assert_eq!(PathRules::default().normalize(path, &mut buffer).as_ptr(), path.as_ptr());
        assert!(buffer.is_empty());
    }

    fn any_rules() -> impl Strategy<Value = PathRules> {
        any::<[bool; 5]>().prop_map(
            |[merge_slashes, ignore_parameters, decode_unreserved, remove_dots, ignore_case]| {
                PathRules {
                    merge_slashes,
                    ignore_parameters,
                    decode_unreserved,
                    remove_dots,
                    ignore_case,
                }
            },
        )
    }

    fn any_path() -> impl Strategy<Value = Vec<u8>> {
        let pieces = [
            &b"/"[..],
            b"//",
            b".",
            b"..",
            b";",
            b"%",
            b"%2e",
            b"%2E",
            b"%63",
            b"%2f",
            b"%3b",
            b"%25",
            b"2",
            b"5",
            b"6",
            b"a",
            b"B",
            b"\xc3\xa9",
            b"\xff",
        ];
        let piece = prop_oneof![
            9 => proptest::sample::select(pieces.to_vec()).prop_map(<[u8]>::to_vec),
            1 => any::<u8>().prop_map(|byte| vec![byte]),
        ];
        proptest::collection::vec(piece, 0..30)
            .prop_map(|pieces| [vec![b'/'], pieces.concat()].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn normalizing_twice_is_normalizing_once(rules in any_rules(), path in any_path()) {
            let once = normal(rules, &path);
            prop_assert_eq!(normal(rules, &once), once);
        }

        #[test]
        fn a_path_that_is_left_alone_is_in_normal_form(rules in any_rules(), path in any_path()) {
            let mut rewritten = Buffer::new();
            rules.rewrite(&path, &mut rewritten);
            prop_assert_eq!(normal(rules, &path), rewritten.to_vec());
        }

        #[test]
        fn nothing_that_a_rule_removes_is_left(path in any_path()) {
            let path = normal(PathRules::default(), &path);
            prop_assert!(path.starts_with(b"/") && path.is_ascii() && !path.contains(&b';'));
            let mut segments: Vec<_> = path.split(|byte| *byte == b'/').skip(1).collect();
            segments.pop_if(|last| last.is_empty());
            prop_assert!(!segments.iter().any(|it| it.is_empty() || [&b"."[..], b".."].contains(it)));
        }
    }
}
