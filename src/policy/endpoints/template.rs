//! A path template as the router has it.

use super::super::paths::{self, PathRules};
use super::TemplateError;

/// The most placeholders of one template: `matchit` names them by the letters of the alphabet, and panics at the last.
pub(super) const MAX_PLACEHOLDERS: usize = 25;

/// The most segments before a rest: a path is looked up once for each number of them.
pub(super) const MAX_BEFORE_REST: usize = 32;

/// What a segment of a template matches, the most specific first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment {
    /// One text.
    Literal,
    /// Any one segment.
    Placeholder,
    /// All segments from here on.
    Rest,
}

/// A template, its literal segments normalized.
#[derive(Debug)]
pub(super) struct Template {
    /// The path for the router. A rest is not part of it, but the slash before the rest is.
    pub(super) text: String,
    pub(super) segments: Box<[Segment]>,
}

impl Template {
    /// Reads a path. Each placeholder is named by its position, so that `/a/{id}/b` and `/a/{user}/c` do not conflict.
    pub(super) fn parse(paths: PathRules, path: &str) -> Result<Self, TemplateError> {
        let mut text = String::with_capacity(path.len() + 8);
        let mut segments = Vec::new();
        for (at, written) in path.split('/').enumerate().skip(1) {
            let segment = segment(written)?;
            if segments.last() == Some(&Segment::Rest) {
                return Err(TemplateError::Brace);
            }
            text.push('/');
            match segment {
                Segment::Literal => {
                    check(paths, written, path)?;
                    text.push_str(&paths.literal(written));
                }
                Segment::Placeholder => text.push_str(&format!("{{p{at}}}")),
                Segment::Rest => {}
            }
            segments.push(segment);
        }
        let placeholders = segments.iter().filter(|it| **it == Segment::Placeholder).count();
        if placeholders > MAX_PLACEHOLDERS {
            return Err(TemplateError::Placeholders(placeholders));
        }
        let template = Self { text, segments: segments.into() };
        match template.before_rest() {
            Some(before) if before > MAX_BEFORE_REST => Err(TemplateError::Rest(before)),
            _ => Ok(template),
        }
    }

    /// The number of segments before the rest, if the template ends with one.
    pub(super) fn before_rest(&self) -> Option<usize> {
        self.segments.iter().position(|segment| *segment == Segment::Rest)
    }
}

/// Rejects a literal segment that no path in normal form has: the endpoint would never match.
fn check(paths: PathRules, segment: &str, path: &str) -> Result<(), TemplateError> {
    if paths.ignore_parameters && segment.contains(';') {
        return Err(TemplateError::Parameters);
    }
    if paths.decode_unreserved {
        if let Some((escape, character)) = paths::unreserved_escape(segment) {
            return Err(TemplateError::Escape { escape: escape.to_owned(), character });
        }
        if let Some(character) = segment.chars().find(|character| !character.is_ascii()) {
            let escape = paths.literal(character.encode_utf8(&mut [0; 4]));
            return Err(TemplateError::NotAscii { character, escape });
        }
    }
    match segment {
        "." | ".." if paths.remove_dots => Err(TemplateError::Dots),
        "" if paths.merge_slashes && path != "/" => Err(TemplateError::Slashes),
        _ => Ok(()),
    }
}

fn segment(written: &str) -> Result<Segment, TemplateError> {
    const SPECIAL: [char; 3] = ['{', '}', '*'];
    let is_name = |name: &str| !name.is_empty() && !name.contains(SPECIAL);
    let placeholder = written.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    match placeholder.map(|name| (name, name.strip_prefix('*'))) {
        Some((_, Some(name))) if is_name(name) => Ok(Segment::Rest),
        Some((name, None)) if is_name(name) => Ok(Segment::Placeholder),
        None if !written.contains(SPECIAL) => Ok(Segment::Literal),
        _ => Err(TemplateError::Brace),
    }
}
