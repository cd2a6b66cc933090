//! Reads the texts of policies from files and folders.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::Source;
use super::bounds::{MAX_BYTES, MAX_FILES, MAX_TOTAL_BYTES};
use super::problem::Problems;
use crate::file;

/// Reads a file, or the `.yaml` and `.yml` files of a folder; see [`config::read`](super::read).
///
/// # Errors
/// If a file cannot be read or exceeds a bound, or if a folder contains no such file.
pub(super) fn read(path: &Path) -> Result<Vec<Source>, Problems> {
    let found = if path.is_dir() { files_of(path) } else { Ok(vec![path.to_owned()]) };
    let files = found.map_err(|error| Problems::of_path(path, &unreadable(&error)))?;
    if files.is_empty() {
        return Err(Problems::of_path(
            path,
            "contains no .yaml file; name a policy file, or a folder of them",
        ));
    }
    read_all(&files)
}

/// Reads files that together are within the bounds.
///
/// # Errors
/// All problems of all files.
pub(super) fn read_all(files: &[PathBuf]) -> Result<Vec<Source>, Problems> {
    let mut problems = Problems::default();
    let mut sources = Vec::new();
    let mut left = MAX_TOTAL_BYTES;
    for file in files {
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
                    problems.append(Problems::of_path(file, &what));
                    break;
                }
            },
            Err(error) => problems.append(Problems::of_path(file, &unreadable(&error))),
        }
        if problems.is_full() {
            break;
        }
    }
    if problems.is_empty() { Ok(sources) } else { Err(problems) }
}

/// Why a file cannot be read, and what to do.
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
