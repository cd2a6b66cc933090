//! Compiles policy files, the configuration of envoyproxy/ratelimit, and mappings of logs. The only module that knows YAML.

mod bounds;
mod compilation;
mod compile;
mod document;
mod files;
mod language;
pub mod mapping;
mod path;
mod problem;
pub mod ratelimit;
mod read;
mod schema;
mod tree;
mod value;
mod warnings;
mod yaml_1_1;

use std::path::Path;

use self::compilation::Compilation;
use self::document::Document;
use self::language::Language;
use self::path::NodePath;
use self::ratelimit::{Settings, Trees};
use self::read::Node;
use crate::policy::fingerprint::FingerprintKey;
use crate::policy::{Policies, Policy};

pub use self::problem::Problems;

/// The text of one policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name in problems, usually its path.
    pub name: String,
    /// The YAML.
    pub text: String,
}

/// Reads a file, or every `.yaml` and `.yml` file of a folder in the order of their names. Skips files whose name
/// begins with a dot, and folders within the folder. Reads at most 4 MiB of a file, and 16 MiB and 1,000 files of a
/// folder.
///
/// # Errors
/// If a file cannot be read or exceeds a bound, or if a folder contains no such file.
pub fn read(path: &Path) -> Result<Vec<Source>, Problems> {
    files::read(path)
}

/// Compiled policies.
#[derive(Debug)]
pub struct Compiled {
    /// The policies, by domain.
    pub policies: Policies,
    /// What is valid in their texts, but limits less than it seems; at most 100 of each text are listed.
    pub warnings: Problems,
}

/// Compiles each text to the policy of its domain, without warnings; see [`compile_with_warnings`].
///
/// # Errors
/// All problems of all texts, and domains that two texts define.
pub fn compile(sources: &[Source], key: FingerprintKey) -> Result<Policies, Problems> {
    compile_with_warnings(sources, key).map(|compiled| compiled.policies)
}

/// Compiles each text to the policy of its domain, with the default settings of ratelimit configurations; see
/// [`compile_with_settings`].
///
/// # Errors
/// All problems of all texts, and domains that two texts define.
pub fn compile_with_warnings(
    sources: &[Source],
    key: FingerprintKey,
) -> Result<Compiled, Problems> {
    compile_with_settings(sources, key, &Settings::default())
}

/// Compiles each text to the policy of its domain: a policy, which has `tables`, or a ratelimit configuration, which has
/// `descriptors`. Texts with problems have no warnings.
///
/// # Errors
/// All problems of all texts, and domains that two texts define. With [`Settings::merges_domains`], several ratelimit
/// configurations may define one.
pub fn compile_with_settings(
    sources: &[Source],
    key: FingerprintKey,
    settings: &Settings,
) -> Result<Compiled, Problems> {
    let mut compilation = Compilation::default();
    let (mut policies, mut trees) = (Vec::new(), Trees::new(settings));
    for source in sources {
        let document = Document::new(&source.name, text(source));
        match Language::of(document.text()) {
            Language::Policy => policies.extend(compile_one(&document, key, &mut compilation)),
            Language::RateLimit => trees.read(&document, &mut compilation),
        }
        compilation.close(document);
    }
    compilation.finish(|| policies.into_iter().chain(trees.build(key)))
}

fn compile_one(
    document: &Document<'_>,
    key: FingerprintKey,
    compilation: &mut Compilation,
) -> Option<Policy> {
    let file = {
        // The tree is freed before compiling starts, so that both are not in memory at once.
        let tree = tree::tree(document, Language::Policy)?;
        schema::file(&Node { document, value: &tree, path: NodePath::root(tree.position) })?
    };
    let policy = compile::policy(&file, document, key, &compilation.budget);
    if document.problem_count() == 0 {
        warnings::warn(&file, document);
    }
    if let Some(domain) = file.domain.as_ref().filter(|domain| !domain.value.is_empty()) {
        let place = (document, &domain.path);
        compilation.claim(&domain.value, Language::Policy, false, place);
    }
    Some(policy)
}

/// The text without the byte order mark that some editors write.
fn text(source: &Source) -> &str {
    source.text.strip_prefix('\u{feff}').unwrap_or(&source.text)
}

/// Reads and compiles a file or a folder.
///
/// # Errors
/// All problems of the files.
pub fn load(path: &Path, key: FingerprintKey) -> Result<Policies, Problems> {
    compile(&read(path)?, key)
}
