//! Endpoint templates and paths, held against a matcher that compares segment by segment.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use tollgate::config;
use tollgate::policy::fingerprint::FingerprintKey;
use tollgate::wire;
use tollgate_fuzz::bytes;
use tollgate_fuzz::parts::{NOW, source};
use tollgate_fuzz::told;
use tollgate_fuzz::yaml::quoted;

const FILE: &str = "endpoints.yaml";

const METHODS: [&str; 4] = ["GET", "POST", "G", "HEAD"];

/// The most templates, and the most segments of one, that are tried.
const MOST: usize = 24;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    rules: Rules,
    templates: Vec<(Methods, Vec<Segment<'a>>)>,
    asked: Vec<(Method, Vec<Segment<'a>>, Tail<'a>)>,
}

/// The section `paths`.
#[derive(Debug, Clone, Copy, Arbitrary)]
struct Rules {
    merge_slashes: bool,
    ignore_parameters: bool,
    decode_unreserved: bool,
    remove_dots: bool,
    ignore_case: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Arbitrary)]
enum Method {
    Get,
    Post,
    G,
    Head,
}

/// The methods of a template.
#[derive(Debug, Clone, Copy, PartialEq, Arbitrary)]
enum Methods {
    One(Method),
    Two(Method, Method),
    Any,
}

/// In a template, a placeholder or a text; in a path, only a text.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Segment<'a> {
    Placeholder,
    Rest,
    A,
    B,
    Ab,
    Capital,
    Escaped,
    Empty,
    Dot,
    Dots,
    EscapedDots,
    Parameter,
    Any(&'a str),
}

/// What follows a path.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Tail<'a> {
    None,
    Slash,
    Query(&'a str),
    Fragment(&'a str),
}

impl Method {
    const fn text(self) -> &'static str {
        let [get, post, g, head] = METHODS;
        match self {
            Self::Get => get,
            Self::Post => post,
            Self::G => g,
            Self::Head => head,
        }
    }
}

impl Methods {
    fn text(self) -> String {
        match self {
            Self::One(method) => method.text().to_owned(),
            Self::Two(one, other) => format!("{},{}", one.text(), other.text()),
            Self::Any => "*".to_owned(),
        }
    }

    fn are_different(self) -> bool {
        !matches!(self, Self::Two(one, other) if one == other)
    }

    /// Whether an endpoint of both would be the same endpoint twice.
    fn overlap(self, other: Self) -> bool {
        let one_of = |methods: Self, method: Method| match methods {
            Self::One(one) => one == method,
            Self::Two(one, other) => one == method || other == method,
            Self::Any => false,
        };
        match self {
            Self::One(method) => one_of(other, method),
            Self::Two(one, two) => one_of(other, one) || one_of(other, two),
            Self::Any => other == Self::Any,
        }
    }

    /// How well they fit a request's method: the lower, the better.
    fn rank(self, method: Method) -> Option<u8> {
        if self.overlap(Self::One(method)) {
            Some(0)
        } else if method == Method::Head && self.overlap(Self::One(Method::Get)) {
            Some(1)
        } else {
            (self == Self::Any).then_some(2)
        }
    }
}

impl Rules {
    fn text(self) -> String {
        let Self { merge_slashes, ignore_parameters, decode_unreserved, remove_dots, ignore_case } =
            self;
        let case = if ignore_case { "insensitive" } else { "sensitive" };
        format!(
            "paths: {{ merge_slashes: {merge_slashes}, ignore_parameters: {ignore_parameters}, \
             decode_unreserved: {decode_unreserved}, remove_dots: {remove_dots}, case: {case} }}\n"
        )
    }

