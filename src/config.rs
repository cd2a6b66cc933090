//! The only module that knows YAML: from texts to policies, or to everything that is wrong with them.

mod bounds;
mod compile;
mod document;
mod path;
mod problem;
mod read;
mod schema;
mod tree;
mod value;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use hashbrown::HashMap;

use self::bounds::{MAX_BYTES, MAX_FILES, MAX_TOTAL_BYTES};
use self::compile::Room;
use self::path::{NodePath, shown};
use self::problem::Problem;
use self::document::Document;
use self::read::Node;
use crate::file;
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
/// name begins with a dot are passed over, and so are folders within the folder. At most 4 MiB of a file are
/// read, 16 MiB of a folder, and 1,000 files.
///
/// # Errors
/// Where something cannot be read, or is too much, or a folder holds no such file.
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
                        "with this the files hold more than {MAX_TOTAL_BYTES} bytes, the most \
                         that is read of a folder; serve some domains by another tollgate"
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
        let what = "holds no .yaml file; name a policy file, or a folder of them";
        problems.push(wrong(path, what));
    }
    if problems.is_empty() { Ok(sources) } else { Err(problems) }
}

fn unreadable(error: &io::Error) -> String {
    let hint = match error.kind() {
        ErrorKind::NotFound => "; name a policy file, or a folder of them",
        ErrorKind::InvalidData => "; save it as UTF-8",
        ErrorKind::FileTooLarge => "; split it by domains",
        ErrorKind::Unsupported => "; put the policy there as a file",
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
        // What is no folder is told if it cannot be read: a policy that is left out limits nothing.
        if is_yaml && !is_hidden && !path.is_dir() {
            files.push(path);
        }
        if files.len() > MAX_FILES {
            let what =
                format!("it holds more than {MAX_FILES} .yaml files; keep only policies in it");
            return Err(io::Error::other(what));
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
    let room = Room::default();
    for source in sources {
        let document = Document::new(&source.name, text(source));
        if let Some(Compiled { policy, domain }) = compile_one(&document, key, &room) {
            if !policy.domain().is_empty()
                && let Some(owner) = owners.insert(policy.domain().to_owned(), &source.name)
            {
                let name = shown(policy.domain());
                let what = format!("domain `{name}` is in {owner} already; one file, one domain");
                document.report(&domain, what);
            }
            policies.push(policy);
        }
        problems.take_in(document.into_problems());
    }
    if problems.is_empty() { Ok(Policies::new(policies)) } else { Err(problems) }
}

/// A policy, and the path of its domain.
struct Compiled {
    policy: Policy,
    domain: NodePath,
}

fn compile_one(document: &Document<'_>, key: FingerprintKey, room: &Room) -> Option<Compiled> {
    let file = {
        // Gone before anything is compiled, so that not all of it is there at a time.
        let tree = tree::tree(document)?;
        schema::file(&Node { document, value: &tree, path: NodePath::root(tree.position) })?
    };
    let domain = file.domain.as_ref().map(|domain| domain.path.clone()).unwrap_or_default();
    Some(Compiled { policy: compile::policy(&file, document, key, room), domain })
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
