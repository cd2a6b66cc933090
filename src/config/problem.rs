//! Problems of a policy file: what is wrong, and where; and warnings of what is valid, but limits less than it seems.

use std::fmt;
use std::path::Path;

use granit_parser::{ErrorKind, ScanError};

use super::bounds::{MAX_LEVELS, MAX_PROBLEMS};
use super::path::{NodePath, Position, shown};
use crate::text;

/// What a problem means for the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// The policy is rejected.
    Error,
    /// The policy is valid, but may not do what its author meant.
    Warning,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    severity: Severity,
    file: String,
    position: Option<Position>,
    path: String,
    what: String,
    /// How many problems it counts for: more than one if it stands for those that are omitted.
    count: usize,
}

impl Problem {
    /// A problem of a whole file.
    pub(super) fn of_file(file: &str, what: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.to_owned(),
            position: None,
            path: String::new(),
            what: what.into(),
            count: 1,
        }
    }

    /// A problem at a position in a file.
    pub(super) fn at(file: &str, position: Position, what: impl Into<String>) -> Self {
        Self { position: Some(position), ..Self::of_file(file, what) }
    }

    /// A problem of the value at a path in a file.
    pub(super) fn of(file: &str, path: &NodePath, what: impl Into<String>) -> Self {
        Self { path: path.to_string(), position: path.position, ..Self::of_file(file, what) }
    }

    /// A warning about the value at a path in a file.
    pub(super) fn warning(file: &str, path: &NodePath, what: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::of(file, path, what) }
    }

    /// Invalid YAML, as the parser describes it.
    pub(super) fn of_syntax(file: &str, error: &ScanError) -> Self {
        let position = Position::new(error.marker().line(), error.marker().col() + 1);
        if *error.kind() == ErrorKind::RecursionLimitExceeded {
            return Self::at(file, position, too_deep());
        }
        let what = format!("invalid YAML: {}{}", error.kind(), hint(error.kind()));
        Self::at(file, position, what)
    }

    pub(super) fn of_control_character(file: &str, position: Position) -> Self {
        let what = "invalid YAML: control characters are not allowed; write it as an \
                    escape in double quotes, as in \"\\t\"";
        Self::at(file, position, what)
    }

    /// The number of problems of a file that are not listed.
    fn of_omitted(file: &str, severity: Severity, count: usize) -> Self {
        let what = format!("and {count} more; fix these first");
        Self { severity, count, ..Self::of_file(file, what) }
    }
}

/// The problem of lists and mappings nested too deeply.
pub(super) fn too_deep() -> String {
    format!("lists and mappings are nested more than {MAX_LEVELS} levels deep; eight are enough")
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(Position { line, column }) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        if self.severity == Severity::Warning {
            write!(f, ": warning")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": ")?;
        // A terminal may show it.
        self.what.chars().take(MAX_PROBLEM_CHARS).try_for_each(|c| text::write_printable(f, c))
    }
}

/// Characters of a problem that are shown: it may quote a long text.
const MAX_PROBLEM_CHARS: usize = 1000;

/// What to do about an error of the parser.
fn hint(kind: &ErrorKind) -> &'static str {
    use ErrorKind as E;
    match kind {
        E::TabNotAllowed
        | E::TabInBlockIndentation
        | E::TabInIndentation
        | E::TabInPlainScalar
        | E::TabAtBlockScalarStart => "; indent with spaces",
        E::UnexpectedCharacter { .. } => "; quote text that begins with `@`, `%` or a backquote",
        E::UnknownAnchor => "; put an alias after its anchor, and quote text that begins with `*`",
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
            "; close every bracket, and quote text that contains `{`, `}`, `[`, `]` or `,`"
        }
        _ => "; indent items of one level alike, and quote text that contains `: `",
    }
}

/// The first character that YAML does not allow, not even in quotes.
pub(super) fn control_character(text: &str) -> Option<Position> {
    let is_wrong = |c: char| c.is_control() && !"\t\r\u{85}".contains(c);
    let mut lines = text.split('\n').enumerate();
    lines.find_map(|(line, text)| {
        Some(Position::new(line + 1, text.chars().position(is_wrong)? + 1))
    })
}

