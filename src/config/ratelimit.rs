//! The configuration of envoyproxy/ratelimit, which these documents call the reference: a tree of descriptors for each
//! domain, from files or from the resources of a control plane.
//!
//! It is taken as it is: what the reference takes is taken, with the same meaning, and what it refuses is refused.
//! `schema` mirrors it, `yaml` reads it from a file, `compile` checks it and hands it to
//! [`descriptor_tree`](crate::policy::descriptor_tree).

mod compile;
mod convert;
mod runtime_folder;
pub mod schema;
mod warnings;
mod yaml;

use hashbrown::HashMap;

use self::compile::Forest;
pub use self::convert::{Converted, convert};
pub use self::runtime_folder::{RuntimeFolder, read};
use self::schema::RateLimitConfig;
use super::compilation::Compilation;
use super::document::Document;
use super::language::Language;
use super::problem::Problems;
use super::{Compiled, Source};
use crate::limit::Counting;
use crate::policy::descriptor_tree::{TreeSettings, build_tree};
use crate::policy::fingerprint::FingerprintKey;
use crate::policy::{Policies, Policy};

/// What a deployment says of its ratelimit configurations, besides their texts. The defaults are those of the reference.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// How the trees are answered from.
    pub tree: TreeSettings,
    /// Whether several configurations may define one domain, together (`MERGE_DOMAIN_CONFIG`).
    pub merges_domains: bool,
    /// What is counted in these domains, in place of [`TreeSettings::counting`].
    pub counting: HashMap<Box<str>, Counting>,
}

/// Compiles configurations, as those of a control plane, to the policies of their domains.
///
/// # Errors
/// All problems of all configurations, and domains that two define.
pub fn compile(
    configs: &[RateLimitConfig],
    key: FingerprintKey,
    settings: &Settings,
) -> Result<Policies, Problems> {
    let (mut compilation, mut trees) = (Compilation::default(), Trees::new(settings));
    for config in configs {
        let document = Document::new(&config.source, "");
        trees.add(config, &document, &mut compilation);
        compilation.close(document);
    }
    compilation.finish(|| trees.build(key)).map(|compiled| compiled.policies)
}

/// Compiles texts of which each must be a ratelimit configuration. Texts with problems have no warnings.
///
/// # Errors
/// All problems of all texts, and domains that two texts define.
pub fn compile_texts(
    sources: &[Source],
    key: FingerprintKey,
    settings: &Settings,
) -> Result<Compiled, Problems> {
    let (mut compilation, mut trees) = (Compilation::default(), Trees::new(settings));
    for source in sources {
        let document = Document::new(&source.name, super::text(source));
        trees.read(&document, &mut compilation);
        compilation.close(document);
    }
    compilation.finish(|| trees.build(key))
}

/// The trees of the configurations that are compiled together.
pub(super) struct Trees<'s> {
    settings: &'s Settings,
    forest: Forest,
}

impl<'s> Trees<'s> {
    pub(super) fn new(settings: &'s Settings) -> Self {
        Self { settings, forest: Forest::default() }
    }

    /// Adds the configuration that a document contains.
    pub(super) fn read(&mut self, document: &Document<'_>, compilation: &mut Compilation) {
        let Some(config) = yaml::config(document) else { return };
        self.add(&config, document, compilation);
        if document.problem_count() == 0 {
            warnings::warn(&config, document);
        }
    }

    /// Adds a configuration. Problems go to the document.
    fn add(
        &mut self,
        config: &RateLimitConfig,
        document: &Document<'_>,
        compilation: &mut Compilation,
    ) {
        if self.may_define(config, document, compilation) {
            self.forest.add(config, document, &compilation.budget);
        } else {
            // What it has is checked, but is no part of another's tree.
            Forest::default().add(config, document, &compilation.budget);
        }
    }

    fn may_define(
        &self,
        config: &RateLimitConfig,
        document: &Document<'_>,
        compilation: &mut Compilation,
    ) -> bool {
        let path = config.place.field("domain");
        if !config.domain.is_empty() {
            let merges = self.settings.merges_domains;
            let place = (document, &path);
            return compilation.claim(&config.domain, Language::RateLimit, merges, place);
        }
        if !config.place.is_faulty() {
            let what = "`domain` is missing; write the domain that Envoy's filter sends";
            document.report(&path, what);
        }
        false
    }

    /// The policies of the trees, which have no problems.
    pub(super) fn build(self, key: FingerprintKey) -> impl Iterator<Item = Policy> {
        let settings = self.settings;
        self.forest.into_trees().into_iter().map(move |tree| {
            let counting = settings.counting.get(&*tree.domain).copied();
            let counting = counting.unwrap_or(settings.tree.counting);
            build_tree(tree, key, &TreeSettings { counting, ..settings.tree.clone() })
        })
    }
}
