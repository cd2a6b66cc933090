//! A file being read, and the problems found in it.

use std::cell::{Cell, RefCell};

use super::path::{NodePath, shown};
use super::problem::{Problem, Problems, Severity, did_you_mean, suggest};
use crate::policy::entry_name::EntryName;
use crate::policy::values;

/// A file being read.
pub(super) struct Document<'a> {
    file: &'a str,
    text: &'a str,
    problems: Found,
    warnings: Found,
}

/// Problems of one severity, as many as are kept.
#[derive(Default)]
struct Found {
    kept: RefCell<Problems>,
    /// The number of problems beyond those that are kept.
    omitted: Cell<usize>,
}

impl Found {
    fn push(&self, problem: impl FnOnce() -> Problem) {
        if self.is_full() {
            self.omitted.set(self.omitted.get() + 1);
        } else {
            self.kept.borrow_mut().push(problem());
        }
    }

    fn is_full(&self) -> bool {
        self.kept.borrow().is_full()
    }

    fn in_order(self, file: &str, severity: Severity) -> Problems {
        self.kept.into_inner().in_order(file, severity, self.omitted.get())
    }
}

/// What is wrong with a file, and what it is warned of.
pub(super) struct Findings {
    pub(super) problems: Problems,
    pub(super) warnings: Problems,
}

impl<'a> Document<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, problems: Found::default(), warnings: Found::default() }
    }

    pub(super) const fn file(&self) -> &'a str {
        self.file
    }

    pub(super) const fn text(&self) -> &'a str {
        self.text
    }

    pub(super) fn report(&self, path: &NodePath, what: impl Into<String>) {
        self.problems.push(|| Problem::of(self.file, path, what));
    }

    /// Reports what is valid, but may not be meant.
    pub(super) fn warn(&self, path: &NodePath, what: impl Into<String>) {
        self.warnings.push(|| Problem::warning(self.file, path, what));
    }

    /// Adds a problem, however many there are.
    pub(super) fn push(&self, problem: Problem) {
        self.problems.kept.borrow_mut().push(problem);
    }

    /// Whether further problems are only counted, so that their hints need not be computed.
    pub(super) fn is_full(&self) -> bool {
        self.problems.is_full()
    }

    /// [`did_you_mean`], unless the problem is only counted.
    pub(super) fn did_you_mean<'n>(
        &self,
        name: &str,
        known: impl IntoIterator<Item = &'n str>,
    ) -> String {
        if self.is_full() { String::new() } else { did_you_mean(name, known) }
    }

    /// [`suggest`], unless the problem is only counted.
    pub(super) fn suggest(&self, name: &str, known: &[&str]) -> String {
        if self.is_full() { String::new() } else { suggest(name, known) }
    }

    /// The number of problems so far.
    pub(super) fn problem_count(&self) -> usize {
        self.problems.kept.borrow().len() + self.problems.omitted.get()
    }

    pub(super) fn into_findings(self) -> Findings {
        Findings {
            problems: self.problems.in_order(self.file, Severity::Error),
            warnings: self.warnings.in_order(self.file, Severity::Warning),
        }
    }
}

/// A value with the path it was read from.
#[derive(Debug, Clone)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) path: NodePath,
}

impl Located<String> {
    /// The name of an entry, which is `a` for `a[0]`. Reports a name that no entry has.
    pub(super) fn into_entry_name(mut self, document: &Document<'_>) -> Self {
        let problem = match EntryName::parse(&self.value) {
            Err(error) => format!("`{}` names no entry: {error}", shown(&self.value)),
            Ok(EntryName { key: "", .. }) => {
                "an entry never has an empty key; name an entry that Envoy sends".to_owned()
            }
            Ok(EntryName { key, number: 1.. }) if values::is_built_in(key) => format!(
                "only the first entry `{key}` can be named, since the key has a meaning of its own; give the other \
                 entry another `descriptor_key` in Envoy"
            ),
            Ok(EntryName { key, .. }) => {
                let (length, is_first) = (key.len(), self.value.ends_with("[0]"));
                if is_first {
                    self.value.truncate(length);
                }
                return self;
            }
        };
        document.report(&self.path, problem);
        self
    }
}
