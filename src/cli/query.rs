//! `tollgate query`.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tonic::transport::Endpoint;

use super::Failure;
use super::entry_args::EntryArg;
use crate::descriptor::{LEASE, LeaseId};
use crate::wire::{self, RateLimitResponse, RateLimitServiceClient};

/// The timeout of connecting, and of the request.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct QueryCommand {
    /// Address of the server's gRPC side; `unix:PATH` is a Unix domain socket.
    #[arg(
        long,
        env = "TOLLGATE_GRPC",
        default_value = "127.0.0.1:8081",
        value_name = "ADDRESS:PORT|unix:PATH"
    )]
    addr: String,
    /// The domain of the request.
    #[arg(long, default_value = "management-api")]
    domain: String,
    /// Number of hits to charge; 0 charges nothing and only reports what is left.
    #[arg(long, default_value = "1", value_name = "COUNT")]
    hits: u64,
    /// Return the hits instead of charging them. With an entry `lease=ID`, release that lease.
    #[arg(long)]
    release: bool,
    /// Print the response as JSON.
    #[arg(long)]
    json: bool,
    /// Entries of the descriptor, in order.
    #[arg(required = true, value_name = "KEY=VALUE")]
    entries: Vec<EntryArg>,
}

impl QueryCommand {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        if self.release
            && let Some(lease) = self.entries.iter().find(|pair| pair.key == LEASE)
        {
            // The server treats an invalid lease like an unknown one, and reports success.
            LeaseId::parse(lease.value.as_bytes())
                .ok_or("a lease is the 32 hexadecimal digits that the acquiring call returned")?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let response = runtime.block_on(self.ask())?;
        if self.json {
            writeln!(out, "{}", wire::json::encode(&response)?)?;
        } else {
            write(out, &response)?;
        }
        Ok(ExitCode::from(u8::from(wire::is_over_limit(&response))))
    }

    async fn ask(&self) -> Result<RateLimitResponse, Failure> {
        let addr = self.addr.escape_debug();
        let is_socket = self.addr.starts_with("unix:");
        let url = if is_socket { self.addr.clone() } else { format!("http://{}", self.addr) };
        let endpoint = Endpoint::from_shared(url).map_err(|error| {
            format!("`{addr}` is not an address: {error}; write --addr ADDRESS:PORT")
        })?;
        let endpoint = endpoint.connect_timeout(TIMEOUT).timeout(TIMEOUT);
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| format!("no server at {addr}: {}", causes(&error)))?;
        let entries = self.entries.iter().map(|pair| (pair.key.clone(), pair.value.clone()));
        let request = wire::request(&self.domain, entries, self.hits, self.release);
        let response = RateLimitServiceClient::new(channel).should_rate_limit(request).await;
        // Escaped, since it comes from the network.
        let response = response
            .map_err(|status| format!("{}: {}", status.code(), status.message().escape_debug()))?;
        Ok(response.into_inner())
    }
}

/// The causes of an error, down to that of the system.
fn causes(error: &dyn Error) -> String {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes.join(": ")
}

fn write(out: &mut dyn Write, response: &RateLimitResponse) -> std::io::Result<()> {
    for line in wire::describe(response) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
