//! The only module that knows YAML: from texts to policies, or to everything that is wrong with them.

mod compile;
mod place;
mod problem;
mod read;
mod schema;
mod tree;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use hashbrown::HashMap;

use self::place::Place;
use self::problem::Problem;
use self::read::{Document, Node};
use crate::policy::fingerprint::FingerprintKey;
use crate::policy::{Policies, Policy};

pub use self::problem::Problems;

/// One file's text, wherever it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What to call it when something is wrong with it.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// Reads a file, or every `.yaml` and `.yml` file of a folder in the order of their names. Files whose
/// name begins with a dot are passed over, and so are folders within the folder.
///
/// # Errors
/// Where something cannot be read, or a folder holds no such file.
pub fn read(path: &Path) -> Result<Vec<Source>, Problems> {
    let found = if path.is_dir() { files_of(path) } else { Ok(vec![path.to_owned()]) };
    let mut problems = Problems::default();
    let mut cannot_read = |path: &Path, error: std::io::Error| {
        let cure = match error.kind() {
            ErrorKind::NotFound => "; name a policy file, or a folder of them",
            ErrorKind::InvalidData => "; save it as UTF-8",
            _ => "",
        };
        let what = format!("cannot be read: {error}{cure}");
        problems.push(Problem::of_file(&path.display().to_string(), what));
    };
    let files = found.unwrap_or_else(|error| {
        cannot_read(path, error);
        Vec::new()
    });
    let mut sources = Vec::new();
    for file in &files {
        match std::fs::read_to_string(file) {
            Ok(text) => sources.push(Source { name: file.display().to_string(), text }),
            Err(error) => cannot_read(file, error),
        }
    }
    if sources.is_empty() && problems.is_empty() {
        let what = "holds no .yaml file; name a policy file, or a folder of them";
        problems.push(Problem::of_file(&path.display().to_string(), what));
    }
    if problems.is_empty() { Ok(sources) } else { Err(problems) }
}

fn files_of(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_yaml = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
        let is_hidden =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_yaml && !is_hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Compiles texts, one policy each, every one of another domain.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn compile(sources: &[Source], key: FingerprintKey) -> Result<Policies, Problems> {
    let mut problems = Problems::default();
    let mut policies: Vec<Policy> = Vec::new();
    let mut owners: HashMap<String, &str> = HashMap::new();
    for source in sources {
        let (policy, found) = compile_one(source, key);
        problems.append(found);
        let Some(policy) = policy else { continue };
        if !policy.domain().is_empty()
            && let Some(owner) = owners.insert(policy.domain().to_owned(), &source.name)
        {
            let domain = policy.domain().escape_debug();
            let what = format!("domain `{domain}` is in {owner} already; one file, one domain");
            let place = Place::default().key("domain");
            problems.push(Problem::of(&source.name, Some(text(source)), &place, what));
        }
        policies.push(policy);
    }
    if problems.is_empty() { Ok(Policies::new(policies)) } else { Err(problems) }
}

fn compile_one(source: &Source, key: FingerprintKey) -> (Option<Policy>, Problems) {
    let document = Document::new(&source.name, text(source));
    let policy = tree::tree(&document).and_then(|tree| {
        let root = Node { document: &document, value: &tree, place: Place::default() };
        schema::file(&root).map(|file| compile::policy(&file, &document, key))
    });
    (policy, document.into_problems())
}

/// A source's text without the mark that some editors put at the beginning.
fn text(source: &Source) -> &str {
    source.text.strip_prefix('\u{feff}').unwrap_or(&source.text)
}

/// Reads and compiles a file or a folder.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &Path, key: FingerprintKey) -> Result<Policies, Problems> {
    compile(&read(path)?, key)
}
