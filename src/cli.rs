//! The commands and their exit codes.
//!
//! - 0: success.
//! - 1: `check` found errors, or warnings with `--strict`, `convert --strict` left something out, `query` was over the
//!   limit, `replay` denied more than `--fail-above` allows or found a mapped field in no line, `health` found no ready
//!   server, or `admin` found no such bucket or lease, or an invalid policy.
//! - 2: the command could not run: the command line is wrong, `serve` was started with an invalid policy, or the server
//!   cannot be reached.
//!
//! Errors go to standard error. A reader that stalls does not delay the exit. A reader of standard output that is gone
//! is no error.

mod address;
mod admin;
mod check;
mod connection;
mod convert;
mod counting;
mod entry_args;
mod explain;
mod health;
mod http;
mod logging;
mod output;
mod pages;
mod query;
mod ratelimit;
mod replay;
mod reread;
mod serve;
mod server_flags;
mod tls;
mod values;
mod xds;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::output::{WhileRead, report_error, write_or_give_up};
use crate::config::ratelimit::Settings;
use crate::config::{self, Compiled, Problems, Source};
use crate::policy::fingerprint::FingerprintKey;
use crate::policy::{Policies, Policy};
use crate::reading::{self, caught};

/// A rate-limit service for Envoy: exact decisions in one process, by a policy written in YAML.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// The command to run; `serve` if omitted.
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve Envoy's rate-limit API over gRPC.
    Serve(Box<serve::Serve>),
    /// Check policy files: report every problem, and warn of what limits less than it seems.
    Check(check::Check),
    /// Convert configurations of envoyproxy/ratelimit to policies with the same limits in tables of token buckets.
    Convert(convert::Convert),
    /// Show which buckets a descriptor matches, and why, without a server.
    Explain(explain::Explain),
    /// Replay access logs: what would a policy have done to this traffic?
    Replay(Box<replay::Replay>),
    /// Send one rate-limit request to a running server.
    Query(query::QueryCommand),
    /// Check whether a running server is ready, or healthy if it stands in place of envoyproxy/ratelimit.
    Health(health::Health),
    /// Inspect and change a running server's state: buckets, leases, the policy.
    Admin(admin::Admin),
    /// Serve in place of envoyproxy/ratelimit: with its environment variables, ports, files and control plane.
    #[command(name = "ratelimit")]
    RateLimit(Box<ratelimit::RateLimit>),
    /// Check a folder of ratelimit configurations, as envoyproxy/ratelimit's own program for that does.
    #[command(name = "ratelimit-check")]
    RateLimitCheck(ratelimit::RateLimitCheck),
    /// Print a completion script for a shell.
    Completions(pages::Completions),
    /// Print a man page for the program or for one command.
    Man(pages::ManPage),
}

/// The policy that a command reads.
#[derive(Debug, Args)]
struct PolicyPath {
    /// The policy: a file, or a folder of files with one domain each.
    #[arg(
        long,
        env = "TOLLGATE_CONFIG",
        default_value = "config/management-api.yaml",
        value_name = "PATH"
    )]
    config: PathBuf,
}

/// Why a command failed.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Reads the files of a policy. A path that hangs is given up after a deadline.
fn read(path: &Path) -> Result<Result<Vec<Source>, Problems>, Failure> {
    let owned = path.to_owned();
    let sources = reading::read_now(move || config::read(&owned));
    sources.map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Compiles a policy that nothing is decided by: its fingerprints have a fixed key.
fn compile(
    path: &Path,
    sources: &[Source],
    settings: &Settings,
) -> Result<Result<Compiled, Problems>, Failure> {
    let key = FingerprintKey::fixed(0);
    let compiled = caught(|| config::compile_with_settings(sources, key, settings));
    compiled.map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Reads and compiles a policy without serving it.
fn load(path: &Path, settings: &Settings) -> Result<Result<Compiled, Problems>, Failure> {
    match read(path)? {
        Ok(sources) => compile(path, &sources, settings),
        Err(problems) => Ok(Err(problems)),
    }
}

/// The texts of a policy, which compile.
fn checked_sources(path: &Path) -> Result<Vec<Source>, Failure> {
    let sources = read(path)??;
    compile(path, &sources, &Settings::default())?.map(drop)?;
    Ok(sources)
}

/// The policy of the domain; without one, the only policy.
fn choose_policy<'a>(policies: &'a Policies, domain: Option<&str>) -> Result<&'a Policy, String> {
    let mut all = policies.iter();
    let (chosen, problem) = match (domain, all.next(), all.next()) {
        (Some(domain), ..) => {
            (policies.get(domain), format!("there is no domain `{}`", domain.escape_debug()))
        }
        (None, Some(only), None) => (Some(only), String::new()),
        (None, ..) => (None, "there are several domains".to_owned()),
    };
    chosen.ok_or_else(|| {
        let known: Vec<_> =
            policies.iter().map(|policy| policy.domain().escape_debug().to_string()).collect();
        format!("{problem}; choose with --domain from: {}", known.join(", "))
    })
}

/// The exit code of a command that could not run.
const FAILED: u8 = 2;

impl Cli {
    /// Parses the command line.
    ///
    /// # Errors
    /// The exit code if there is nothing to run. The error, or the help that was asked for, is printed by then.
    pub fn read() -> Result<Self, ExitCode> {
        let mut words: Vec<OsString> = std::env::args_os().collect();
        let name = words.first().and_then(|word| Path::new(word).file_name()?.to_str());
        if let Some(command) = name.and_then(command_of) {
            words.insert(1, command.into());
        }
        Self::try_parse_from(words).map_err(print_clap)
    }

    /// Runs the command. Output goes to `out`, errors go to standard error.
    pub fn run(self, out: &mut dyn Write) -> ExitCode {
        let serve = || Ok(Command::Serve(Box::new(serve::Serve::from_environment()?)));
        let command = match self.command.map_or_else(serve, Ok) {
            Ok(command) => command,
            Err(error) => return print_clap(error),
        };
        let out = &mut WhileRead::new(out);
        let result = match command {
            Command::Serve(serve) => serve.run(),
            Command::Check(check) => check.run(out),
            Command::Convert(convert) => convert.run(out),
            Command::Explain(explain) => explain.run(out),
            Command::Replay(replay) => replay.run(out),
            Command::Query(query) => query.run(out),
            Command::Health(health) => health.run(out),
            Command::Admin(admin) => admin.run(out),
            Command::RateLimit(ratelimit) => ratelimit.run(),
            Command::RateLimitCheck(check) => check.run(out),
            Command::Completions(completions) => completions.run(out),
            Command::Man(man) => man.run(out),
        };
        result.unwrap_or_else(|failure| {
            report_error(failure.to_string());
            ExitCode::from(FAILED)
        })
    }
}

/// The command that the program is under this name: those of envoyproxy/ratelimit's programs.
fn command_of(name: &str) -> Option<&'static str> {
    match name {
        "ratelimit" => Some("ratelimit"),
        "ratelimit_config_check" => Some("ratelimit-check"),
        _ => None,
    }
}

/// Prints clap's error or help, and returns the exit code. Help is not bounded in time: its reader may be a pager.
fn print_clap(answer: clap::Error) -> ExitCode {
    let code = u8::try_from(answer.exit_code()).unwrap_or(FAILED);
    if answer.use_stderr() {
        write_or_give_up(move || drop(answer.print()));
    } else {
        drop(answer.print());
    }
    ExitCode::from(code)
}