    /// The escapes and the case of a text, one character at a time.
    fn text_of(self, text: &str) -> String {
        let mut normal = String::new();
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let digits = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
            let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
            let escaped = digits.map(|digits| {
                let digits = std::str::from_utf8(digits).expect("ASCII");
                u8::from_str_radix(digits, 16).expect("two digits")
            });
            let (value, length) = escaped.map_or((bytes[at], 1), |value| (value, 3));
            let is_plain = value.is_ascii_alphanumeric() || b"-._~".contains(&value);
            let is_escape =
                length == 3 && !is_plain || value >= 0x80 || length == 1 && value == b'%';
            if is_escape {
                normal += &format!("%{value:02X}");
            } else {
                normal.push(char::from(value));
            }
            at += length;
        }
        let normal = if self.decode_unreserved { normal } else { text.to_owned() };
        if self.ignore_case { normal.to_ascii_lowercase() } else { normal }
    }

    /// The segments of a path in normal form.
    fn segments(self, path: &str) -> Vec<String> {
        let written: Vec<_> = path.split('/').skip(1).collect();
        let mut normal: Vec<String> = Vec::new();
        for (at, segment) in written.iter().enumerate() {
            let is_last = at + 1 == written.len();
            let segment = match segment.split_once(';') {
                Some((segment, _)) if self.ignore_parameters => segment,
                _ => segment,
            };
            let segment = self.text_of(segment);
            let is_dropped = match &*segment {
                "" => self.merge_slashes,
                "." => self.remove_dots,
                ".." if self.remove_dots => {
                    normal.pop();
                    true
                }
                _ => false,
            };
            match (is_dropped, is_last) {
                (true, false) => {}
                (true, true) => normal.push(String::new()),
                (false, _) => normal.push(segment),
            }
        }
        if normal.len() > 1 && normal.last().is_some_and(String::is_empty) {
            normal.pop();
        }
        normal
    }

    /// Whether a literal segment could be in a path in normal form.
    fn allow(self, segment: &str, is_root: bool) -> bool {
        let is_decoded = |(at, _)| {
            let normal = segment.get(at..at + 3).map(|escape| self.text_of(escape));
            normal.is_some_and(|normal| normal.len() == 1)
        };
        !(self.ignore_parameters && segment.contains(';')
            || self.decode_unreserved
                && (!segment.is_ascii() || segment.match_indices('%').any(is_decoded))
            || self.remove_dots && [".", ".."].contains(&segment)
            || self.merge_slashes && segment.is_empty() && !is_root)
    }
}

impl<'a> Segment<'a> {
    const fn text(self) -> &'a str {
        match self {
            Self::Placeholder => "{id}",
            Self::Rest => "{*rest}",
            Self::A => "a",
            Self::B => "b",
            Self::Ab => "ab",
            Self::Capital => "A",
            Self::Escaped => "%61",
            Self::Empty => "",
            Self::Dot => ".",
            Self::Dots => "..",
            Self::EscapedDots => "%2e%2E",
            Self::Parameter => "a;b",
            Self::Any(text) => text,
        }
    }
}

/// The most placeholders of a template that are tried.
const MAX_PLACEHOLDERS: usize = 24;

/// The most segments of a template that are tried: a rest may follow so many.
const MAX_SEGMENTS: usize = 32;

/// A segment of a template as the matcher has it, in the order of precedence.
#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    Text(String),
    One,
    Rest,
}

type Template = Vec<Wanted>;

fuzz_target!(|input: Input<'_>| {
    let Input { rules, mut templates, asked } = input;
    templates.truncate(MOST);
    templates.iter_mut().for_each(|(_, segments)| segments.truncate(MOST));
    let written: Vec<_> =
        templates.iter().map(|(methods, path)| (*methods, joined(path))).collect();
    let is_beyond = |path: &str| {
        path.matches('{').count() > MAX_PLACEHOLDERS || path.matches('/').count() > MAX_SEGMENTS
    };
    if written.iter().any(|(_, path)| is_beyond(path)) {
        return;
    }
    let naive: Option<Vec<_>> =
        written.iter().map(|(methods, path)| Some((*methods, template(rules, path)?))).collect();
    let naive = naive.filter(|templates| are_different(templates));
    let text = policy(rules, &written);
    let policy = config::compile(&[source(FILE, &text)], FingerprintKey::fixed(0));
    let policies = match (policy, &naive) {
        (Ok(policies), Some(_)) => policies,
        (Err(problems), None) => return told::check(&problems, FILE),
        (Ok(_), None) => panic!("it takes {written:?}"),
        (Err(problems), Some(_)) => panic!("{problems}"),
    };
    let policy = policies.get("d").expect("its domain");
    let naive = naive.unwrap_or_default();
    for (method, path, tail) in asked {
        let path = joined(&path);
        let sent = match tail {
            Tail::None => path.clone(),
            Tail::Slash => format!("{path}/"),
            Tail::Query(rest) => format!("{path}?{rest}"),
            Tail::Fragment(rest) => format!("{path}#{rest}"),
        };
        let entries = [(&b"method"[..], method.text().as_bytes()), (b"path", sent.as_bytes())];
        let message = bytes::request(b"d", &[bytes::descriptor(&entries)]);
        let query = wire::decode(&message).expect("a question");
        let descriptor = query.descriptors().next().expect("one");
        let explained = policy.explain(descriptor, NOW);
        let matched = explained.tables.first().and_then(|(_, matched)| matched.as_ref().ok());
        let found = matched.map(|(row, _)| row.name().to_owned());
        let expected = group(rules, &naive, method, &sent).map(|at| format!("g{at}"));
        assert_eq!(found, expected, "{} {sent} among {written:?} by {rules:?}", method.text());
    }
});

