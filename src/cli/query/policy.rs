//! What only the policy knows about a request, and the gRPC response does not say. It comes from the HTTP side.

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::super::Failure;
use super::super::entry_args::EntryArg;
use super::super::http::HttpServer;

/// The part of the answer of `/config` that is read.
#[derive(Deserialize)]
struct Config {
    policies: Vec<Policy>,
}

#[derive(Deserialize)]
struct Policy {
    domain: String,
}

/// The part of the answer of `/explain` that is read.
#[derive(Deserialize)]
struct Explanation {
    descriptors: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    bypass: Option<String>,
    tables: Vec<Table>,
}

/// A table; one without a matched row has only a name.
#[derive(Deserialize)]
struct Table {
    table: String,
    row: Option<String>,
    #[serde(default)]
    shadow: bool,
}

/// The server's domain, if it has only one.
pub(super) fn only_domain(http: &HttpServer) -> Result<String, Failure> {
    let domains = domains(http).map_err(|error| {
        format!(
            "{error}; choose the domain with --domain, or set --http to the address of \
             `tollgate serve --http`"
        )
    })?;
    match <[String; 1]>::try_from(domains) {
        Ok([domain]) => Ok(domain),
        Err(domains) => Err(format!("choose with --domain from: {}", listed(&domains)).into()),
    }
}

/// The server's domains.
pub(in crate::cli) fn domains(http: &HttpServer) -> Result<Vec<String>, Failure> {
    let answer = http.send("/config", None, None)?;
    if answer.status != StatusCode::OK {
        return Err(format!("no policies over HTTP: {}", answer.status).into());
    }
    let Config { policies } = serde_json::from_str(&answer.body)?;
    Ok(policies.into_iter().map(|policy| policy.domain).collect())
}

/// Lines about a request: that its domain is unknown, that it is bypassed, which rows are in shadow.
///
/// # Errors
/// If the HTTP side gives no answer, or another than expected.
pub(super) fn notes(
    http: &HttpServer,
    domain: &str,
    entries: &[EntryArg],
) -> Result<Vec<String>, Failure> {
    let entries: Vec<_> = entries
        .iter()
        .map(|EntryArg { key, value }| json!({ "key": key, "value": value }))
        .collect();
    let request = json!({ "domain": domain, "descriptors": [{ "entries": entries }] });
    let answer = http.send("/explain", None, Some(request.to_string()))?;
    match answer.status {
        StatusCode::OK => {
            let Explanation { descriptors } = serde_json::from_str(&answer.body)?;
            Ok(descriptors.iter().flat_map(about).collect())
        }
        StatusCode::NOT_FOUND => {
            let domains = listed(&domains(http)?);
            Ok(vec![format!("no policy for domain `{domain}`; the server has: {domains}")])
        }
        status => Err(format!("no explanation over HTTP: {status}").into()),
    }
}

fn about(descriptor: &Descriptor) -> Vec<String> {
    if let Some(bypass) = &descriptor.bypass {
        return vec![format!("bypassed, since {bypass}")];
    }
    let in_shadow = descriptor.tables.iter().filter(|table| table.shadow);
    in_shadow
        .filter_map(|Table { table, row, .. }| Some((table, row.as_ref()?)))
        .map(|(table, row)| format!("{table}/{row} is in shadow: it never denies"))
        .collect()
}

/// Domains for a terminal.
pub(in crate::cli) fn listed(domains: &[String]) -> String {
    let domains: Vec<_> = domains.iter().map(|domain| domain.escape_debug().to_string()).collect();
    domains.join(", ")
}
