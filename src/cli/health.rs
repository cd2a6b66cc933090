//! `tollgate health`, a health check for containers that hold no other program.

use std::io::Write;
use std::process::ExitCode;

use axum::http::StatusCode;
use clap::Args;

use super::Failure;
use super::http::Server;

#[derive(Debug, Args)]
pub(super) struct Health {
    #[command(flatten)]
    server: Server,
}

impl Health {
    /// Ends with 0 or 1 whatever the server does: Docker gives other codes no meaning.
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let (told, is_ready) = match self.server.ask("/readyz", None, None) {
            Ok(answer) => (answer.body, answer.status == StatusCode::OK),
            Err(error) => (error.to_string(), false),
        };
        writeln!(out, "{}", told.lines().next().unwrap_or_default().escape_debug())?;
        Ok(ExitCode::from(u8::from(!is_ready)))
    }
}
