//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::Path;

use granit_parser::{ErrorKind, ScanError};

use super::bounds::{MAX_LEVELS, MAX_PROBLEMS};
use super::path::{NodePath, Position, shown};
use crate::text;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    file: String,
    position: Option<Position>,
    path: String,
    what: String,
    /// For how many problems it stands: more than one where others are not told.
    count: usize,
}

impl Problem {
    /// Something wrong with a file as a whole.
    pub(super) fn of_file(file: &str, what: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            position: None,
            path: String::new(),
            what: what.into(),
            count: 1,
        }
    }

    /// Something wrong at a position in a file.
    pub(super) fn at(file: &str, position: Position, what: impl Into<String>) -> Self {
        Self { position: Some(position), ..Self::of_file(file, what) }
    }

    /// Something wrong with what stands at a path in a file.
    pub(super) fn of(file: &str, path: &NodePath, what: impl Into<String>) -> Self {
        Self { path: path.to_string(), ..Self::at(file, path.position, what) }
    }

    /// Text that is no YAML, in the parser's words.
    pub(super) fn of_syntax(file: &str, error: &ScanError) -> Self {
        let position = Position::new(error.marker().line(), error.marker().col() + 1);
        if *error.kind() == ErrorKind::RecursionLimitExceeded {
            return Self::at(file, position, too_deep());
        }
        let what = format!("cannot be read as YAML: {}{}", error.kind(), hint(error.kind()));
        Self::at(file, position, what)
    }

    pub(super) fn of_control_character(file: &str, position: Position) -> Self {
        let what = "cannot be read as YAML: control characters are not allowed; write it as an \
                    escape in double quotes, as in \"\\t\"";
        Self::at(file, position, what)
    }

    /// So many more in the same file, which nobody could read.
    fn of_omitted(file: &str, count: usize) -> Self {
        let what = format!("and {count} more; mend these, and look again");
        Self { count, ..Self::of_file(file, what) }
    }
}

/// What is said of lists and mappings within each other, too many of them.
pub(super) fn too_deep() -> String {
    format!(
        "lists and mappings stand more than {MAX_LEVELS} deep within each other; a policy needs \
         eight"
    )
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(Position { line, column }) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": ")?;
        // It may end up on a terminal.
        self.what.chars().take(MAX_PROBLEM_CHARS).try_for_each(|c| text::write_printable(f, c))
    }
}

/// In characters: what a file says stands in it, which may be long.
const MAX_PROBLEM_CHARS: usize = 1000;

/// What to do about what the parser says.
fn hint(kind: &ErrorKind) -> &'static str {
    use ErrorKind as E;
    match kind {
        E::TabNotAllowed
        | E::TabInBlockIndentation
        | E::TabInIndentation
        | E::TabInPlainScalar
        | E::TabAtBlockScalarStart => "; indent with spaces",
        E::UnexpectedCharacter { .. } => "; quote text that begins with `@`, `%` or a backquote",
        E::UnknownAnchor => {
            "; an alias comes after its anchor, and text that begins with `*` is quoted"
        }
        E::MissingAnchorOrAliasName => "; quote text that begins with `*` or `&`",
        E::UnclosedQuotedScalar => "; close the quotes",
        E::UnclosedFlowCollection { .. }
        | E::MismatchedFlowCollectionEnd { .. }
        | E::MisplacedFlowCollectionEnd
        | E::InvalidColonPlacement
        | E::InvalidFlowScalarIndent
        | E::BlockEntryInFlowCollection
        | E::FlowMappingValueAdjacentCollection
        | E::ExpectedFlowMappingSeparator
        | E::ExpectedFlowSequenceSeparator
        | E::UnexpectedEofFlowMapping
        | E::UnexpectedEofFlowSequence
        | E::UnexpectedEofImplicitFlowMapping => {
            "; close what is open, and within brackets quote text with `{`, `}`, `[`, `]` or `,` in it"
        }
        _ => "; indent alike what belongs together, and quote text with `: ` in it",
    }
}

/// The first character that YAML does not allow, be it in quotes.
pub(super) fn control_character(text: &str) -> Option<Position> {
    let is_wrong = |c: char| c.is_control() && !"\t\r\u{85}".contains(c);
    let mut lines = text.split('\n').enumerate();
    lines.find_map(|(line, text)| {
        Some(Position::new(line + 1, text.chars().position(is_wrong)? + 1))
    })
}

/// Everything that is wrong, in the order of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Whether there are as many as are told of one file.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MAX_PROBLEMS
    }

    /// Those of one file, in its order, and how many more there are.
    pub(super) fn in_order(mut self, file: &str, omitted: usize) -> Self {
        self.0.sort_by_key(|problem| (problem.position.is_none(), problem.position));
        if omitted > 0 {
            self.push(Problem::of_omitted(file, omitted));
        }
        self
    }

    /// Adds those of the next file.
    pub(super) fn take_in(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// One problem with a path as a whole.
    pub fn of_path(path: &Path, what: &str) -> Self {
        Self(vec![Problem::of_file(&path.display().to_string(), what)])
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many things are wrong, told or not.
    pub fn len(&self) -> usize {
        self.0.iter().map(|problem| problem.count).sum()
    }
}

/// One problem a line: `file:line:column: path: what is wrong and what to do`.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(at, problem)| {
            let line_end = if at == 0 { "" } else { "\n" };
            write!(f, "{line_end}{problem}")
        })
    }
}

impl std::error::Error for Problems {}

/// Names that are longer are no slip of another.
const MAX_NAME_LENGTH: usize = 64;

/// Among more names the near one is not looked for.
const MAX_NAMES: usize = 500;

/// Of more names the first are told.
const MAX_LISTED: usize = 20;

/// `; did you mean X?` where one of the known names is near, else nothing.
pub(super) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let is_short = |name: &str| name.len() <= MAX_NAME_LENGTH;
    let near = known
        .into_iter()
        .take(MAX_NAMES)
        .filter(|known| is_short(name) && is_short(known))
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .min();
    near.map(|(_, known)| format!("; did you mean `{known}`?")).unwrap_or_default()
}

/// The known name that is near, else all there are, or the first of them.
pub(super) fn suggest(name: &str, known: &[&str]) -> String {
    let near = did_you_mean(name, known.iter().copied());
    let listed =
        |names: &[&str]| names.iter().map(|name| shown(name)).collect::<Vec<_>>().join(", ");
    match (known, known.split_at_checked(MAX_LISTED)) {
        _ if !near.is_empty() => near,
        ([], _) => String::new(),
        ([only], _) => format!("; there is only {}", shown(only)),
        (_, Some((first, more))) if !more.is_empty() => {
            format!("; there are {} and {} others", listed(first), more.len())
        }
        (all, _) => format!("; there are {}", listed(all)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_names_are_suggested() {
        let known = ["per_second", "per_minute", "size"];
        assert_eq!(did_you_mean("per_secnd", known), "; did you mean `per_second`?");
        assert_eq!(did_you_mean("burst", known), "");
        assert_eq!(did_you_mean("siez", known), "; did you mean `size`?");
    }

    #[test]
    fn of_many_names_the_first_are_told() {
        let names: Vec<String> = (10..99).map(|at| format!("name_{at}")).collect();
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        let told = suggest("other", &names);
        assert!(told.starts_with("; there are name_10, name_11, "), "{told}");
        assert!(told.ends_with(", name_29 and 69 others"), "{told}");
    }
}