fn joined(segments: &[Segment<'_>]) -> String {
    segments.iter().flat_map(|segment| ["/", segment.text()]).collect()
}

/// One group for each template, and one row for each group.
fn policy(rules: Rules, written: &[(Methods, String)]) -> String {
    let mut text = "domain: d\n".to_owned() + &rules.text() + "endpoint_groups:\n  none: []\n";
    for (at, (methods, path)) in written.iter().enumerate() {
        let endpoint = quoted(&format!("{} {path}", methods.text()));
        text += &format!("  g{at}: [{endpoint}]\n");
    }
    text += "tables:\n  - name: t\n    select: endpoint_group\n    key: []\n    rows:\n";
    text += "      none: unlimited\n";
    (0..written.len()).for_each(|at| text += &format!("      g{at}: [{{ per_second: 1 }}]\n"));
    text
}

/// The template of a path as it is written, if it is one. U+FFFD stands for bytes that are no UTF-8 in a path, and so for
/// nothing in a template.
fn template(rules: Rules, path: &str) -> Option<Template> {
    let is_path = path.starts_with('/')
        && !path.contains(|c: char| c.is_whitespace() || "?#\u{fffd}".contains(c));
    if !is_path {
        return None;
    }
    let path = if path == "/" { path } else { path.strip_suffix('/').unwrap_or(path) };
    let segment = |segment: &str| {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let is_special = |text: &str| text.contains(['{', '}', '*']);
        let rest = name.and_then(|name| name.strip_prefix('*'));
        match (name, rest) {
            (_, Some(name)) if !name.is_empty() && !is_special(name) => Some(Wanted::Rest),
            (Some(name), _) if !name.is_empty() && !is_special(name) => Some(Wanted::One),
            _ if is_special(segment) || !rules.allow(segment, path == "/") => None,
            _ => Some(Wanted::Text(rules.text_of(segment))),
        }
    };
    let template: Template = path.split('/').skip(1).map(segment).collect::<Option<_>>()?;
    let rest = template.iter().position(|wanted| *wanted == Wanted::Rest);
    rest.is_none_or(|at| at + 1 == template.len()).then_some(template)
}

fn are_different(templates: &[(Methods, Template)]) -> bool {
    templates.iter().enumerate().all(|(at, (methods, template))| {
        let mut later = templates.iter().skip(at + 1);
        methods.are_different()
            && later.all(|(other, it)| !methods.overlap(*other) || it != template)
    })
}

/// The template that matches; of several, one of the request's own method, and then the one that names a segment where
/// the other takes any, or one where the other takes the rest, the first segment in which they differ.
fn group(
    rules: Rules,
    templates: &[(Methods, Template)],
    method: Method,
    path: &str,
) -> Option<usize> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if !path.starts_with('/') {
        return None;
    }
    let asked = rules.segments(path);
    let matches = |template: &Template| {
        let rest = template.iter().position(|wanted| *wanted == Wanted::Rest);
        let (before, is_long_enough) = match rest {
            // Not empty: more than one segment, or one with a text.
            Some(at) => (
                at,
                asked
                    .get(at..)
                    .is_some_and(|rest| !matches!(rest, [] | [_]) || rest.concat() != ""),
            ),
            None => (template.len(), template.len() == asked.len()),
        };
        is_long_enough
            && template.iter().take(before).zip(&asked).all(|(wanted, segment)| match wanted {
                Wanted::Text(text) => text == segment,
                Wanted::One | Wanted::Rest => !segment.is_empty(),
            })
    };
    let ranked = templates.iter().enumerate().filter_map(|(at, (methods, template))| {
        let kinds = template.iter().map(|wanted| match wanted {
            Wanted::Text(_) => 0,
            Wanted::One => 1,
            Wanted::Rest => 2,
        });
        let rank = methods.rank(method).filter(|_| matches(template))?;
        Some(((rank, kinds.collect::<Vec<u8>>()), at))
    });
    ranked.min().map(|(_, at)| at)
}
