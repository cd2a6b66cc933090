//! Builds a [`Mapping`] from checked parts, independently of the language of its file.

use regex::bytes::Regex;

use super::token::{ClaimIndex, Token};
use super::{DescriptorPlan, EntryPlan, Fields, HitsSource, Mapping, Skip, Source, Times};

/// The index of a field among those that a mapping wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FieldIndex(usize);

impl FieldIndex {
    /// What a list in the order of the fields has for it.
    pub(super) fn of<T>(self, list: &[T]) -> Option<&T> {
        list.get(self.0)
    }
}

/// The index of a regular expression of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PatternIndex(pub(super) usize);

/// A mapping under construction.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    fields: Vec<String>,
    descriptors: Vec<DescriptorPlan>,
    keys: Vec<Box<str>>,
    tokens: Vec<Token>,
    claims: usize,
    patterns: Vec<Regex>,
}

/// The parts of an entry.
#[derive(Debug)]
pub(crate) struct NewEntry {
    pub(crate) key: Box<str>,
    pub(crate) source: Source,
    pub(crate) is_required: bool,
    pub(crate) is_optional: bool,
}

impl Builder {
    /// The index of a field, which is added if it is new.
    pub(crate) fn field(&mut self, name: &str) -> FieldIndex {
        let known = self.fields.iter().position(|field| field == name);
        FieldIndex(known.unwrap_or_else(|| {
            self.fields.push(name.to_owned());
            self.fields.len() - 1
        }))
    }

    /// How many fields there are.
    pub(crate) const fn field_count(&self) -> usize {
        self.fields.len()
    }

    /// The index of a claim, by the names that lead to it, in the token that fields have.
    pub(crate) fn claim(&mut self, fields: &Fields, path: Vec<String>) -> ClaimIndex {
        let known = self.tokens.iter().position(|token| token.fields() == fields);
        let at = known.unwrap_or_else(|| {
            self.tokens.push(Token::new(fields.clone()));
            self.tokens.len() - 1
        });
        let next = ClaimIndex::new(self.claims);
        let index = self.tokens.get_mut(at).map_or(next, |token| token.claim(path, next));
        if index == next {
            self.claims += 1;
        }
        index
    }

    /// Adds a regular expression.
    pub(crate) fn pattern(&mut self, pattern: Regex) -> PatternIndex {
        self.patterns.push(pattern);
        PatternIndex(self.patterns.len() - 1)
    }

    /// How many regular expressions there are.
    pub(crate) const fn pattern_count(&self) -> usize {
        self.patterns.len()
    }

    /// Adds a descriptor.
    pub(crate) fn descriptor(&mut self, entries: Vec<NewEntry>, hits: HitsSource) {
        let plan = |entry| {
            let NewEntry { key, source, is_required, is_optional } = entry;
            self.keys.push(key);
            EntryPlan { source, is_required, is_optional, number: self.keys.len() - 1 }
        };
        let entries = entries.into_iter().map(plan).collect();
        self.descriptors.push(DescriptorPlan { entries, hits });
    }

    /// Builds the mapping. Its descriptors keep their order.
    pub(crate) fn build(self, skip: Skip, times: Times) -> Mapping {
        let Self { fields, descriptors, keys, tokens, claims, patterns } = self;
        Mapping {
            fields: fields.into(),
            times,
            descriptors: descriptors.into(),
            keys: keys.into(),
            tokens: tokens.into(),
            claims,
            patterns: patterns.into(),
            skip,
        }
    }
}
