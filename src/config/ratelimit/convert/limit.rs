//! The limit of a node: as buckets, and what comments say of it.

use crate::config::path::shown;
use crate::limit::{Period, Rate, TokenBucket, Window};
use crate::policy::descriptor_tree::{NewLimit, NewNode};

/// What a comment says of a limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// The policy does other than the tree.
    Differs(String),
    /// The policy lacks something.
    LeftOut(String),
    /// Neither.
    Plain(String),
}

/// The row of descriptors without a limit.
pub(super) const UNLIMITED: &str = "unlimited";

/// The buckets of a node's limit, as they are written; none if it has no limit, or one that no bucket can have.
pub(super) fn buckets(node: &NewNode) -> Option<String> {
    let limit = node.limit.as_ref()?;
    let window = limit.window?;
    let buckets = match window.requests() {
        0 => "blocked".to_owned(),
        requests => {
            token_bucket(window)?;
            format!("[{{ per_{}: {requests} }}]", window.unit().name())
        }
    };
    Some(if limit.shadow { format!("{{ shadow: true, buckets: {buckets} }}") } else { buckets })
}

/// The bucket that stands for a window: of its size and its rate.
fn token_bucket(window: Window) -> Option<TokenBucket> {
    let rate = Rate::new(window.requests(), Period::one(window.unit())).ok()?;
    TokenBucket::new(window.requests(), rate).ok()
}

/// A comment on the limit of a node that no table stands for.
pub(super) fn left_out(window: Window, path: &str, why: &str) -> Note {
    Note::LeftOut(format!("the limit of `{}`, {window}: {why}", shown(path)))
}

/// What comments say of the limit of a node with this path. `tells_values` is whether statistics have values of requests,
/// `is_replaced` whether other limits replace it.
pub(super) fn notes(
    limit: &NewLimit,
    path: &str,
    tells_values: bool,
    is_replaced: bool,
) -> Vec<Note> {
    let mut notes = Vec::new();
    match limit.window {
        Some(window) if window.requests() == 0 => {
            let what = format!("{window} is `blocked`, which denies calls of 0 hits as well");
            notes.push(Note::Differs(what));
        }
        Some(window) if token_bucket(window).is_none() => {
            let why = "a bucket gains at most a million tokens per second";
            notes.push(left_out(window, path, why));
        }
        Some(_) | None => {}
    }
    if !limit.name.is_empty() {
        let what = "is in no answer: statuses have the names of the table and the row";
        notes.push(Note::Differs(format!("the name `{}` {what}", shown(&limit.name))));
    }
    if is_replaced {
        let what = "it applies as well where the limit does that replaces it in the tree";
        notes.push(Note::Differs(what.to_owned()));
    }
    if !limit.replaces.is_empty() {
        let names: Vec<_> =
            limit.replaces.iter().map(|name| format!("`{}`", shown(name))).collect();
        notes.push(Note::LeftOut(format!("`replaces`: {} apply as well", names.join(", "))));
    }
    for (is_set, what) in [
        (limit.quota, "`quota_mode`: it denies by itself, not only together with all other quotas"),
        (limit.metadata.is_some(), "`metadata`: answers name the table and the row that deny"),
        (
            limit.detailed_metric,
            "`detailed_metric`: statistics have the table and the row, and no values",
        ),
        (tells_values, "`value_to_metric`: statistics have the table and the row, and no values"),
    ] {
        if is_set {
            notes.push(Note::LeftOut(what.to_owned()));
        }
    }
    notes
}
