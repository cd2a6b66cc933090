//! What all texts that are compiled together share: their domains, the memory they may take, and what is found in them.

use hashbrown::HashMap;

use super::Compiled;
use super::compile::MemoryBudget;
use super::document::Document;
use super::language::Language;
use super::path::{NodePath, shown};
use super::problem::Problems;
use crate::policy::{Policies, Policy};

/// The state of a compilation.
#[derive(Default)]
pub(super) struct Compilation {
    /// The memory that is left for policies.
    pub(super) budget: MemoryBudget,
    owners: HashMap<String, Owner>,
    problems: Problems,
    warnings: Problems,
}

/// The first file that defines a domain.
struct Owner {
    file: String,
    language: Language,
}

impl Compilation {
    /// Notes that a document defines a domain, at a path, and returns whether it may: one that is defined already is
    /// reported. If `merges`, several ratelimit configurations may define one.
    pub(super) fn claim(
        &mut self,
        domain: &str,
        language: Language,
        merges: bool,
        (document, path): (&Document<'_>, &NodePath),
    ) -> bool {
        let Some(owner) = self.owners.get(domain) else {
            let owner = Owner { file: document.file().to_owned(), language };
            self.owners.insert(domain.to_owned(), owner);
            return true;
        };
        let are_mergeable = [owner.language, language] == [Language::RateLimit; 2];
        let cure = match are_mergeable {
            true if merges => return true,
            true if is_hidden(&owner.file) || is_hidden(document.file()) => {
                "RUNTIME_IGNOREDOTFILES=true leaves out what begins with a dot, as in a ConfigMap"
            }
            true => "each file needs its own domain, unless MERGE_DOMAIN_CONFIG=true",
            false => "each file needs its own domain",
        };
        let (name, file) = (shown(domain), &owner.file);
        document.report(path, format!("domain `{name}` is already defined in {file}; {cure}"));
        false
    }

    /// Keeps what was found in a document.
    pub(super) fn close(&mut self, document: Document<'_>) {
        let found = document.into_findings();
        self.problems.append(found.problems);
        self.warnings.append(found.warnings);
    }

    /// The policies, which are built if there is no problem.
    ///
    /// # Errors
    /// All problems.
    pub(super) fn finish<P: IntoIterator<Item = Policy>>(
        self,
        policies: impl FnOnce() -> P,
    ) -> Result<Compiled, Problems> {
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        Ok(Compiled { policies: Policies::new(policies()), warnings: self.warnings })
    }
}

/// Whether a name on the path of a file begins with a dot, and is neither `.` nor `..`.
fn is_hidden(file: &str) -> bool {
    file.split('/').any(|name| name.starts_with('.') && ![".", ".."].contains(&name))
}
