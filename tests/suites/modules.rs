//! The module map in `src/lib.rs` is the order of imports.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use std::path::{Path, PathBuf};

fn map() -> Vec<String> {
    let text = std::fs::read_to_string("src/lib.rs").unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! | `"));
    rows.filter_map(|row| row.split('`').next()).map(str::to_owned).collect()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// Every `crate::name` outside comments, with the number of its line.
fn imports(text: &str) -> Vec<(usize, String)> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    let names = lines.flat_map(|(at, line)| {
        let pieces = line.split("crate::").skip(1);
        pieces.map(move |piece| {
            let end = piece.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(piece.len());
            (at + 1, piece[..end].to_owned())
        })
    });
    names.collect()
}

#[test]
fn the_map_names_every_module() {
    let text = std::fs::read_to_string("src/lib.rs").unwrap();
    let mut declared: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let mut mapped = map();
    declared.sort_unstable();
    mapped.sort_unstable();
    assert_eq!(mapped, declared);
}

#[test]
fn imports_point_down_the_map() {
    let map = map();
    let rank = |name: &str| map.iter().position(|other| other == name);
    let mut found = Vec::new();
    files(Path::new("src"), &mut found);
    let mut wrong = Vec::new();
    for file in found {
        let inner = file.strip_prefix("src").unwrap().with_extension("");
        let module = inner.iter().next().unwrap().to_str().unwrap().to_owned();
        let Some(own) = rank(&module) else { continue };
        for (line, import) in imports(&std::fs::read_to_string(&file).unwrap()) {
            let is_below = rank(&import).is_some_and(|other| other >= own);
            if !is_below {
                wrong.push(format!("{}:{line}: {module} imports {import}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `super` up to the crate's root would go around the map.
#[test]
fn imports_of_another_module_say_so() {
    let mut found = Vec::new();
    files(Path::new("src"), &mut found);
    for file in found {
        let depth = file.strip_prefix("src").unwrap().iter().count();
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        assert!(!code.contains(&"super::".repeat(depth)), "{}: write `crate::`", file.display());
    }
}

#[test]
fn only_its_own_module_knows_yaml_protobuf_and_tokio() {
    let mut found = Vec::new();
    files(Path::new("src"), &mut found);
    let map = map();
    let reply = map.iter().position(|module| module == "reply").unwrap();
    // As the crate's documentation says: from `reply` down.
    let core = &map[reply..];
    for file in found {
        let text = std::fs::read_to_string(&file).unwrap();
        let inner = file.strip_prefix("src").unwrap().with_extension("");
        let module = inner.iter().next().unwrap().to_str().unwrap();
        let code: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect::<Vec<_>>()
            .join("\n");
        let knows = |name: &str| code.contains(name);
        let has_yaml = knows("granit_parser") || knows("serde_yaml");
        assert!(!has_yaml || module == "config", "{} knows YAML", file.display());
        let has_proto = knows("prost::") || knows("prost_types") || knows("pb::envoy");
        assert!(
            !has_proto || ["wire", "xds"].contains(&module),
            "{} knows protobuf",
            file.display()
        );
        if core.iter().any(|name| name == module) {
            assert!(!knows("tokio::") && !knows("tonic::"), "{} knows tokio", file.display());
        }
    }
}

/// Two files of one folder that import each other are one file in two.
#[test]
fn no_two_files_of_a_folder_import_each_other() {
    let mut found = Vec::new();
    files(Path::new("src"), &mut found);
    let imports: Vec<(PathBuf, String, Vec<String>)> = found
        .into_iter()
        .map(|file| {
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap().to_owned();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            let siblings = lines.flat_map(|line| {
                line.split("super::").skip(1).map(|rest| {
                    rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
                })
            });
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            (file.parent().unwrap().to_owned(), name, siblings.collect())
        })
        .collect();
    for (folder, name, of) in &imports {
        for (other_folder, other, of_other) in &imports {
            let is_circle = folder == other_folder && of.contains(other) && of_other.contains(name);
            assert!(!is_circle, "{}: {name} and {other}", folder.display());
        }
    }
}

#[test]
fn main_stays_small() {
    let text = std::fs::read_to_string("src/main.rs").unwrap();
    assert!(text.lines().count() <= 60);
}
