//! The commands: what can be asked of the program, and with which exit code it ends.
//!
//! 0: done. 1: `check` found errors, `query` was over the limit, `health` found no server that takes calls, or
//! `admin` that there is no such bucket or lease, or that the policy is wrong. 2: it could not be done, be it for a wrong command line, a bad policy at the start of `serve`, or a server
//! that cannot be reached.
//!
//! What goes wrong is told on standard error. Who does not read it is not waited for.

mod admin;
mod again;
mod check;
mod explain;
mod health;
mod http;
mod logging;
mod pages;
mod pairs;
mod patience;
mod query;
mod serve;
mod tls;
mod values;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::patience::{complain, patiently};
use crate::config::{self, Problems};
use crate::policy::Policies;
use crate::policy::fingerprint::FingerprintKey;
use crate::reading::{self, caught};

/// Rate limits for Envoy: exact, in one process, from a policy in YAML.
#[derive(Debug, Parser)]
#[command(version, about, long_about = None)]
pub struct Cli {
    /// What to do; `serve` if nothing is said.
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer Envoy's questions over gRPC.
    Serve(Box<serve::Serve>),
    /// Tell everything that is wrong with a policy file, or a folder of them.
    Check(check::Check),
    /// Tell what a descriptor meets, and why, without a server.
    Explain(explain::Explain),
    /// Ask a running server one question.
    Query(query::Query),
    /// Ask a running server whether it takes calls.
    Health(health::Health),
    /// See and change what a running server holds: buckets, leases, the policy.
    Admin(admin::Admin),
    /// Print a completion script for a shell.
    Completions(pages::Completions),
    /// Print a man page, of the program or of one command.
    Man(pages::ManPage),
}

/// Which policy a command is about.
#[derive(Debug, Args)]
struct PolicyPath {
    /// The policy: a file, or a folder of files, one domain each.
    #[arg(
        long,
        env = "TOLLGATE_CONFIG",
        default_value = "config/management-api.yaml",
        value_name = "PATH"
    )]
    config: PathBuf,
}

/// Why a command failed, in words for a person.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Reads and compiles a policy without serving it. A path that hangs is given up, and a fault of our own is told.
fn load(path: &Path) -> Result<Result<Policies, Problems>, Failure> {
    let named = |error| format!("{}: {error}", path.display());
    let owned = path.to_owned();
    let sources = reading::at_once(move || config::read(&owned)).map_err(named)?;
    let compile = |sources: Vec<_>| config::compile(&sources, FingerprintKey::fixed(0));
    Ok(caught(|| sources.and_then(compile)).map_err(|error| named(error.into()))?)
}

/// Could not be done.
const FAILED: u8 = 2;

impl Cli {
    /// The command line.
    ///
    /// # Errors
    /// The code to exit with where there is nothing to run. Why is told by then, be it help that was asked for.
    pub fn read() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(told)
    }

    /// Runs the command. What it has to say goes to `out`, what went wrong to standard error.
    pub fn run(self, out: &mut dyn Write) -> ExitCode {
        let serve = || Ok(Command::Serve(Box::new(serve::Serve::from_environment()?)));
        let command = match self.command.map_or_else(serve, Ok) {
            Ok(command) => command,
            Err(wrong) => return told(wrong),
        };
        let result = match command {
            Command::Serve(serve) => serve.run(),
            Command::Check(check) => check.run(out),
            Command::Explain(explain) => explain.run(out),
            Command::Query(query) => query.run(out),
            Command::Health(health) => health.run(out),
            Command::Admin(admin) => admin.run(out),
            Command::Completions(completions) => completions.run(out),
            Command::Man(man) => man.run(out),
        };
        result.unwrap_or_else(|failure| {
            complain(failure.to_string());
            ExitCode::from(FAILED)
        })
    }
}

/// Tells what the command line is answered with. Help may be read page by page, for as long as that takes.
fn told(answer: clap::Error) -> ExitCode {
    let code = u8::try_from(answer.exit_code()).unwrap_or(FAILED);
    if answer.use_stderr() {
        patiently(move || drop(answer.print()));
    } else {
        drop(answer.print());
    }
    ExitCode::from(code)
}
