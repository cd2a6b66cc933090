//! What only the policy knows about a request, and the gRPC response does not say. It comes from the HTTP side.

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::super::Failure;
use super::super::entry_args::EntryArg;
use super::super::http::HttpServer;
use crate::policy::descriptor_tree;

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

/// What the policy says about a request.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// That its domain is unknown, that it is bypassed, which rows are in shadow.
    pub(super) lines: Vec<String>,
    /// That all rows whose limits it matches are in shadow, and which they are.
    pub(super) only_shadow: Option<String>,
}

/// What the policy says about a request of one descriptor.
///
/// # Errors
/// If the HTTP side gives no answer, or another than expected.
pub(super) fn notes(
    http: &HttpServer,
    domain: &str,
    entries: &[EntryArg],
) -> Result<Notes, Failure> {
    let entries: Vec<_> = entries
        .iter()
        .map(|EntryArg { key, value }| json!({ "key": key, "value": value }))
        .collect();
    let request = json!({ "domain": domain, "descriptors": [{ "entries": entries }] });
    let answer = http.send("/explain", None, Some(request.to_string()))?;
    match answer.status {
        StatusCode::OK => {
            let Explanation { descriptors } = serde_json::from_str(&answer.body)?;
            Ok(descriptors.first().map(about).unwrap_or_default())
        }
        StatusCode::NOT_FOUND => {
            let domains = listed(&domains(http)?);
            Ok(note(format!("no policy for domain `{domain}`; the server has: {domains}")))
        }
        status => Err(format!("no explanation over HTTP: {status}").into()),
    }
}

fn note(line: String) -> Notes {
    Notes { lines: vec![line], only_shadow: None }
}

fn about(descriptor: &Descriptor) -> Notes {
    if let Some(bypass) = &descriptor.bypass {
        return note(format!("bypassed, since {bypass}"));
    }
    let matched = descriptor.tables.iter().filter_map(|Table { table, row, shadow }| {
        Some((format!("{table}/{}", row.as_ref()?), *shadow))
    });
    let (in_shadow, enforced): (Vec<_>, Vec<_>) = matched.partition(|(_, shadow)| *shadow);
    let mut in_shadow = in_shadow.into_iter().map(|(row, _)| row);
    // A tree tells the state of its limits in shadow.
    let is_tree = descriptor.tables.iter().any(|of| of.table == descriptor_tree::TABLE);
    if enforced.is_empty() && in_shadow.len() > 0 && !is_tree {
        let rows: Vec<_> = in_shadow.collect();
        let only_shadow = format!("only shadow limits matched: {}", rows.join(", "));
        return Notes { lines: Vec::new(), only_shadow: Some(only_shadow) };
    }
    let line = |row| format!("{row} is in shadow: it never denies");
    Notes { lines: in_shadow.by_ref().map(line).collect(), only_shadow: None }
}

/// Domains for a terminal.
pub(in crate::cli) fn listed(domains: &[String]) -> String {
    let domains: Vec<_> = domains.iter().map(|domain| domain.escape_debug().to_string()).collect();
    domains.join(", ")
}
