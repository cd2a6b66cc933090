//! What README and docs/ say that the program says as well.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

use crate::support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use serde_json::Value;
use support::{TestServer, server};
use tollgate::cli::Cli;

/// The cells of every row of a table whose first cell is code. A bar within code is written with a backslash.
fn rows(path: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let cells = |row: &str| {
        let row = row.replace("\\|", "\u{1}");
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().replace('\u{1}', "|")).collect()
    };
    rows.map(cells).collect()
}

#[test]
fn every_flag_of_serve_is_in_the_docs_with_its_variable_and_default_and_no_other_is() {
    let program = Cli::command();
    let serve = program.find_subcommand("serve").unwrap();
    let flags: BTreeSet<_> = serve
        .get_arguments()
        .filter(|flag| flag.get_id() != "help")
        .map(|flag| {
            let value = flag.get_value_names().unwrap()[0].as_str();
            let defaults = flag.get_default_values();
            let default = match defaults {
                [] => "none".to_owned(),
                [default] => format!("`{}`", default.to_str().unwrap()),
                several => panic!("{several:?}"),
            };
            let variable = flag.get_env().unwrap().to_str().unwrap();
            [format!("`--{} {value}`", flag.get_long().unwrap()), format!("`{variable}`"), default]
        })
        .collect();
    assert!(flags.len() > 30, "{flags:?}");
    let rows = rows("docs/flags.md").into_iter().filter(|row| row[0].starts_with("`--"));
    let listed: Vec<[String; 3]> =
        rows.map(|row| [row[0].clone(), row[1].clone(), row[2].clone()]).collect();
    assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), flags);
    assert_eq!(listed.len(), flags.len());
}

#[test]
fn every_command_is_in_the_docs_and_no_other_is() {
    let mut commands = BTreeSet::new();
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        let nested: Vec<_> = command.get_subcommands().map(|nested| nested.get_name()).collect();
        if nested.is_empty() {
            commands.insert(name.to_owned());
        }
        commands.extend(nested.into_iter().map(|nested| format!("{name} {nested}")));
    }
    let rows = rows("docs/flags.md").into_iter().filter(|row| !row[0].starts_with("`--"));
    let is_word = |word: &&str| word.starts_with(|c: char| c.is_ascii_lowercase());
    let listed = rows.map(|row| {
        let code = row[0].trim_matches('`').to_owned();
        let words = code.split(' ').take_while(is_word).filter(|word| !word.contains('='));
        words.collect::<Vec<_>>().join(" ")
    });
    assert_eq!(listed.collect::<BTreeSet<_>>(), commands);
}

#[test]
fn every_path_of_http_is_in_the_docs_with_its_methods_and_no_other_is() {
    let (server, _) = server("tables: [{ name: t, key: [k], rows: { all: unlimited } }]");
    let answer = server.get("/openapi.json");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let document: Value = serde_json::from_str(body).unwrap();
    let mut served = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let methods = methods.as_object().unwrap().keys().filter(|key| *key != "parameters");
        served.extend(methods.map(|method| (path.clone(), method.to_uppercase())));
    }
    let listed = rows("docs/http.md").into_iter().flat_map(|row| {
        let paths = row[0].split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        paths.into_iter().map(move |path| (path, row[1].clone()))
    });
    assert_eq!(listed.collect::<BTreeSet<_>>(), served);
}

/// The names of variables in quotes, of the files of a folder that are no tests.
fn variables(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() || path.extension().is_none_or(|end| end != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let quoted = code.split('"').skip(1).step_by(2);
        let is_name = |text: &&str| {
            text.contains('_') && text.chars().all(|c| c.is_ascii_uppercase() || c == '_')
        };
        found.extend(quoted.filter(is_name).map(str::to_owned));
    }
    found
}

#[test]
fn every_variable_of_ratelimit_is_in_the_docs() {
    let read = variables(Path::new("src/cli/ratelimit"));
    assert!(read.len() > 60, "{read:?}");
    let page = std::fs::read_to_string("docs/ratelimit.md").unwrap();
    let missing: Vec<_> = read
        .iter()
        .filter(|name| name.as_str() != "GRPC_XDS_SOTW")
        // A name that ends so stands for all that begin with it, or for a first choice of two.
        .filter(|name| !page.contains(name.trim_end_matches('_')))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn pages() -> Vec<PathBuf> {
    let in_docs = std::fs::read_dir("docs").unwrap().map(|entry| entry.unwrap().path());
    let is_page = |path: &PathBuf| path.extension().is_some_and(|end| end == "md");
    let others = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "envoy/README.md"]
        .map(PathBuf::from);
    in_docs.filter(is_page).chain(others).collect()
}

/// The text between two fences whose first says `kind`.
pub(crate) fn blocks<'a>(text: &'a str, kind: &str) -> Vec<&'a str> {
    let begin = format!("```{kind}\n");
    text.split(&*begin).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn every_whole_policy_in_the_docs_compiles() {
    let mut policies = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for policy in blocks(&text, "yaml").into_iter().filter(|text| text.contains("domain: ")) {
            drop(TestServer::with_policy(policy));
            policies += 1;
        }
    }
    assert!(policies > 0);
}

/// The anchors of a page, as GitHub makes them of headings.
fn anchors(page: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(page).unwrap();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        heading.chars().filter(kept).collect::<String>().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let mut links = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.starts_with("http") {
                continue;
            }
            links += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            assert!(target.exists(), "{}: {link}", page.display());
            let is_there = anchor.is_empty() || anchors(&target).contains(anchor);
            assert!(is_there, "{}: {link}", page.display());
        }
    }
    assert!(links > 20);
}
