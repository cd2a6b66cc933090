//! The variables of the environment, and what is wrong with them.

use std::collections::BTreeMap;
use std::fmt;

use crate::text::printable;

/// Variables that are read one after another. Problems are collected, so that one run reports them together.
pub(super) struct Variables {
    values: BTreeMap<String, String>,
    problems: Problems,
    without_effect: Vec<String>,
}

/// What is wrong with variables.
#[derive(Debug, Default)]
pub(super) struct Problems {
    lines: Vec<String>,
    /// Whether a value cannot be read, rather than names no choice there is.
    has_unreadable: bool,
}

impl Problems {
    /// The exit code, as envoyproxy/ratelimit has it: 2 for values that cannot be read, 1 for choices that it does not know.
    pub(super) fn exit_code(&self) -> u8 {
        if self.has_unreadable { 2 } else { 1 }
    }

    pub(super) fn unreadable(&mut self, line: String) {
        self.has_unreadable = true;
        self.lines.push(line);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl Variables {
    pub(super) fn new(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            values: values.into_iter().collect(),
            problems: Problems::default(),
            without_effect: Vec::new(),
        }
    }

    /// The value of a variable, which may be empty; `None` if it is not set.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The names of all variables, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Whether a variable is set.
    pub(super) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// A text; `default` if it is not set.
    pub(super) fn text(&self, name: &str, default: &str) -> String {
        self.get(name).unwrap_or(default).to_owned()
    }

    /// A text that is not empty.
    pub(super) fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|text| !text.is_empty())
    }

    /// A value; `default` if it is not set, or is wrong.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        match self.get(name).map(parse) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(what)) => {
                self.unreadable(name, &what);
                default
            }
        }
    }

    /// One of several choices; `default` if it is not set, or is none of them.
    pub(super) fn choice<T: Copy>(
        &mut self,
        name: &str,
        default: T,
        choices: &[(&str, T)],
        ignores_case: bool,
    ) -> T {
        let Some(text) = self.get(name) else { return default };
        let is_chosen = |choice: &str| match ignores_case {
            true => choice.eq_ignore_ascii_case(text),
            false => choice == text,
        };
        if let Some((_, value)) = choices.iter().find(|(choice, _)| is_chosen(choice)) {
            return *value;
        }
        let names: Vec<_> =
            choices.iter().map(|(choice, _)| *choice).filter(|c| !c.is_empty()).collect();
        self.unknown(name, &format!("unknown; choose from {}", names.join(", ")));
        default
    }

    /// Records a variable that is set and has no effect.
    pub(super) fn without_effect(&mut self, shown: impl Into<String>) {
        self.without_effect.push(shown.into());
    }

    /// The variables that are set and have no effect.
    pub(super) fn take_without_effect(&mut self) -> Vec<String> {
        std::mem::take(&mut self.without_effect)
    }

    /// Records that the value of a variable cannot be read. Values with colons are not repeated: they may hold secrets.
    pub(super) fn unreadable(&mut self, name: &str, what: &str) {
        let line = self.line(name, what);
        self.problems.unreadable(line);
    }

    /// Records that a variable names no choice there is.
    pub(super) fn unknown(&mut self, name: &str, what: &str) {
        let line = self.line(name, what);
        self.problems.lines.push(line);
    }

    fn line(&self, name: &str, what: &str) -> String {
        match self.get(name).filter(|text| !is_secret(name, text)) {
            Some(text) => format!("{name}={}: {what}", printable(text)),
            None => format!("{name}: {what}"),
        }
    }

    /// # Errors
    /// All problems, if there are any.
    pub(super) fn finish(self) -> Result<(), Problems> {
        if self.problems.is_empty() { Ok(()) } else { Err(self.problems) }
    }
}

/// Whether the value of a variable may hold a secret.
fn is_secret(name: &str, text: &str) -> bool {
    name.ends_with("AUTH") || name.ends_with("HEADERS") || text.contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_the_variable_and_its_value_but_no_secret() {
        let pairs = [("PORT", "80a"), ("REDIS_AUTH", "secret"), ("REDIS_URL", "redis://:secret@a")];
        let mut variables =
            Variables::new(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for (name, _) in pairs {
            variables.unreadable(name, "wrong");
        }
        let problems = variables.finish().unwrap_err();
        assert_eq!(problems.to_string(), "PORT=80a: wrong\nREDIS_AUTH: wrong\nREDIS_URL: wrong");
        assert_eq!(problems.exit_code(), 2);
    }

    #[test]
    fn an_unknown_choice_ends_with_1_unless_a_value_is_unreadable() {
        let set = || Variables::new([("KIND".to_owned(), "c".to_owned())]);
        let mut variables = set();
        assert_eq!(variables.choice("KIND", 0, &[("a", 1), ("b", 2)], false), 0);
        let problems = variables.finish().unwrap_err();
        assert_eq!(
            (problems.exit_code(), problems.to_string()),
            (1, "KIND=c: unknown; choose from a, b".into())
        );
        let mut variables = set();
        assert_eq!(variables.choice("KIND", 0, &[("C", 1)], true), 1);
        assert!(variables.finish().is_ok());
    }
}