/// All problems of one severity, in the order of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Whether further problems of this file are only counted.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MAX_PROBLEMS
    }

    /// Sorts the problems of one file by position, and appends how many are omitted.
    pub(super) fn in_order(mut self, file: &str, severity: Severity, omitted: usize) -> Self {
        self.0.sort_by_key(|problem| (problem.position.is_none(), problem.position));
        if omitted > 0 {
            self.push(Problem::of_omitted(file, severity, omitted));
        }
        self
    }

    /// Adds the problems of the next file.
    pub(super) fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// One problem of a whole file or folder.
    pub fn of_path(path: &Path, what: &str) -> Self {
        Self(vec![Problem::of_file(&path.display().to_string(), what)])
    }

    /// Whether there is no problem.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of problems, with those that are omitted.
    pub fn len(&self) -> usize {
        self.0.iter().map(|problem| problem.count).sum()
    }

    /// Each problem as a line of text.
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

/// One problem per line: `file:line:column: path: what is wrong; what to do`. A warning has `warning: ` before the path.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(at, problem)| {
            let line_end = if at == 0 { "" } else { "\n" };
            write!(f, "{line_end}{problem}")
        })
    }
}

impl std::error::Error for Problems {}

/// A longer name is not taken for a misspelling.
const MAX_NAME_LENGTH: usize = 64;

/// Names that are compared with a misspelling.
const MAX_NAMES: usize = 500;

/// Names that a hint lists.
const MAX_LISTED: usize = 20;

/// `; did you mean X?` if a known name is similar, else nothing. Similar means a Damerau-Levenshtein distance of at
/// most a third of its length.
pub(super) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let is_short = |name: &str| name.len() <= MAX_NAME_LENGTH;
    let similar = known
        .into_iter()
        .take(MAX_NAMES)
        .filter(|known| is_short(name) && is_short(known))
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .min();
    similar.map(|(_, known)| format!("; did you mean `{known}`?")).unwrap_or_default()
}

/// What others call it, and what it is called here.
const SYNONYMS: [(&str, &str); 6] = [
    ("burst", "size"),
    ("capacity", "size"),
    ("max_tokens", "size"),
    ("conditions", "when"),
    ("limits", "rows"),
    ("shadow_mode", "shadow"),
];

/// The hint for an unknown name: the known name for the same thing, or a similar one, else the list of known names.
pub(super) fn suggest(name: &str, known: &[&str]) -> String {
    let synonym = SYNONYMS.iter().find(|(other, own)| *other == name && known.contains(own));
    if let Some((_, own)) = synonym {
        return format!("; did you mean `{own}`?");
    }
    let similar = did_you_mean(name, known.iter().copied());
    let listed =
        |names: &[&str]| names.iter().map(|name| shown(name)).collect::<Vec<_>>().join(", ");
    match (known, known.split_at_checked(MAX_LISTED)) {
        _ if !similar.is_empty() => similar,
        ([], _) => String::new(),
        ([only], _) => format!("; the only choice is {}", shown(only)),
        (_, Some((first, more))) if !more.is_empty() => {
            format!("; choose from {} and {} others", listed(first), more.len())
        }
        (all, _) => format!("; choose from {}", listed(all)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_similar_names_are_suggested() {
        let known = ["per_second", "per_minute", "size"];
        assert_eq!(did_you_mean("per_secnd", known), "; did you mean `per_second`?");
        assert_eq!(did_you_mean("burst", known), "");
        assert_eq!(did_you_mean("siez", known), "; did you mean `size`?");
    }

    #[test]
    fn names_of_other_programs_are_known() {
        assert_eq!(suggest("burst", &["per_second", "size"]), "; did you mean `size`?");
        assert_eq!(suggest("burst", &["name", "key"]), "; choose from name, key");
    }

    #[test]
    fn a_hint_lists_the_first_of_many_names() {
        let names: Vec<String> = (10..99).map(|at| format!("name_{at}")).collect();
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        let hint = suggest("other", &names);
        assert!(hint.starts_with("; choose from name_10, name_11, "), "{hint}");
        assert!(hint.ends_with(", name_29 and 69 others"), "{hint}");
    }
}
