//! The location of a value in a document: its path, line and column.

use std::fmt;
use std::sync::Arc;

/// Line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Default for Position {
    /// The beginning of a file.
    fn default() -> Self {
        Self { line: 1, column: 1 }
    }
}

impl Position {
    /// Numbers beyond `u32` become its maximum.
    pub(super) fn new(line: usize, column: usize) -> Self {
        let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
        Self { line: number(line), column: number(column) }
    }
}

/// The path from a document's root to a value, as in `tables[2].rows.free[0]`, and the value's position, if the document
/// is a text. Paths share the links to a common parent.
#[derive(Debug, Clone, Default)]
pub(super) struct NodePath {
    last: Option<Arc<PathLink>>,
    pub(super) position: Option<Position>,
}

#[derive(Debug)]
struct PathLink {
    parent: Option<Arc<PathLink>>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Key(Box<str>),
    Index(usize),
}

impl NodePath {
    /// The root of a text.
    pub(super) const fn root(position: Position) -> Self {
        Self { last: None, position: Some(position) }
    }

    pub(super) fn key(&self, key: &str, position: impl Into<Option<Position>>) -> Self {
        self.then(Step::Key(key.into()), position.into())
    }

    pub(super) fn index(&self, index: usize, position: impl Into<Option<Position>>) -> Self {
        self.then(Step::Index(index), position.into())
    }

    /// The same path with another position.
    pub(super) fn at(self, position: Position) -> Self {
        Self { position: Some(position), ..self }
    }

    fn then(&self, step: Step, position: Option<Position>) -> Self {
        Self { last: Some(Arc::new(PathLink { parent: self.last.clone(), step })), position }
    }
}

/// Characters of a file's text that a problem quotes.
const MAX_SHOWN_CHARS: usize = 100;

impl fmt::Display for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut steps = Vec::new();
        let mut next = self.last.as_ref();
        while let Some(PathLink { parent, step }) = next.map(|link| &**link) {
            steps.push(step);
            next = parent.as_ref();
        }
        steps.iter().rev().enumerate().try_for_each(|(at, step)| match step {
            Step::Key(key) => {
                let dot = if at == 0 { "" } else { "." };
                write!(f, "{dot}{}", shown(key))
            }
            Step::Index(index) => write!(f, "[{index}]"),
        })
    }
}

/// Text from a file as a problem quotes it: escaped and shortened.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{}..", text.get(..end).unwrap_or_default().escape_debug()),
        None => text.escape_debug().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_shows_every_step_from_the_root() {
        let table =
            NodePath::default().key("tables", Position::default()).index(0, Position::new(3, 5));
        let bucket = table.key("rows", Position::default()).key("free", Position::default());
        assert_eq!(bucket.index(0, Position::new(5, 14)).to_string(), "tables[0].rows.free[0]");
        assert_eq!(table.position, Some(Position { line: 3, column: 5 }));
        assert_eq!(NodePath::default().to_string(), "");
    }

    #[test]
    fn quoted_text_is_escaped_and_shortened() {
        assert_eq!(shown("a\nb"), "a\\nb");
        assert_eq!(shown(&"é".repeat(100)), "é".repeat(100));
        assert_eq!(shown(&"é".repeat(101)), format!("{}..", "é".repeat(100)));
    }
}
