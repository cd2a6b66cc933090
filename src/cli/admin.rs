//! `tollgate admin`: a client of the admin API.

mod explain;
mod reset;
mod top;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use axum::http::StatusCode;
use clap::{Args, Subcommand};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::explain::Explain;
use self::top::TopArgs;
use super::Failure;
use super::entry_args::EntryArg;
use super::http::{HttpResponse, HttpServer};
use super::output::report_error;
use crate::admin::api::types::{
    Bucket, BucketName, BucketState, Buckets, KeyEntry, Lease, Leases, List, ReleaseRequest,
    Released, Reload, ReloadResult, ResetRequest, Time,
};
use crate::file;

#[derive(Debug, Args)]
pub(super) struct Admin {
    #[command(flatten)]
    server: HttpServer,
    /// The server's --admin-token; needed by commands that change something.
    #[arg(
        long,
        env = "TOLLGATE_ADMIN_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true,
        global = true
    )]
    token: Option<String>,
    /// A file that holds the token.
    #[arg(
        long,
        env = "TOLLGATE_ADMIN_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "token",
        global = true
    )]
    token_file: Option<PathBuf>,
    /// Print the server's answer as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the buckets near or over their limit that the server has seen.
    Buckets {
        /// Only buckets of this domain.
        #[arg(long)]
        domain: Option<String>,
    },
    /// Look up the buckets of entries, such as `tenant=acme`, and show their state.
    Lookup {
        /// The domain; may be omitted if the policy has only one.
        #[arg(long)]
        domain: Option<String>,
        /// Include buckets that are full.
        #[arg(long)]
        all: bool,
        /// Entries of the key.
        #[arg(required = true, value_name = "KEY=VALUE")]
        entries: Vec<EntryArg>,
    },
    /// Explain which buckets a call matches, with the state of each; with --table, a call that a bucket limits.
    Explain(Explain),
    /// Fill token buckets: those of a customer in every table, those of a key in one table, or one by its ID.
    Reset {
        /// The ID of a bucket, as `buckets` and `lookup` list it; they show IDs only with the token.
        #[arg(long, conflicts_with_all = ["domain", "table", "row", "key"])]
        id: Option<String>,
        /// The domain; may be omitted if the policy has only one.
        #[arg(long)]
        domain: Option<String>,
        /// Only this table; if omitted, every table whose key has one of the entries.
        #[arg(long)]
        table: Option<String>,
        /// Only buckets of this row of the table.
        #[arg(long, requires = "table")]
        row: Option<String>,
        /// Entries that name the buckets, such as `tenant=acme`; none for a table of which all calls share a bucket.
        #[arg(value_name = "KEY=VALUE", required_unless_present_any = ["id", "table"])]
        key: Vec<EntryArg>,
    },
    /// List the buckets that denied most calls in the last minutes: who is being denied. Buckets of rows in shadow, which
    /// would have denied, are listed apart.
    Top(TopArgs),
    /// List the leases that this server granted and that are held, the oldest first. Shows whole lease IDs, which
    /// `release` takes, only with the token.
    Leases,
    /// Release a lease: its slots become free.
    Release {
        /// The lease ID, as `leases` lists it.
        lease: String,
    },
    /// Make the server read its policy files again.
    Reload,
}

/// The body of an error response. A rejected policy has a list of problems.
#[derive(Debug, Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    problems: Vec<String>,
}

impl Refusal {
    fn text(&self) -> String {
        let lines = std::iter::once(&self.error).chain(&self.problems);
        lines.map(|line| escaped(line)).collect::<Vec<_>>().join("\n")
    }
}

impl Admin {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let answer = self.ask()?;
        if self.json {
            writeln!(out, "{}", read::<Value>(&answer)?)?;
        } else if answer.status == StatusCode::OK {
            out.write_all(self.command.render(&answer)?.as_bytes())?;
        }
        match answer.status {
            StatusCode::OK => Ok(ExitCode::SUCCESS),
            StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY => {
                report_error(read::<Refusal>(&answer)?.text());
                Ok(ExitCode::from(1))
            }
            _ => Err(read::<Refusal>(&answer)?.text().into()),
        }
    }

    fn ask(&self) -> Result<HttpResponse, Failure> {
        let read = |path: &PathBuf| {
            let token = file::read_text(path, file::MAX_SECRET);
            token.map_err(|error| format!("--token-file {}: {error}", path.display()))
        };
        let from_file = self.token_file.as_ref().map(read).transpose()?;
        let token = self.token.as_deref().or(from_file.as_deref()).map(str::trim_end);
        let get = |path: &str| self.server.ask(path, token, None);
        match &self.command {
            Command::Buckets { domain } => get(&path(domain.as_deref(), false, &[])),
            Command::Lookup { domain, all, entries } => {
                get(&path(domain.as_deref(), *all, entries))
            }
            Command::Top(top) => get(&top.path()),
            Command::Explain(explain) => explain.ask(&self.server, token),
            Command::Reset { id, domain, table, row, key } => {
                let entry = |EntryArg { key, value }: &EntryArg| [key.clone(), value.clone()];
                let key: Vec<KeyEntry> = key.iter().map(entry).collect();
                let request = ResetRequest {
                    id: id.clone(),
                    domain: domain.clone(),
                    table: table.clone(),
                    row: row.clone(),
                    key: Some(key).filter(|key| !key.is_empty()),
                    ..ResetRequest::default()
                };
                self.post("/reset", token, &request)
            }
            Command::Leases => get("/leases"),
            Command::Release { lease } => {
                let request = ReleaseRequest { lease: lease.clone() };
                self.post("/leases/release", token, &request)
            }
            Command::Reload => self.server.ask("/reload", token, Some(String::new())),
        }
    }

    fn post(
        &self,
        path: &str,
        token: Option<&str>,
        request: &impl Serialize,
    ) -> Result<HttpResponse, Failure> {
        self.server.ask(path, token, Some(serde_json::to_string(request)?))
    }
}

