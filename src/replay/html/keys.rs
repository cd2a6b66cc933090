//! The keys that were denied most, each with its minutes.

use std::fmt::{self, Display, Formatter};

use super::elements::{begin_section, write_fact};
use super::escape::Escaped;
use super::panel::percent;
use super::plot::Plot;
use super::words::{count, moment};
use crate::replay::report::{KeyReport, MAX_DENIED_KEYS, Outcome, Report};
use crate::replay::text::grouped;

/// How many keys are shown at first. The others open together.
const MAX_FIRST: usize = 10;

/// The section of the keys.
#[derive(Debug)]
pub(super) struct Keys<'a>(pub(super) &'a Report);

impl Display for Keys<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Report { outcome, spread, .. } = self.0;
        let keys = &outcome.denied_keys;
        let enforced = keys.iter().filter(|key| !key.is_shadow);
        let shown = u64::try_from(enforced.clone().count()).unwrap_or(u64::MAX);
        let others = match outcome.keys_denied.saturating_sub(shown) {
            0 => String::new(),
            others => format!("<p class=\"quiet\">and {} others</p>", grouped(others)),
        };
        begin_section("keys", "Keys denied most", others, f)?;
        if shown == 0 {
            f.write_str("<p class=\"none\">No key was denied.</p>")?;
        }
        write_list(enforced, spread.as_ref(), f)?;
        let mut shadow = keys.iter().filter(|key| key.is_shadow).peekable();
        if shadow.peek().is_some() {
            f.write_str("<h3>In shadow, would have been denied</h3>")?;
            write_list(shadow, spread.as_ref(), f)?;
        }
        f.write_str("</section>")
    }
}

/// Writes keys, the first of which has the most denials.
pub(super) fn write_list<'a>(
    keys: impl Iterator<Item = &'a KeyReport>,
    spread: Option<&Outcome>,
    f: &mut Formatter<'_>,
) -> fmt::Result {
    let keys: Vec<_> = keys.collect();
    let Some(most) = keys.first().map(|key| key.denied) else { return Ok(()) };
    let (first, others) = keys.split_at(keys.len().min(MAX_FIRST));
    write_items(first, most, spread, f)?;
    if others.is_empty() {
        return Ok(());
    }
    let number = count(u64::try_from(others.len()).unwrap_or(u64::MAX), "key more", "keys more");
    write!(f, "<details class=\"more\"><summary>{number}</summary>")?;
    write_items(others, most, spread, f)?;
    f.write_str("</details>")
}

fn write_items(
    keys: &[&KeyReport],
    most: u64,
    spread: Option<&Outcome>,
    f: &mut Formatter<'_>,
) -> fmt::Result {
    f.write_str("<ol class=\"keys\">")?;
    for key in keys {
        f.write_str("<li>")?;
        write_key(key, most, spread, f)?;
        f.write_str("</li>")?;
    }
    f.write_str("</ol>")
}

fn write_key(
    key: &KeyReport,
    most: u64,
    spread: Option<&Outcome>,
    f: &mut Formatter<'_>,
) -> fmt::Result {
    let KeyReport { table, row, limit, denied, first, last, longest_streak, series, .. } = key;
    f.write_str("<details><summary><span class=\"who\">")?;
    write_name(&key.key, f)?;
    let (limit, table, row) = (Escaped(limit), Escaped(table), Escaped(row));
    write!(f, "<span class=\"place\">{limit}, {table} / {row}</span></span>")?;
    let denials = if *denied == 1 { "denial" } else { "denials" };
    write!(f, "<span class=\"left\"><b>{}</b><small>{denials}</small></span>", grouped(*denied))?;
    f.write_str("<svg class=\"share\" height=\"2\" aria-hidden=\"true\">")?;
    write!(f, "<rect width=\"{}\" height=\"2\"/></svg></summary>", percent(*denied, most))?;

    f.write_str("<dl class=\"facts\">")?;
    for (name, time) in [("First denial", first), ("Last denial", last)] {
        write_fact(name, format_args!("{} UTC", Escaped(&moment(time))), f)?;
    }
    let streak = count(*longest_streak, "denial", "denials");
    write_fact("Longest streak", format_args!("{streak} on end"), f)?;
    if let Some(spread) = spread {
        write_fact("If spread over their second", if_spread(key, spread), f)?;
    }
    f.write_str("</dl><p class=\"quiet readout\" data-reads-out=\"plot\">")?;
    let name = "Requests of this key from its first denial on";
    let plot = Plot { name, series, spread: None, has_denied: false };
    write!(f, "From the first denial on, in UTC</p>{plot}</details>")
}

fn write_name(key: &[[String; 2]], f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str("<span class=\"key\">")?;
    if key.is_empty() {
        f.write_str("<span class=\"name\">all requests</span>")?;
    }
    for (at, [name, value]) in key.iter().enumerate() {
        let (comma, name, value) = (if at > 0 { ", " } else { "" }, Escaped(name), Escaped(value));
        write!(f, "<span class=\"name\">{comma}{name} </span><bdi>{value}</bdi>")?;
    }
    f.write_str("</span>")
}

/// How often a key was denied by the other bound, as far as that is known.
fn if_spread(key: &KeyReport, spread: &Outcome) -> String {
    let is_same = |other: &&KeyReport| {
        (&other.table, &other.row, &other.limit) == (&key.table, &key.row, &key.limit)
            && other.key == key.key
    };
    let found = spread.denied_keys.iter().find(is_same);
    match (found, spread.denied_keys.last()) {
        (Some(found), _) => count(found.denied, "denial", "denials"),
        (None, Some(last)) if spread.denied_keys.len() >= MAX_DENIED_KEYS => {
            format!("at most {}", count(last.denied, "denial", "denials"))
        }
        (None, _) => "no denial".to_owned(),
    }
}
