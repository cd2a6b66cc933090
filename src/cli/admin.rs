//! `tollgate admin`: inspects and changes a running server over its HTTP side.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use axum::http::StatusCode;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Failure;
use super::http::{Answer, Server};
use super::pairs::Pair;
use super::patience::complain;
use crate::file;

#[derive(Debug, Args)]
pub(super) struct Admin {
    #[command(flatten)]
    server: Server,
    /// The server's --admin-token, which commands that change something require.
    #[arg(
        long,
        env = "TOLLGATE_ADMIN_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true,
        global = true
    )]
    token: Option<String>,
    /// File that contains the token.
    #[arg(
        long,
        env = "TOLLGATE_ADMIN_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "token",
        global = true
    )]
    token_file: Option<PathBuf>,
    /// Print the server's JSON response unchanged.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the buckets that are over their limit or near it, as far as this server has seen them.
    Buckets {
        /// Only the buckets of this domain.
        #[arg(long)]
        domain: Option<String>,
    },
    /// List the buckets of a key, such as `tenant=acme`, and the state of each.
    Tenant {
        /// The domain; may be omitted if the server has only one.
        #[arg(long)]
        domain: Option<String>,
        /// List full buckets too.
        #[arg(long)]
        all: bool,
        /// Entries of the key.
        #[arg(required = true, value_name = "KEY=VALUE")]
        entries: Vec<Pair>,
    },
    /// Fill token buckets: all that a key has in a table, or one by its id.
    Reset {
        /// A bucket that was recently near its limit, by the id that `buckets` and `tenant` print when they
        /// have the token.
        #[arg(long, conflicts_with_all = ["domain", "table", "row", "key"])]
        id: Option<String>,
        /// The domain; may be omitted if the server has only one.
        #[arg(long)]
        domain: Option<String>,
        /// The table that the buckets belong to.
        #[arg(long, required_unless_present = "id")]
        table: Option<String>,
        /// Only the buckets of this row.
        #[arg(long)]
        row: Option<String>,
        /// Entries of the table's key; none if the table has one bucket for all calls.
        #[arg(value_name = "KEY=VALUE")]
        key: Vec<Pair>,
    },
    /// List the leases that this server granted and that are held, the oldest first. With the token, each is
    /// printed in full, so that it can be released.
    Leases,
    /// Return the slots of a lease.
    Release {
        /// The lease, as `leases` prints it.
        lease: String,
    },
    /// Make the server read its policy again.
    Reload,
}

impl Admin {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let Answer { status, body } = self.ask()?;
        let told: Value = serde_json::from_str(&body).map_err(|_| {
            format!(
                "{status}, and no JSON with it; is --addr where `tollgate serve --http` listens?"
            )
        })?;
        if self.json {
            writeln!(out, "{told}")?;
        } else if status == StatusCode::OK {
            out.write_all(self.what.tell(&told).as_bytes())?;
        }
        match status {
            StatusCode::OK => Ok(ExitCode::SUCCESS),
            StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY => {
                complain(refusal(&told));
                Ok(ExitCode::from(1))
            }
            _ => Err(refusal(&told).into()),
        }
    }

    fn ask(&self) -> Result<Answer, Failure> {
        let read = |path: &PathBuf| {
            let token = file::read_text(path, file::MOST_SECRET);
            token.map_err(|error| format!("--token-file {}: {error}", path.display()))
        };
        let of_file = self.token_file.as_ref().map(read).transpose()?;
        let token = self.token.as_deref().or(of_file.as_deref()).map(str::trim_end);
        let get = |path: &str| self.server.ask(path, token, None);
        let post = |path, body: Value| self.server.ask(path, token, Some(body.to_string()));
        match &self.what {
            What::Buckets { domain } => get(&path(domain.as_deref(), false, &[])),
            What::Tenant { domain, all, entries } => get(&path(domain.as_deref(), *all, entries)),
            What::Reset { id: Some(id), .. } => post("/reset", json!({ "id": id })),
            What::Reset { id: None, domain, table, row, key } => {
                let key: Vec<_> = key.iter().map(|pair| [&pair.key, &pair.value]).collect();
                post("/reset", json!({ "domain": domain, "table": table, "row": row, "key": key }))
            }
            What::Leases => get("/leases"),
            What::Release { lease } => post("/leases/release", json!({ "lease": lease })),
            What::Reload => post("/reload", json!({})),
        }
    }
}

