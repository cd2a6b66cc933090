//! A terminal in a checkout: a bash that is given one command after another.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::{Pid, Signal, kill_process_group};

use super::checkout::Checkout;
use crate::envoy::process::{PATIENCE, command, eventually};

/// Begins the line that says how a command ended.
const END: char = '\u{1}';

/// A bash, and every process that it has started; they end with it.
#[derive(Debug)]
pub struct Session<'a> {
    checkout: &'a Checkout,
    bash: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl<'a> Session<'a> {
    pub fn start(checkout: &'a Checkout) -> Self {
        let mut bash = command("bash");
        bash.args(["--noprofile", "--norc"]).current_dir(checkout.root()).envs(checkout.env());
        // A group of its own, so that whatever a page has started can be ended by the group's id.
        bash.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        bash.stderr(std::fs::File::create(checkout.complaints()).unwrap());
        let mut bash = bash.spawn().unwrap();
        let (input, output) = (bash.stdin.take().unwrap(), bash.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(output).split(b'\n').map_while(Result::ok);
            lines.try_for_each(|line| sender.send(String::from_utf8_lossy(&line).into_owned()))
        });
        Self { checkout, bash, input, lines }
    }

    /// Runs a command to its end: its exit code, and the lines that it printed to standard output.
    pub fn run(&mut self, command: &str) -> (i32, Vec<String>) {
        // In this shell, so that variables and the folder stay.
        let quoted = command.replace('\'', r"'\''");
        writeln!(self.input, "eval '{quoted}' </dev/null; printf '\\n\\1%s\\n' \"$?\"").unwrap();
        let mut output = Vec::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| {
                panic!("`{command}` does not end: {error}: {output:?}\n{}", self.complaints())
            });
            if let Some(code) = line.strip_prefix(END) {
                while output.last().is_some_and(String::is_empty) {
                    output.pop();
                }
                return (code.parse().unwrap(), output);
            }
            output.push(line.trim_end_matches('\r').to_owned());
        }
    }

    /// Runs a command that does not end, in the background, and waits until it listens at these ports.
    ///
    /// # Errors
    /// If it ends before that.
    pub fn serve(&mut self, command: &str, ports: &[u16]) -> Result<(), String> {
        let log = self.checkout.log();
        // On a line of its own, since the command may end with a comment.
        self.run(&format!("{{ {command}\n}} >>'{}' 2>&1 &", log.display()));
        let listens = |port: &u16| TcpStream::connect(("127.0.0.1", *port)).is_ok();
        let is_up = eventually(&format!("a listener of `{command}`"), || {
            let has_ended = self.run("kill -0 $!").0 != 0;
            (has_ended || ports.iter().all(listens)).then_some(!has_ended)
        });
        is_up.then_some(()).ok_or_else(|| format!("`{command}` ended:\n{}", self.complaints()))
    }

    /// What its commands and servers have said.
    pub fn complaints(&self) -> String {
        format!("{}{}", read(&self.checkout.complaints()), read(&self.checkout.log()))
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // Not waited for yet, so that its id is still its own.
        let group = Pid::from_raw(i32::try_from(self.bash.id()).unwrap_or_default());
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.bash.wait();
    }
}
