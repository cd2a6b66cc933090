//! The folder in which envoyproxy/ratelimit keeps its files.

use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

use crate::config::bounds::MAX_FILES;
use crate::config::files::read_all;
use crate::config::{Problems, Source};

/// Where the files are: in the folder `root/subdirectory/app_directory`. Every file there is a configuration, also in
/// folders within, and whatever its name ends in. Links to files are followed, links to folders within are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeFolder {
    /// `RUNTIME_ROOT`: often a link that is replaced to bring a new version.
    pub root: PathBuf,
    /// `RUNTIME_SUBDIRECTORY`; may be empty.
    pub subdirectory: PathBuf,
    /// `RUNTIME_APPDIRECTORY`. If new versions come by a new root, files and folders beside it count as well whose names
    /// begin with its name and a dot.
    pub app_directory: PathBuf,
    /// Whether files and folders are left out whose names begin with a dot (`RUNTIME_IGNOREDOTFILES`).
    pub ignores_dotfiles: bool,
    /// Whether new versions come by a new `root`, rather than by changes of files (`RUNTIME_WATCH_ROOT`).
    pub watches_root: bool,
}

impl RuntimeFolder {
    /// The path whose changes bring a new version.
    pub fn watched(&self) -> PathBuf {
        if self.watches_root { self.root.clone() } else { self.path().join(&self.app_directory) }
    }

    /// Whether nothing is read, as by the reference: its paths need a subdirectory if it watches the root, and an app
    /// folder, in that case a single name.
    pub fn is_off(&self) -> bool {
        let is_nested = self.app_directory.as_os_str().as_encoded_bytes().contains(&b'/');
        self.app_directory.as_os_str().is_empty()
            || self.watches_root && (is_nested || self.subdirectory.as_os_str().is_empty())
    }

    /// The folder that contains the app folder.
    fn path(&self) -> PathBuf {
        self.root.join(&self.subdirectory)
    }

    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Files { ignores_dotfiles: self.ignores_dotfiles, found: Vec::new() };
        if !self.watches_root {
            files.add_folder(&self.path().join(&self.app_directory))?;
        } else if self.path().exists() {
            for entry in fs::read_dir(self.path())? {
                let entry = entry?;
                if self.is_of_app(&entry)? {
                    files.add(&entry)?;
                }
            }
        }
        files.found.sort_unstable();
        Ok(files.found)
    }

    /// Whether an entry beside the app folder is that folder, or counts as well.
    fn is_of_app(&self, entry: &DirEntry) -> io::Result<bool> {
        let name = entry.file_name();
        let app = self.app_directory.as_os_str().as_encoded_bytes();
        Ok(match name.as_encoded_bytes().strip_prefix(app) {
            Some([]) => entry.file_type()?.is_dir(),
            Some([next, ..]) => *next == b'.',
            None => false,
        })
    }
}

/// Reads every file of the folder, in the order of their paths; none if it [is off](RuntimeFolder::is_off). The bounds
/// are those of [`config::read`](crate::config::read). A link without a target is left out.
///
/// # Errors
/// If the folder or a file cannot be read, or exceeds a bound. A folder that does not exist is empty if new versions come
/// by a new root.
pub fn read(folder: &RuntimeFolder) -> Result<Vec<Source>, Problems> {
    if folder.is_off() {
        return Ok(Vec::new());
    }
    let files = folder.files().map_err(|error| {
        let what = format!(
            "cannot be read: {error}; configurations are read from RUNTIME_ROOT, RUNTIME_SUBDIRECTORY \
             and RUNTIME_APPDIRECTORY, joined to a path"
        );
        Problems::of_path(&folder.path().join(&folder.app_directory), &what)
    })?;
    read_all(&files)
}

/// The files that are found.
struct Files {
    ignores_dotfiles: bool,
    found: Vec<PathBuf>,
}

impl Files {
    fn add_folder(&mut self, folder: &Path) -> io::Result<()> {
        fs::read_dir(folder)?.try_for_each(|entry| self.add(&entry?))
    }

    fn add(&mut self, entry: &DirEntry) -> io::Result<()> {
        let path = entry.path();
        let kind = entry.file_type()?;
        if self.ignores_dotfiles && entry.file_name().as_encoded_bytes().starts_with(b".") {
            return Ok(());
        }
        if kind.is_dir() {
            return self.add_folder(&path);
        }
        // A FIFO or the like is not left out: reading it reports it.
        if !kind.is_symlink() || is_file_or_the_like(&path) {
            self.found.push(path);
        }
        if self.found.len() > MAX_FILES {
            let what =
                format!("it contains more than {MAX_FILES} files; keep only configurations there");
            return Err(io::Error::other(what));
        }
        Ok(())
    }
}

/// Whether the target of a link exists and is no folder.
fn is_file_or_the_like(link: &Path) -> bool {
    fs::metadata(link).is_ok_and(|target| !target.is_dir())
}
