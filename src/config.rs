//! Compiles policy files. The only module that knows YAML.

mod bounds;
mod compile;
mod document;
mod path;
mod problem;
mod read;
mod schema;
mod tree;
mod value;
mod warnings;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use hashbrown::HashMap;

use self::bounds::{MAX_BYTES, MAX_FILES, MAX_TOTAL_BYTES};
use self::compile::MemoryBudget;
use self::document::Document;
use self::path::{NodePath, shown};
use self::problem::Problem;
use self::read::Node;
use crate::file;
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
    let found = if path.is_dir() { files_of(path) } else { Ok(vec![path.to_owned()]) };
    let mut problems = Problems::default();
    let wrong = |path: &Path, what: &str| Problem::of_file(&path.display().to_string(), what);
    let files = found.unwrap_or_else(|error| {
        problems.push(wrong(path, &unreadable(&error)));
        Vec::new()
    });
    let mut sources = Vec::new();
    let mut left = MAX_TOTAL_BYTES;
    for file in &files {
        match file::read_text(file, MAX_BYTES) {
            Ok(text) => match left.checked_sub(text.len() as u64) {
                Some(less) => {
                    left = less;
                    sources.push(Source { name: file.display().to_string(), text });
                }
                None => {
                    let what = format!(
                        "the files up to this one hold more than {MAX_TOTAL_BYTES} bytes, the \
                         maximum for a folder; serve some domains from another tollgate"
                    );
                    problems.push(wrong(file, &what));
                    break;
                }
            },
            Err(error) => problems.push(wrong(file, &unreadable(&error))),
        }
        if problems.is_full() {
            break;
        }
    }
    if sources.is_empty() && problems.is_empty() {
        let what = "contains no .yaml file; name a policy file, or a folder of them";
        problems.push(wrong(path, what));
    }
    if problems.is_empty() { Ok(sources) } else { Err(problems) }
}

fn unreadable(error: &io::Error) -> String {
    let hint = match error.kind() {
        ErrorKind::NotFound => "; name a policy file, or a folder of them",
        ErrorKind::InvalidData => "; save it as UTF-8",
        ErrorKind::FileTooLarge => "; split the policy into several domains",
        ErrorKind::Unsupported => "; put a regular file there",
        _ => "",
    };
    format!("cannot be read: {error}{hint}")
}

fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_yaml = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
        let is_hidden =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        // A FIFO or the like is not skipped: reading it reports it, while a policy left out would limit nothing.
        if is_yaml && !is_hidden && !path.is_dir() {
            files.push(path);
        }
        if files.len() > MAX_FILES {
            let what =
                format!("it contains more than {MAX_FILES} .yaml files; keep only policies there");
            return Err(io::Error::other(what));
        }
    }
    files.sort_unstable();
    Ok(files)
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

/// Compiles each text to the policy of its domain. Texts with problems have no warnings.
///
/// # Errors
/// All problems of all texts, and domains that two texts define.
pub fn compile_with_warnings(
    sources: &[Source],
    key: FingerprintKey,
) -> Result<Compiled, Problems> {
    let (mut problems, mut warnings) = (Problems::default(), Problems::default());
    let mut policies: Vec<Policy> = Vec::new();
    let mut owners: HashMap<String, &str> = HashMap::new();
    let budget = MemoryBudget::default();
    for source in sources {
        let document = Document::new(&source.name, text(source));
        if let Some(CompiledFile { policy, domain }) = compile_one(&document, key, &budget) {
            if !policy.domain().is_empty()
                && let Some(owner) = owners.insert(policy.domain().to_owned(), &source.name)
            {
                let name = shown(policy.domain());
                let what = format!(
                    "domain `{name}` is already defined in {owner}; each file needs its own domain"
                );
                document.report(&domain, what);
            }
            policies.push(policy);
        }
        let found = document.into_findings();
        problems.append(found.problems);
        warnings.append(found.warnings);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Compiled { policies: Policies::new(policies), warnings })
}

/// A policy, and where its file names the domain.
struct CompiledFile {
    policy: Policy,
    domain: NodePath,
}

fn compile_one(
    document: &Document<'_>,
    key: FingerprintKey,
    budget: &MemoryBudget,
) -> Option<CompiledFile> {
    let file = {
        // The tree is freed before compiling starts, so that both are not in memory at once.
        let tree = tree::tree(document)?;
        schema::file(&Node { document, value: &tree, path: NodePath::root(tree.position) })?
    };
    let domain = file.domain.as_ref().map(|domain| domain.path.clone()).unwrap_or_default();
    let policy = compile::policy(&file, document, key, budget);
    if document.problem_count() == 0 {
        warnings::warn(&file, document);
    }
    Some(CompiledFile { policy, domain })
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
