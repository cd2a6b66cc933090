//! `tollgate admin top`: the buckets that denied most in the last minutes.

use std::time::Duration;

use clap::Args;

use super::{duration, escaped, key, place, table};
use crate::admin::api::types::{Top, TopBucket, TopList};

#[derive(Debug, Args)]
pub(super) struct TopArgs {
    /// Only buckets of this domain.
    #[arg(long)]
    domain: Option<String>,
    /// The most buckets to list, separately for enforced rows and for rows in shadow.
    #[arg(long, default_value = "20", value_name = "COUNT")]
    limit: u16,
}

impl TopArgs {
    /// The path of the request.
    pub(super) fn path(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::from("/top?"));
        if let Some(domain) = &self.domain {
            query.append_pair("domain", domain);
        }
        query.append_pair("limit", &self.limit.to_string());
        query.finish()
    }
}

const COLUMNS: [&str; 5] = ["DENIED", "AT LEAST", "BUCKET", "TABLE/ROW", "KEY"];

/// The server's answer as text.
pub(super) fn render(Top { window_ms, denied, shadow, .. }: &Top) -> String {
    let span = duration(Duration::from(*window_ms));
    let mut text = format!("denied in the last {span}:\n{}", list(denied));
    if !shadow.list.items.is_empty() {
        text += &format!("\nin shadow, would have been denied:\n{}", list(shadow));
    }
    text
}

fn list(TopList { list, others_at_most }: &TopList) -> String {
    let mut lines = table(&COLUMNS, list, row);
    if *others_at_most > 0 {
        lines += &format!("any other bucket denied {others_at_most} at most\n");
    }
    lines
}

fn row(of: &TopBucket) -> [String; 5] {
    [
        of.count.to_string(),
        of.count.saturating_sub(of.at_most_over).to_string(),
        escaped(&of.limit.bucket),
        place(&of.name),
        key(&of.name),
    ]
}
