//! `tollgate query`.

mod grpc;
pub(super) mod policy;

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use self::policy::Notes;
use super::Failure;
use super::address::ServerAddress;
use super::connection::ClientTls;
use super::entry_args::EntryArg;
use super::http::HttpServer;
use crate::descriptor::{LEASE, LeaseId};
use crate::text::printable;
use crate::wire::{self, RateLimitResponse};

/// The default of `--addr`.
const GRPC: &str = "127.0.0.1:8081";

/// The HTTP side of a server with the default addresses.
const HTTP: &str = "http://127.0.0.1:8080";

#[derive(Debug, Args)]
pub(super) struct QueryCommand {
    /// Address of the server's gRPC side; `unix:PATH` is a Unix domain socket, and `https://HOST:PORT` is TLS.
    #[arg(
        long,
        env = "TOLLGATE_GRPC",
        default_value = GRPC,
        value_name = "HOST:PORT|https://HOST:PORT|unix:PATH"
    )]
    addr: String,
    /// Address of the same server's HTTP side: `http://HOST:PORT`, `https://HOST:PORT` or `unix:PATH`. From there
    /// come the domain if --domain is omitted, and what the gRPC response does not say: unknown domains, bypasses
    /// and shadow rows. If omitted, it is http://127.0.0.1:8080 if --addr is 127.0.0.1:8081, and otherwise not
    /// asked.
    #[arg(long, value_name = "URL")]
    http: Option<ServerAddress>,
    #[command(flatten)]
    tls: ClientTls,
    /// The domain of the request; may be omitted if the server's HTTP side is known and it has only one.
    #[arg(long)]
    domain: Option<String>,
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
        let address = ServerAddress::of_grpc(&self.addr)
            .map_err(|form| format!("`{}` is not an address: {form}", self.addr.escape_debug()))?;
        let http = self.http_side()?;
        let domain = match (&self.domain, &http) {
            (Some(domain), _) => domain.clone(),
            (None, Some(http)) => policy::only_domain(http)?,
            (None, None) => {
                return Err("choose the domain with --domain, or set --http to the address of \
                            `tollgate serve --http`, which knows it"
                    .into());
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let entries = self.entries.iter().map(|pair| (pair.key.clone(), pair.value.clone()));
        let request = wire::request(&domain, entries, self.hits, self.release);
        let response = runtime.block_on(grpc::call(&address, &self.tls, request))?;
        if self.json {
            writeln!(out, "{}", wire::json::encode(&response)?)?;
            return Ok(ExitCode::from(u8::from(wire::is_over_limit(&response))));
        }
        let notes = http.map(|http| policy::notes(&http, &domain, &self.entries));
        let notes = match notes {
            Some(Ok(notes)) => notes,
            // The call is answered, so that this is no failure.
            Some(Err(error)) if self.http.is_some() => {
                Notes { lines: vec![format!("not explained: {error}")], ..Notes::default() }
            }
            Some(Err(_)) | None => Notes::default(),
        };
        write(out, &response, &notes)?;
        Ok(ExitCode::from(u8::from(wire::is_over_limit(&response))))
    }

    /// The server's HTTP side, if it is known.
    fn http_side(&self) -> Result<Option<HttpServer>, Failure> {
        let default = (self.addr == GRPC).then(|| HTTP.parse()).transpose()?;
        let address = self.http.clone().or(default);
        Ok(address.map(|address| HttpServer::new(address, self.tls.clone())))
    }
}

/// Writes the response in lines: the code, what the policy says about it, then the rest.
fn write(
    out: &mut dyn Write,
    response: &RateLimitResponse,
    Notes { lines, only_shadow }: &Notes,
) -> std::io::Result<()> {
    // Without the HTTP side nothing is known of rows in shadow, so that less is said.
    let without_limit = only_shadow.as_deref().unwrap_or("no enforced limit matched");
    let (code, details) = wire::describe(response, without_limit);
    let notes = lines.iter().map(|note| format!("  {}", printable(note)));
    for line in std::iter::once(code.to_owned()).chain(notes).chain(details) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