fn path(domain: Option<&str>, all: bool, entries: &[Pair]) -> String {
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

/// What a server says that does not do it.
fn refusal(told: &Value) -> String {
    let problems = told["problems"].as_array().into_iter().flatten();
    let mut refusal = text(&told["error"]);
    problems.for_each(|problem| {
        refusal += "\n";
        refusal += &text(problem);
    });
    refusal
}

impl What {
    /// The server's answer, for a person.
    fn tell(&self, told: &Value) -> String {
        match self {
            Self::Buckets { .. } | Self::Tenant { .. } => {
                let mut lines = list(&BUCKET, &told["listed"], bucket, &told["left_off"]);
                for key in told["not_asked_about"].as_array().into_iter().flatten() {
                    // Writing to a text does not fail.
                    let _ = writeln!(lines, "note: the policy does not ask about `{}`", text(key));
                }
                lines
            }
            Self::Reset { .. } => {
                let reset = list(&BUCKET, &told["reset"], bucket, &Value::Null);
                format!("{reset}made full; {} were full already\n", told["were_full"])
            }
            Self::Leases => {
                let lease = |of: &Value| lease(of, &told["at"]);
                list(&LEASE, &told["listed"], lease, &told["left_off"])
            }
            Self::Release { .. } => format!("{} is released\n", text(&told["released"])),
            Self::Reload => format!("{}: {}\n", text(&told["result"]), text(&told["version"])),
        }
    }
}

const BUCKET: [&str; 7] = ["STANDS", "LEFT", "FULL IN", "BUCKET", "TABLE/ROW", "KEY", "ID"];

fn bucket(of: &Value) -> [String; 7] {
    let shadow = if of["is_shadow"] == true { " (shadow)" } else { "" };
    [
        text(&of["standing"]),
        format!("{} of {}", of["remaining"], of["size"]),
        span(&of["full_in_ms"]),
        text(&of["bucket"]),
        place(of) + shadow,
        key(of),
        text(&of["id"]),
    ]
}

const LEASE: [&str; 6] = ["LEASE", "HELD FOR", "LEFT", "SLOTS", "TABLE/ROW", "KEY"];

fn lease(of: &Value, at: &Value) -> [String; 6] {
    let between = |from: &Value, to: &Value| {
        let [from, to] = [from, to].map(|at| at.as_f64().unwrap_or_default());
        span(&(to - from).into())
    };
    [
        text(&of["lease"]),
        between(&of["since"], at),
        between(at, &of["expires"]),
        of["slots"].to_string(),
        place(of),
        key(of),
    ]
}

fn place(of: &Value) -> String {
    format!("{}/{}", text(&of["table"]), text(&of["row"]))
}

fn key(of: &Value) -> String {
    let pairs = of["key"].as_array().into_iter().flatten();
    let pair = |pair: &Value| {
        let words: Vec<_> = pair.as_array().into_iter().flatten().map(text).collect();
        words.join("=")
    };
    let pairs: Vec<_> = pairs.map(pair).collect();
    if pairs.is_empty() { "for all calls".to_owned() } else { pairs.join(" ") }
}

/// What came over the network, without what a terminal would take for a command.
fn text(of: &Value) -> String {
    of.as_str().unwrap_or_default().escape_debug().to_string()
}

/// In whole seconds, or in milliseconds where it is less than one.
fn span(ms: &Value) -> String {
    if ms.is_null() {
        return "never".to_owned();
    }
    let span = Duration::try_from_secs_f64(ms.as_f64().unwrap_or_default() / 1e3);
    let span = span.unwrap_or_default();
    let shown = match span.as_secs() {
        0 => Duration::from_millis(span.subsec_millis().into()),
        whole => Duration::from_secs(whole),
    };
    humantime::format_duration(shown).to_string()
}

/// Columns under their names, and how many more there are. A last column without words has no name either.
fn list<const N: usize>(
    names: &[&str; N],
    listed: &Value,
    row: impl Fn(&Value) -> [String; N],
    left_off: &Value,
) -> String {
    let rows: Vec<_> = listed.as_array().into_iter().flatten().map(row).collect();
    let left_off = left_off.as_u64().unwrap_or_default();
    match (rows.len(), left_off) {
        (0, 0) => return "none\n".to_owned(),
        (0, more) => return format!("{more}, whose names are not known\n"),
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
    match left_off {
        0 => lines,
        more => format!("{lines}and {more} more\n"),
    }
}
