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

const METHODS: [&str; 3] = ["GET", "POST", "G"];

/// The most templates, and the most segments of one, that are tried.
const MOST: usize = 24;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    templates: Vec<(Method, Vec<Segment<'a>>)>,
    asked: Vec<(Method, Vec<Segment<'a>>, Tail<'a>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Arbitrary)]
enum Method {
    Get,
    Post,
    G,
}

/// In a template, a placeholder or a text; in a path, only a text.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Segment<'a> {
    Placeholder,
    A,
    B,
    Ab,
    Empty,
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
        let [get, post, g] = METHODS;
        match self {
            Self::Get => get,
            Self::Post => post,
            Self::G => g,
        }
    }
}

impl<'a> Segment<'a> {
    const fn text(self) -> &'a str {
        match self {
            Self::Placeholder => "{id}",
            Self::A => "a",
            Self::B => "b",
            Self::Ab => "ab",
            Self::Empty => "",
            Self::Any(text) => text,
        }
    }
}

/// The most placeholders of a template that are tried.
const MAX_PLACEHOLDERS: usize = 24;

/// A template as the matcher has it: a segment, or none where any will do.
type Template<'a> = Vec<Option<&'a str>>;

fuzz_target!(|input: Input<'_>| {
    let Input { mut templates, asked } = input;
    templates.truncate(MOST);
    templates.iter_mut().for_each(|(_, segments)| segments.truncate(MOST));
    let written: Vec<_> = templates.iter().map(|(method, path)| (*method, joined(path))).collect();
    if written.iter().any(|(_, path)| path.matches('{').count() > MAX_PLACEHOLDERS) {
        return;
    }
    let naive: Option<Vec<_>> =
        written.iter().map(|(method, path)| Some((*method, template(path)?))).collect();
    let naive = naive.filter(|templates| are_different(templates));
    let policy = config::compile(&[source(FILE, &policy(&written))], FingerprintKey::fixed(0));
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
        let expected = group(&naive, method, &sent).map(|at| format!("g{at}"));
        assert_eq!(found, expected, "{} {sent} among {written:?}", method.text());
    }
});

fn joined(segments: &[Segment<'_>]) -> String {
    segments.iter().flat_map(|segment| ["/", segment.text()]).collect()
}

/// One group for each template, and one row for each group.
fn policy(written: &[(Method, String)]) -> String {
    let mut text = "domain: d\nendpoint_groups:\n  none: []\n".to_owned();
    for (at, (method, path)) in written.iter().enumerate() {
        let endpoint = quoted(&format!("{} {path}", method.text()));
        text += &format!("  g{at}: [{endpoint}]\n");
    }
    text += "tables:\n  - name: t\n    select: endpoint_group\n    key: []\n    rows:\n";
    text += "      none: unlimited\n";
    (0..written.len()).for_each(|at| text += &format!("      g{at}: [{{ per_second: 1 }}]\n"));
    text
}

/// The template of a path as it is written, if it is one. U+FFFD stands for bytes that are no UTF-8 in a path, and so for
/// nothing in a template.
fn template(path: &str) -> Option<Template<'_>> {
    let is_path = path.starts_with('/')
        && !path.contains(|c: char| c.is_whitespace() || "?#\u{fffd}".contains(c));
    let segment = |segment: &'_ str| {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let is_special = |text: &str| text.contains(['{', '}', '*']);
        match name {
            Some(name) if !name.is_empty() && !is_special(name) => Some(true),
            _ if !is_special(segment) => Some(false),
            _ => None,
        }
    };
    let segments = segments(path).into_iter();
    let template = segments.map(|text| Some(if segment(text)? { None } else { Some(text) }));
    if is_path { template.collect() } else { None }
}

/// The segments of a path, of which one slash at the end is no part.
fn segments(path: &str) -> Vec<&str> {
    let path = if path == "/" { path } else { path.strip_suffix('/').unwrap_or(path) };
    path.split('/').skip(1).collect()
}

fn are_different(templates: &[(Method, Template<'_>)]) -> bool {
    templates.iter().enumerate().all(|(at, one)| templates.iter().skip(at + 1).all(|it| it != one))
}

/// The template that matches; of several, the one that names a segment where the other takes any, the first
/// segment in which they differ.
fn group(templates: &[(Method, Template<'_>)], method: Method, path: &str) -> Option<usize> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if !path.starts_with('/') {
        return None;
    }
    let asked = segments(path);
    let matches = |template: &Template<'_>| {
        template.len() == asked.len()
            && template.iter().zip(&asked).all(|(wanted, segment)| match wanted {
                Some(text) => text == segment,
                None => !segment.is_empty(),
            })
    };
    let matching =
        templates.iter().enumerate().filter(|(_, (of, it))| *of == method && matches(it));
    let any = |template: &Template<'_>| template.iter().map(Option::is_none).collect::<Vec<_>>();
    matching.min_by_key(|(_, (_, template))| any(template)).map(|(at, _)| at)
}
