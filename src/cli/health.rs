//! `tollgate health`: a health check for containers without other programs.

use std::io::Write;
use std::process::ExitCode;

use axum::http::StatusCode;
use clap::Args;

use super::Failure;
use super::http::{HttpResponse, HttpServer};
use crate::text::printable;

#[derive(Debug, Args)]
pub(super) struct Health {
    #[command(flatten)]
    server: HttpServer,
}

impl Health {
    /// What the server says of its health. One in place of envoyproxy/ratelimit has another path for it.
    fn ask(&self) -> Result<HttpResponse, Failure> {
        let answer = self.server.ask("/readyz", None, None)?;
        if answer.status == StatusCode::NOT_FOUND {
            return self.server.ask("/healthcheck", None, None);
        }
        Ok(answer)
    }

    /// Returns 0 or 1 in every case: Docker reserves other codes.
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let (text, is_ready) = match self.ask() {
            Ok(answer) if answer.body.is_empty() => (format!("status {}", answer.status), false),
            Ok(answer) => (answer.body, answer.status == StatusCode::OK),
            Err(error) => (error.to_string(), false),
        };
        writeln!(out, "{}", printable(text.lines().next().unwrap_or_default()))?;
        Ok(ExitCode::from(u8::from(!is_ready)))
    }
}
