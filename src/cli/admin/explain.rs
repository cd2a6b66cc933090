//! `tollgate admin explain`: what a call matches at a running server, with the state of every bucket.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::{duration, escaped, prepaid_part, read};
use crate::admin::api::types::{
    BucketExplanation, BucketRequest, Charge, Charging, ExplainedBucket, ExplainedDescriptor,
    ExplainedTable, Explanation, MatchedRow, MissedTable,
};
use crate::cli::Failure;
use crate::cli::entry_args::EntryArg;
use crate::cli::http::{HttpResponse, HttpServer};
use crate::cli::query::policy::{domains, listed};
use crate::text::printable;

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The domain; may be omitted if the server has only one.
    #[arg(long)]
    domain: Option<String>,
    /// Explain a bucket of this table, as `buckets` and `top` list it: a call is made that the bucket limits.
    #[arg(long)]
    table: Option<String>,
    /// The bucket's row; may be omitted if the table has only one, or if the key selects it.
    #[arg(long, requires = "table")]
    row: Option<String>,
    /// The bucket's limit, as in `10 per second`, if an override of the row has others.
    #[arg(long, requires = "table")]
    bucket: Option<String>,
    /// Entries of the descriptor, in order; with --table, those of the table's key.
    #[arg(required_unless_present = "table", value_name = "KEY=VALUE")]
    entries: Vec<EntryArg>,
}

impl Explain {
    pub(super) fn ask(
        &self,
        server: &HttpServer,
        token: Option<&str>,
    ) -> Result<HttpResponse, Failure> {
        if let Some(table) = &self.table {
            let entry = |EntryArg { key, value }: &EntryArg| [key.clone(), value.clone()];
            let request = BucketRequest {
                domain: self.domain.clone(),
                table: table.clone(),
                row: self.row.clone(),
                key: Some(self.entries.iter().map(entry).collect()),
                bucket: self.bucket.clone(),
                truncated: None,
            };
            return server.ask("/explain/bucket", token, Some(serde_json::to_string(&request)?));
        }
        let domain = match &self.domain {
            Some(domain) => domain.clone(),
            None => match <[String; 1]>::try_from(domains(server)?) {
                Ok([domain]) => domain,
                Err(domains) => {
                    return Err(format!("choose with --domain from: {}", listed(&domains)).into());
                }
            },
        };
        let entry = |EntryArg { key, value }: &EntryArg| json!({ "key": key, "value": value });
        let entries: Vec<_> = self.entries.iter().map(entry).collect();
        let request = json!({ "domain": domain, "descriptors": [{ "entries": entries }] });
        server.ask("/explain", token, Some(request.to_string()))
    }

    /// The server's answer as text.
    pub(super) fn render(&self, answer: &HttpResponse) -> Result<String, Failure> {
        if self.table.is_none() {
            return Ok(explanation(&read(answer)?));
        }
        let BucketExplanation { entries, assumed, explanation: explained } = read(answer)?;
        let mut text = String::new();
        if !entries.is_empty() {
            let entries = entries.iter().map(|[key, value]| escaped(&format!("{key}={value}")));
            text += &format!(
                "a call that the bucket limits: {}\n",
                entries.collect::<Vec<_>>().join(" ")
            );
        }
        for assumed in &assumed {
            text += &format!("assumed of the call: {}\n", printable(assumed));
        }
        Ok(text + &explanation(&explained))
    }
}

fn explanation(of: &Explanation) -> String {
    let verdict = if of.admits { "admitted" } else { "denied" };
    let mut text = format!("domain {}, {}: would be {verdict}\n", escaped(&of.domain), of.at);
    of.descriptors.iter().for_each(|of| text += &descriptor(of));
    for key in &of.unknown_keys {
        text += &format!("note: the policy does not ask about `{}`\n", escaped(key));
    }
    text
}

fn descriptor(of: &ExplainedDescriptor) -> String {
    let group = of.endpoint_group.as_deref().map_or_else(|| "none".to_owned(), escaped);
    let mut text = format!("endpoint group {group}\n");
    if let Some(bypass) = &of.bypass {
        text += &format!("bypassed, since {}; without that:\n", printable(bypass));
    }
    text += "\n";
    for table in &of.tables {
        match table {
            ExplainedTable::Matched(row) => text += &matched(row),
            ExplainedTable::Missed(MissedTable { table, miss_reason }) => {
                text += &format!("- {}: {}\n", escaped(table), printable(miss_reason));
            }
        }
    }
    text + &format!("\n{}\n", printable(&of.outcome))
}

fn matched(of: &MatchedRow) -> String {
    let shadow = if of.shadow { ", in shadow: never denies" } else { "" };
    let from = if of.is_override { ", by an override" } else { "" };
    let charged = match &of.charging {
        // The scope says so of windows.
        Charging { charge: Charge::IfAdmitted | Charge::SpareOthers, .. } => String::new(),
        Charging { charge: Charge::Always, most_owed: None } => ", always charged".to_owned(),
        Charging { charge: Charge::Always, most_owed: Some(most) } => {
            format!(", always charged, owes {most} at most")
        }
    };
    let [table, row, scope] = [&of.table, &of.row, &of.scope].map(|text| escaped(text));
    let buckets: String = of.buckets.iter().map(bucket).collect();
    format!("+ {table}, row {row}{from}{charged}{shadow}; {scope}:\n{buckets}")
}

fn bucket(of: &ExplainedBucket) -> String {
    let state = of.level.as_ref().map(|level| {
        let wait = match level.wait_ms.map(Duration::from) {
            _ if !level.over_limit => String::new(),
            Some(wait) => format!(", admits in {}", duration(wait)),
            None => ", does not admit".to_owned(),
        };
        let prepaid = prepaid_part(level.prepaid);
        format!("{} of {} left{prepaid}{wait}", level.remaining, of.limit.size)
    });
    let state = state.unwrap_or_else(|| "not charged".to_owned());
    format!("    {}: {state}\n", escaped(&of.limit.bucket))
}