/// Parses the body of an answer.
fn read<T: DeserializeOwned>(HttpResponse { status, body }: &HttpResponse) -> Result<T, Failure> {
    serde_json::from_str(body).map_err(|error| {
        format!(
            "the server answered {status} without the expected JSON: {error}; set --addr to the address of \
             `tollgate serve --http`, of the same version"
        )
        .into()
    })
}

fn path(domain: Option<&str>, all: bool, entries: &[EntryArg]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::from("/buckets?"));
    if let Some(domain) = domain {
        query.append_pair("domain", domain);
    }
    if all {
        query.append_pair("all", "1");
    }
    query.extend_pairs(entries.iter().map(|pair| (&pair.key, &pair.value)));
    query.finish()
}

impl Command {
    /// The server's answer as text.
    fn render(&self, answer: &HttpResponse) -> Result<String, Failure> {
        Ok(match self {
            Self::Buckets { .. } | Self::Lookup { .. } => {
                let Buckets { list, unknown_keys } = read(answer)?;
                let mut lines = table(&BUCKET_COLUMNS, &list, bucket);
                for key in &unknown_keys {
                    lines += &format!("note: the policy does not ask about `{}`\n", escaped(key));
                }
                lines
            }
            Self::Top(_) => top::render(&read(answer)?),
            Self::Explain(explain) => explain.render(answer)?,
            Self::Reset { .. } => reset::render(&read(answer)?),
            Self::Leases => {
                let Leases { at, list } = read(answer)?;
                table(&LEASE_COLUMNS, &list, |of| lease(of, at))
            }
            Self::Release { .. } => {
                let Released { released } = read(answer)?;
                format!("{} is released\n", escaped(&released))
            }
            Self::Reload => {
                let Reload { result, version, warnings } = read(answer)?;
                let result = match result {
                    ReloadResult::Changed => "changed",
                    ReloadResult::Unchanged => "unchanged",
                };
                let lines = std::iter::once(format!("{result}: {version}")).chain(warnings);
                lines.map(|line| escaped(&line) + "\n").collect()
            }
        })
    }
}

const BUCKET_COLUMNS: [&str; 7] = ["STATE", "LEFT", "FULL IN", "BUCKET", "TABLE/ROW", "KEY", "ID"];

fn bucket(of: &Bucket) -> [String; 7] {
    let state = match of.state {
        BucketState::Over => "over",
        BucketState::Near => "near",
        BucketState::Clear => "clear",
    };
    let shadow = if of.name.shadow { " (shadow)" } else { "" };
    [
        state.to_owned(),
        format!("{} of {}{}", of.remaining, of.limit.size, prepaid_part(of.prepaid)),
        of.full_in_ms.map_or_else(|| "never".to_owned(), |span| duration(span.into())),
        escaped(&of.limit.bucket),
        place(&of.name) + shadow,
        key(&of.name),
        escaped(of.id.as_deref().unwrap_or_default()),
    ]
}

/// How many of the tokens that are left are prepaid.
fn prepaid_part(tokens: Option<u32>) -> String {
    tokens.map(|tokens| format!(" ({tokens} prepaid here)")).unwrap_or_default()
}

const LEASE_COLUMNS: [&str; 6] = ["LEASE", "HELD FOR", "LEFT", "SLOTS", "TABLE/ROW", "KEY"];

fn lease(of: &Lease, at: Time) -> [String; 6] {
    let between = |from: Time, to: Time| duration(to.0.since(from.0).into());
    [
        escaped(&of.lease),
        between(of.taken_at, at),
        between(at, of.expires_at),
        of.slots.to_string(),
        place(&of.bucket),
        key(&of.bucket),
    ]
}

fn place(of: &BucketName) -> String {
    format!("{}/{}", escaped(&of.table), escaped(&of.row))
}

fn key(of: &BucketName) -> String {
    let pair = |[key, value]: &KeyEntry| format!("{}={}", escaped(key), escaped(value));
    let pairs: Vec<_> = of.key.iter().map(pair).collect();
    if pairs.is_empty() { "for all calls".to_owned() } else { pairs.join(" ") }
}

/// Text from the network, with control characters escaped for the terminal.
fn escaped(text: &str) -> String {
    text.escape_debug().to_string()
}

/// A duration in whole seconds, or in milliseconds below one second.
fn duration(span: Duration) -> String {
    let shown = match span.as_secs() {
        0 => Duration::from_millis(span.subsec_millis().into()),
        whole => Duration::from_secs(whole),
    };
    humantime::format_duration(shown).to_string()
}

/// A table with a header, and the number of omitted rows. The header omits the last column if it is empty.
fn table<T, const N: usize>(
    names: &[&str; N],
    list: &List<T>,
    row: impl Fn(&T) -> [String; N],
) -> String {
    let rows: Vec<_> = list.items.iter().map(row).collect();
    match (rows.len(), list.omitted) {
        (0, 0) => return "none\n".to_owned(),
        (0, more) => return format!("{more} without known names\n"),
        _ => {}
    }
    let mut names = names.map(str::to_owned);
    if let Some(last) = names.last_mut()
        && rows.iter().all(|row| row.last().is_none_or(String::is_empty))
    {
        last.clear();
    }
    let all = || std::iter::once(&names).chain(&rows);
    let mut widths = [0; N];
    for row in all() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut lines = String::new();
    for row in all() {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        lines += cells.collect::<Vec<_>>().join("  ").trim_end();
        lines += "\n";
    }
    match list.omitted {
        0 => lines,
        more => format!("{lines}and {more} more\n"),
    }
}
