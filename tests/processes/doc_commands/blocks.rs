//! The command blocks of a page: what is typed, and what the page shows for it.

use std::path::PathBuf;
use std::process::Command;

/// One command of a page.
#[derive(Debug)]
pub struct Shown {
    /// As it is typed, without the prompt.
    pub command: String,
    /// The lines that the page shows for it; none if it leaves them out.
    pub output: Vec<String>,
}

/// A fenced block of commands.
#[derive(Debug)]
pub struct Block {
    pub page: String,
    /// The heading above it.
    pub section: String,
    /// The number of its fence's line.
    pub line: usize,
    pub commands: Vec<Shown>,
}

impl Block {
    /// Where it is, for a message.
    pub fn place(&self) -> String {
        format!("{}:{} ({})", self.page, self.line, self.section)
    }
}

/// Every page that is written for people.
pub fn pages() -> Vec<PathBuf> {
    let folders = ["", "docs", "envoy", "crates/access-log", "crates/unary-h2", "deploy"];
    let files = folders.into_iter().flat_map(|folder| {
        let listed = std::fs::read_dir(PathBuf::from(".").join(folder)).unwrap();
        listed.map(|entry| entry.unwrap().path())
    });
    let mut pages: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.sort_unstable();
    pages
}

/// The command blocks of a page. Commands stand in blocks of the kind `console`, each behind a prompt, and nowhere
/// else; a page that breaks this fails.
pub fn blocks(page: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut section = String::new();
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    let mut before = "";
    while let Some((line, text)) = lines.next() {
        if let Some(kind) = text.trim_start().strip_prefix("```") {
            let inside: Vec<_> = lines
                .by_ref()
                .map(|(_, text)| text)
                .take_while(|text| !text.trim_start().starts_with("```"))
                .collect();
            let has_prompt = inside.iter().any(|text| text.trim_start().starts_with("$ "));
            assert_eq!(kind == "console", has_prompt, "{page}:{line}: commands are `console`");
            assert!(!["sh", "bash", "shell"].contains(&kind), "{page}:{line}: write `console`");
            if kind == "console" {
                let (page, section) = (page.to_owned(), section.clone());
                let commands = commands(&inside, &format!("{page}:{line}"));
                blocks.push(Block { page, section, line, commands });
            }
        } else if text.starts_with("    ") && before.is_empty() {
            panic!("{page}:{line}: an indented block, whose kind nobody knows: fence it");
        } else if text.starts_with('#') {
            text.trim_start_matches('#').trim().clone_into(&mut section);
        }
        before = text;
    }
    blocks
}

fn commands(lines: &[&str], place: &str) -> Vec<Shown> {
    assert!(lines[0].starts_with("$ "), "{place}: the first line is a command");
    let mut commands: Vec<Shown> = Vec::new();
    let mut rest = lines.iter();
    while let Some(line) = rest.next() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => {
                let mut command = command.to_owned();
                while !is_whole(&command) {
                    let more = rest.next();
                    let more = more.unwrap_or_else(|| panic!("{place}: no end of `{command}`"));
                    command.push('\n');
                    command.push_str(more);
                }
                commands.push(Shown { command, output: Vec::new() });
            }
            (None, Some(last)) => last.output.push((*line).to_owned()),
            (None, None) => {}
        }
    }
    for shown in &mut commands {
        while shown.output.last().is_some_and(String::is_empty) {
            shown.output.pop();
        }
    }
    commands
}

/// Whether bash takes it for a command that has ended.
fn is_whole(command: &str) -> bool {
    let parsed = Command::new("bash").args(["-n", "-c", command]).output().unwrap();
    parsed.status.success() && !command.ends_with('\\')
}

#[test]
fn a_block_has_commands_of_several_lines_and_their_output() {
    let page = "# Page\n## Here\n```console\n$ a \\\n    b\n$ for x in 1; do\n    c\n  done\nd\n...\n\n$ e 'f\n  g'\n```\n";
    let blocks = blocks("page.md", page);
    let [block] = &blocks[..] else { panic!("{blocks:?}") };
    assert_eq!(block.place(), "page.md:3 (Here)");
    let shown: Vec<_> =
        block.commands.iter().map(|shown| (&*shown.command, shown.output.join("|"))).collect();
    let output = |text: &str| text.to_owned();
    assert_eq!(
        shown,
        [
            ("a \\\n    b", output("")),
            ("for x in 1; do\n    c\n  done", output("d|...")),
            ("e 'f\n  g'", output("")),
        ]
    );
}

#[test]
#[should_panic(expected = "commands are `console`")]
fn a_block_of_another_kind_has_no_commands() {
    blocks("page.md", "```text\n$ a\n```\n");
}

#[test]
#[should_panic(expected = "fence it")]
fn a_block_that_is_only_indented_is_not_overlooked() {
    blocks("page.md", "So:\n\n    tollgate serve\n");
}
