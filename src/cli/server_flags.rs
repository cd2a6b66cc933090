//! The flags of a server that do not depend on where its settings come from: `serve` and `ratelimit` have them.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::values::{Switch, duration, interval};
use crate::admin::{Controls, HostName, Token};
use crate::file;
use crate::server::{Options, open_files};
use crate::snapshot::SnapshotFile;

/// What the HTTP side permits, and to whom.
#[derive(Debug, Args)]
pub(super) struct AdminFlags {
    /// Token that an HTTP call must send to change anything, as `Authorization: Bearer TOKEN`; at least 16
    /// characters. Without a token, only a client certificate permits such calls.
    // Checked later: clap would print the token.
    #[arg(long, env = "TOLLGATE_ADMIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
    /// File that contains the admin token.
    #[arg(
        long,
        env = "TOLLGATE_ADMIN_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "admin_token"
    )]
    admin_token_file: Option<PathBuf>,
    /// Let every caller of the HTTP side use `/json`, which charges buckets and takes leases. When off, `/json`
    /// requires the admin token or a client certificate.
    #[arg(
        long,
        env = "TOLLGATE_HTTP_JSON",
        default_value = "off",
        value_name = "on|off",
        hide_possible_values = true
    )]
    http_json: Switch,
    /// Host name that HTTP requests may use in `Host`, besides IP addresses, `localhost` and the names in the
    /// server's certificate. Repeatable, or separated by commas. `/healthz`, `/readyz` and `/metrics` accept
    /// any name.
    #[arg(long, env = "TOLLGATE_HTTP_HOST", value_name = "NAME", value_delimiter = ',')]
    http_host: Vec<HostName>,
}

impl AdminFlags {
    /// What may be changed over HTTP, and by whom; without a reloader.
    ///
    /// # Errors
    /// If the token cannot be read or is none.
    pub(super) fn controls(&self) -> Result<Controls, String> {
        Ok(Controls {
            token: self.token()?,
            reloader: None,
            decides_for_all: self.http_json == Switch::On,
            hosts: self.http_host.clone(),
        })
    }

    /// The token that calls must send to change anything; `None` if no flag sets one.
    fn token(&self) -> Result<Option<Token>, String> {
        let (text, flag) = match (&self.admin_token, &self.admin_token_file) {
            (Some(text), _) => (text.clone(), "--admin-token".to_owned()),
            (None, None) => return Ok(None),
            (None, Some(path)) => {
                let flag = format!("--admin-token-file {}", path.display());
                let text = file::read_text(path, file::MAX_SECRET)
                    .map_err(|error| format!("{flag}: {error}"))?;
                (text.trim_end().to_owned(), flag)
            }
        };
        text.parse().map(Some).map_err(|error| format!("{flag}: {error}"))
    }
}

/// How much is served at once.
#[derive(Debug, Args)]
pub(super) struct Capacity {
    /// Number of threads that serve gRPC; one per core if omitted.
    #[arg(long, env = "TOLLGATE_WORKERS", value_name = "COUNT")]
    workers: Option<NonZeroUsize>,
    /// Maximum number of open gRPC connections, lowered to what the limit on open files allows. Connections
    /// beyond it are closed at once.
    #[arg(long, env = "TOLLGATE_MAX_CONNECTIONS", default_value = "10000", value_name = "COUNT")]
    max_connections: NonZeroUsize,
    /// Maximum number of token buckets in memory, at about 40 bytes each, and of leases, at about 180 bytes
    /// each; at least 10000 leases are allowed.
    #[arg(
        long,
        env = "TOLLGATE_MAX_KEYS",
        default_value = "10000000",
        value_name = "COUNT",
        value_parser = clap::value_parser!(u64).range(64..)
    )]
    max_keys: u64,
}

impl Capacity {
    /// These options, with the number of threads and connections.
    pub(super) fn set(&self, options: Options) -> Options {
        Options {
            workers: self.workers.unwrap_or(options.workers),
            max_connections: open_files::raise_limit(self.max_connections.get()),
            ..options
        }
    }

    /// The most token buckets in memory.
    pub(super) fn max_keys(&self) -> usize {
        usize::try_from(self.max_keys).unwrap_or(usize::MAX)
    }
}

/// How long the end takes.
#[derive(Debug, Args)]
pub(super) struct Drain {
    /// After SIGTERM, keep accepting calls and connections for this long while `/readyz` and gRPC health report
    /// not ready. Must exceed the interval of your load balancer's health check. SIGINT skips the delay.
    #[arg(long, env = "TOLLGATE_DRAIN_DELAY", default_value = "5s", value_name = "DURATION",
          value_parser = duration)]
    drain_delay: Duration,
    /// How long calls in flight may take to finish after the drain delay.
    #[arg(long, env = "TOLLGATE_DRAIN_TIMEOUT", default_value = "10s", value_name = "DURATION",
          value_parser = duration)]
    drain_timeout: Duration,
}

impl Drain {
    /// These options, with the times of the drain.
    pub(super) fn set(&self, options: Options) -> Options {
        Options { drain_delay: self.drain_delay, drain: self.drain_timeout, ..options }
    }
}

/// Where the state of the memory store is kept across restarts.
#[derive(Debug, Args)]
pub(super) struct SnapshotFlags {
    /// File that keeps buckets and leases across restarts. It is written at every snapshot interval and at
    /// exit, and restored at the start. Without it, every bucket is full after a restart.
    #[arg(long, env = "TOLLGATE_SNAPSHOT", value_name = "PATH")]
    snapshot: Option<PathBuf>,
    /// How often the snapshot is written; at least 1s. Decisions since the last snapshot are lost if the
    /// process is killed.
    #[arg(long, env = "TOLLGATE_SNAPSHOT_INTERVAL", default_value = "10s", value_name = "DURATION",
          value_parser = interval)]
    snapshot_interval: Duration,
}

impl SnapshotFlags {
    /// The file, and how often it is written. A shared store has none.
    ///
    /// # Errors
    /// If there is a shared store, or the path is none of a file.
    pub(super) fn file(&self, is_shared: bool) -> Result<Option<(SnapshotFile, Duration)>, String> {
        let Some(path) = self.snapshot.clone() else { return Ok(None) };
        if is_shared {
            return Err("--snapshot: a shared store keeps its own state; omit the flag".to_owned());
        }
        let file = SnapshotFile::new(path).map_err(|error| error.to_string())?;
        Ok(Some((file, self.snapshot_interval)))
    }
}
