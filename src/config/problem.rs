//! What is wrong with a configuration, and where.

use std::fmt::{self, Write as _};

use super::place::{Place, Position, position};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    file: String,
    position: Option<Position>,
    place: String,
    what: String,
}

impl Problem {
    /// Something wrong with a file as a whole.
    pub(super) fn of_file(file: &str, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), position: None, place: String::new(), what: what.into() }
    }

    /// Something wrong at a position in a file.
    pub(super) fn at(file: &str, position: Option<Position>, what: impl Into<String>) -> Self {
        Self { position, ..Self::of_file(file, what) }
    }

    /// Something wrong with what stands at a place in a file, of which the line is told if there is a text.
    pub(super) fn of(
        file: &str,
        text: Option<&str>,
        place: &Place,
        what: impl Into<String>,
    ) -> Self {
        let position = text.and_then(|text| place.locate(text));
        Self { place: place.to_string(), ..Self::at(file, position, what) }
    }

    /// Text that is no YAML, in the parser's words.
    pub(super) fn of_syntax(file: &str, text: &str, error: &serde_yaml::Error) -> Self {
        let told = error.to_string();
        let position = match control_character(text) {
            Some(position) if told.starts_with("control characters") => Some(position),
            _ => position(error),
        };
        // The parser adds the position to its words; it stands at their beginning already.
        let own = position.map(|(line, column)| format!(" at line {line} column {column}"));
        let told = told.replacen(own.as_deref().unwrap_or("\n"), "", 1);
        let told = told.split(" at position ").next().unwrap_or(&told);
        let cure = CURES.iter().find(|(sign, _)| told.contains(sign)).map_or("", |(_, cure)| cure);
        Self::at(file, position, format!("cannot be read as YAML: {told}{cure}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        if !self.place.is_empty() {
            write!(f, ": {}", self.place)?;
        }
        write!(f, ": ")?;
        self.what.chars().try_for_each(|c| write_printable(f, c))
    }
}

/// What a file says may end up on a terminal, so control characters in it are escaped.
fn write_printable(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    if c.is_control() { write!(f, "{}", c.escape_debug()) } else { f.write_char(c) }
}

/// What to do about what the parser says: the first whose sign is in its words.
const CURES: [(&str, &str); 10] = [
    ("control characters", "; write it as an escape in double quotes, as in \"\\t\""),
    (
        "start any token",
        "; indent with spaces, and quote text that begins with `@`, `%` or a backquote",
    ),
    (
        "mapping values are not allowed",
        "; indent alike what belongs together, and quote text with `: ` in it",
    ),
    ("anchor", "; an alias comes after its anchor, and text that begins with `*` is quoted"),
    ("an alias", "; quote text that begins with `*`"),
    ("quoted scalar", "; close the quotes"),
    ("block", "; indent alike what belongs together"),
    (
        "flow",
        "; close what is open, and within brackets quote text with `{`, `}`, `[`, `]` or `,` in it",
    ),
    ("recursion limit", "; it is nested too deeply"),
    ("repetition limit", "; aliases repeat too much of it"),
];

/// The first character that YAML does not allow, of which the parser does not tell the position.
fn control_character(text: &str) -> Option<Position> {
    let is_wrong = |c: char| c.is_control() && !"\t\r\u{85}".contains(c);
    let mut lines = text.split('\n').enumerate();
    lines.find_map(|(line, text)| Some((line + 1, text.chars().position(is_wrong)? + 1)))
}

/// Everything that is wrong, in the order of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    pub(super) fn append(&mut self, mut others: Self) {
        others.0.sort_by_key(|problem| (problem.position.is_none(), problem.position));
        self.0.append(&mut others.0);
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many things are wrong.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// One problem a line: `file:line:column: place: what is wrong and what to do`.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(at, problem)| {
            let line_end = if at == 0 { "" } else { "\n" };
            write!(f, "{line_end}{problem}")
        })
    }
}

impl std::error::Error for Problems {}

/// `; did you mean X?` where one of the known names is near, else nothing.
pub(super) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let near = known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .min();
    near.map(|(_, known)| format!("; did you mean `{known}`?")).unwrap_or_default()
}

/// The known name that is near, else all there are.
pub(super) fn near_or_all(name: &str, known: &[&str]) -> String {
    let near = did_you_mean(name, known.iter().copied());
    match known {
        _ if !near.is_empty() => near,
        [] => String::new(),
        [only] => format!("; there is only {only}"),
        all => format!("; there are {}", all.join(", ")),
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
}
