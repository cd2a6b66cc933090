//! `tollgate convert`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use hashbrown::HashSet;

use super::output::report_error;
use super::{Failure, read};
use crate::config::ratelimit::{self, Converted, Settings};
use crate::reading::caught;

#[derive(Debug, Args)]
pub(super) struct Convert {
    /// Configurations of envoyproxy/ratelimit: files, or folders of `.yaml` and `.yml` files.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Write each policy to a file of this folder, which is named by the domain and must be new. Without it, all policies
    /// go to standard output, with `---` between them.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Join configurations of one domain, as envoyproxy/ratelimit does with MERGE_DOMAIN_CONFIG=true.
    #[arg(long)]
    merge_domains: bool,
    /// Exit with code 1 if a policy lacks something that its configuration says.
    #[arg(long)]
    strict: bool,
}

impl Convert {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let mut sources = Vec::new();
        for path in &self.paths {
            sources.extend(read(path)??);
        }
        let settings = Settings { merges_domains: self.merge_domains, ..Settings::default() };
        let converted = caught(|| ratelimit::convert(&sources, &settings))??;
        match &self.out {
            Some(folder) => write_files(folder, &converted)?,
            None => write_documents(out, &converted)?,
        }
        let summaries: Vec<_> = converted.iter().map(summary).collect();
        report_error(summaries.join("\n"));
        let left_out = converted.iter().any(|converted| converted.left_out > 0);
        Ok(ExitCode::from(u8::from(self.strict && left_out)))
    }
}

fn summary(Converted { domain, limits, left_out, .. }: &Converted) -> String {
    let domain = domain.escape_debug();
    format!("domain {domain}: limits converted: {limits}; left out, see the comments: {left_out}")
}

fn write_documents(out: &mut dyn Write, converted: &[Converted]) -> std::io::Result<()> {
    for (at, Converted { text, .. }) in converted.iter().enumerate() {
        let separator = if at > 0 { "---\n" } else { "" };
        write!(out, "{separator}{text}")?;
    }
    Ok(())
}

/// Writes a file for each domain. A file that exists stays as it is.
fn write_files(folder: &Path, converted: &[Converted]) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        format!("{}: {error}; choose another folder with --out", path.display())
    };
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let mut names = HashSet::new();
    for Converted { domain, text, .. } in converted {
        let path = folder.join(file_name(domain, &mut names));
        let opened = OpenOptions::new().write(true).create_new(true).open(&path);
        let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// The name of the file for a domain, in letters that every system takes; another for each domain.
fn file_name(domain: &str, names: &mut HashSet<String>) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = domain.chars().take(MAX_NAME).map(plain).collect();
    // A folder is read without the files whose names begin with a dot.
    let name = match name.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None => name,
    };
    let mut unique = format!("{name}.yaml");
    let mut number = 1;
    while !names.insert(unique.to_ascii_lowercase()) {
        number += 1;
        unique = format!("{name}-{number}.yaml");
    }
    unique
}

/// The most characters of a domain in the name of a file.
const MAX_NAME: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_domain_has_a_file_of_its_own() {
        let mut names = HashSet::new();
        let found = ["a", "A", "a/b", "a b", ".d", "é"].map(|domain| file_name(domain, &mut names));
        assert_eq!(found, ["a.yaml", "A-2.yaml", "a_b.yaml", "a_b-2.yaml", "_d.yaml", "_.yaml"]);
    }

    #[test]
    fn a_file_that_exists_stays() {
        let folder = tempfile::tempdir().unwrap();
        let of = |domain: &str, text: &str| Converted {
            domain: domain.into(),
            text: text.into(),
            limits: 1,
            left_out: 0,
        };
        write_files(folder.path(), &[of("a", "one"), of("b", "two")]).unwrap();
        let error = write_files(folder.path(), &[of("a", "other")]).unwrap_err().to_string();
        assert!(error.ends_with("choose another folder with --out"), "{error}");
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!([read("a.yaml"), read("b.yaml")], ["one", "two"]);
    }
}
