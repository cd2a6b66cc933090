//! A client of a running server, with the message types that tollgate itself is built with.
//!
//! ```console
//! $ cargo run &
//! $ cargo run --example client -- 127.0.0.1:8081 acme
//! ```

use std::error::Error;
use std::io::Write;

use tollgate::wire::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tollgate::wire::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use tollgate::wire::{self, RateLimitRequest, RateLimitServiceClient};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8081".to_owned());
    let tenant = arguments.next().unwrap_or_else(|| "acme".to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&address, &tenant, &mut std::io::stdout().lock()))
}

pub(crate) async fn run(
    address: &str,
    tenant: &str,
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let mut client = RateLimitServiceClient::connect(format!("http://{address}")).await?;
    let entries = [("tenant_type", "free"), ("tenant", tenant)];
    let entry = |(key, value): (&str, &str)| Entry { key: key.into(), value: value.into() };
    let descriptor = RateLimitDescriptor {
        entries: entries.map(entry).to_vec(),
        // One hit: it charges. 0 would only look.
        hits_addend: Some(1),
        ..RateLimitDescriptor::default()
    };
    let request = RateLimitRequest {
        domain: "management-api".into(),
        descriptors: vec![descriptor],
        ..RateLimitRequest::default()
    };
    let response = client.should_rate_limit(request).await?.into_inner();
    writeln!(out, "{}", if wire::is_over_limit(&response) { "over the limit" } else { "passes" })?;
    for status in &response.statuses {
        if let Some(limit) = &status.current_limit {
            writeln!(out, "{}: {} left", limit.name, status.limit_remaining)?;
        }
    }
    for header in &response.response_headers_to_add {
        writeln!(out, "{}: {}", header.key, header.value)?;
    }
    Ok(())
}
