//! `tollgate completions` and `tollgate man`.

use std::io::Write;
use std::process::{Command, Stdio};

use super::{Ended, run};

#[test]
fn every_shell_gets_a_script_that_knows_commands_and_flags() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let Ended { code, out, .. } = run(&["completions", shell]);
        assert_eq!(code, Some(0), "{shell}");
        for word in ["serve", "explain", "max-keys"] {
            assert!(out.contains(word), "{shell} does not know {word}");
        }
    }
    let unknown = run(&["completions", "tcsh"]);
    assert_eq!(unknown.code, Some(2));
}

/// The script is tried in the shell itself, which every machine that runs the tests has.
#[test]
fn bash_completes_by_it() {
    let script = run(&["completions", "bash"]).out;
    let mut bash = Command::new("bash");
    let mut bash = bash.arg("-s").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let ask = "COMP_WORDS=(tollgate serve --max-k); COMP_CWORD=2\n\
               _tollgate tollgate --max-k serve\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n";
    let mut input = bash.stdin.take().unwrap();
    input.write_all(format!("{script}\n{ask}").as_bytes()).unwrap();
    drop(input);
    let output = bash.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "--max-keys\n");
}

#[test]
fn man_pages_tell_every_flag_and_what_the_environment_calls_it() {
    let program = run(&["man"]).out;
    assert!(program.starts_with(".ie \\n(.g") || program.contains(".TH tollgate 1"), "{program}");
    assert!(program.contains("tollgate\\-serve(1)"), "{program}");
    let serve = run(&["man", "serve"]).out;
    assert!(serve.contains(".TH tollgate-serve 1"), "{serve}");
    let help = run(&["serve", "--help"]).out;
    let flags: Vec<_> = help.split_whitespace().filter(|word| word.starts_with("--")).collect();
    assert!(flags.len() > 10, "{help}");
    for flag in flags {
        let flag = flag.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        let written = flag.replace('-', "\\-");
        assert!(serve.contains(&written), "{flag} is not in the page");
    }
    assert!(serve.contains("TOLLGATE_MAX_KEYS"), "{serve}");
}

#[test]
fn a_page_of_no_command_names_those_there_are() {
    let Ended { code, err, .. } = run(&["man", "srve"]);
    assert_eq!(code, Some(2));
    assert!(
        err.contains("\"srve\"") && err.contains("serve, check, convert, explain, replay, query"),
        "{err}"
    );
}
