//! What a call must have in one entry to match a bucket, and a value that satisfies that.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::policy::address::Addresses;
use crate::policy::condition::{Condition, Matcher};
use crate::policy::table::{NamedRows, Row, Rows, Table};
use crate::policy::values::{KeyIndex, Keys};

/// The most values of a list that are tried.
const MAX_TRIED: usize = 64;

/// What a call must have in one entry.
pub(super) struct Need<'a> {
    pub(super) key: KeyIndex,
    addresses: &'a Addresses,
    conditions: Vec<&'a Condition>,
    choice: Option<Choice<'a>>,
}

/// Which values of an entry choose a row.
enum Choice<'a> {
    /// The name of this row, and others that the table reads as the same.
    Named(&'a Row, &'a NamedRows),
    /// All that are not the name of a row, and none.
    Default(&'a NamedRows),
}

/// What calls must have to match the conditions and the row of a table, entry by entry.
pub(super) fn needs<'a>(
    table: &'a Table,
    row: &'a Row,
    conditions: &[&'a Condition],
    addresses: &'a Addresses,
) -> Vec<Need<'a>> {
    let mut all: Vec<Need<'a>> = Vec::new();
    if let Rows::Selected { by, rows, .. } = &table.rows {
        let is_named = is_row(row, rows, row.name().as_bytes());
        let choice = if is_named { Choice::Named(row, rows) } else { Choice::Default(rows) };
        all.push(Need { key: *by, addresses, conditions: Vec::new(), choice: Some(choice) });
    }
    for condition in conditions {
        match all.iter_mut().find(|need| need.key == condition.key) {
            Some(need) => need.conditions.push(condition),
            None => {
                let (key, conditions) = (condition.key, vec![*condition]);
                all.push(Need { key, addresses, conditions, choice: None });
            }
        }
    }
    all
}

impl<'a> Need<'a> {
    /// Whether a value, or a missing entry, satisfies it.
    pub(super) fn accepts(&self, value: Option<&[u8]>) -> bool {
        let is_chosen = match (&self.choice, value) {
            (None, _) => true,
            (Some(Choice::Named(row, rows)), value) => {
                value.is_some_and(|value| is_row(row, rows, value))
            }
            (Some(Choice::Default(rows)), value) => {
                value.is_none_or(|value| rows.of_value(value).is_none())
            }
        };
        let holds = |condition: &&Condition| condition.matcher.matches(value, self.addresses);
        is_chosen && self.conditions.iter().all(holds)
    }

    /// A value that satisfies it, if one is found.
    pub(super) fn value(&self) -> Option<Cow<'a, [u8]>> {
        let mut tried = Vec::new();
        if let Some(Choice::Named(row, _)) = self.choice {
            tried.push(Cow::Borrowed(row.name().as_bytes()));
        }
        self.conditions.iter().for_each(|condition| add_examples(&condition.matcher, &mut tried));
        tried.into_iter().find(|value| self.accepts(Some(value)))
    }

    /// An address of a network that satisfies it, if one is found.
    pub(super) fn address_within(&self, network: IpNet) -> Option<Cow<'a, [u8]>> {
        let mut tried = vec![network.network(), network.broadcast()];
        for condition in &self.conditions {
            add_edges(&condition.matcher, &mut tried);
        }
        let mut within = tried.into_iter().filter(|address| network.contains(address));
        let value = within.find_map(|address| {
            let text = address.to_string().into_bytes();
            self.accepts(Some(&text)).then_some(text)
        });
        value.map(Cow::Owned)
    }

    /// What it requires, in words.
    pub(super) fn describe(&self, keys: &Keys) -> String {
        let row = self.choice.as_ref().map(|choice| match choice {
            Choice::Named(row, _) => format!("{} is {:?}", keys.name(self.key), row.name()),
            Choice::Default(_) => format!("{} is the name of no row", keys.name(self.key)),
        });
        let conditions = self.conditions.iter().map(|condition| condition.describe(keys));
        let all: Vec<_> = row.into_iter().chain(conditions).collect();
        format!("it requires that {}", all.join(" and "))
    }
}

/// Whether a value selects this row.
fn is_row(row: &Row, rows: &NamedRows, value: &[u8]) -> bool {
    rows.of_value(value).is_some_and(|of| of.id() == row.id())
}

/// Values of which one probably satisfies a condition.
fn add_examples<'a>(matcher: &'a Matcher, tried: &mut Vec<Cow<'a, [u8]>>) {
    let mut add = |text: &'a str| tried.push(Cow::Borrowed(text.as_bytes()));
    match matcher {
        Matcher::Equal(text) => add(text),
        Matcher::Prefix(text) => {
            add(text);
            tried.push(Cow::Owned(format!("{text}any").into_bytes()));
        }
        Matcher::OneOf(texts) => texts.sorted().into_iter().take(MAX_TRIED).for_each(add),
        Matcher::Present => ["any", "other"].into_iter().for_each(add),
        Matcher::Absent => {}
        Matcher::Cidr(networks) => {
            let hosts =
                networks.iter().take(MAX_TRIED).filter_map(|network| network.hosts().next());
            tried.extend(hosts.map(|host| Cow::Owned(host.to_string().into_bytes())));
        }
        Matcher::Any(matchers) => {
            matchers.iter().for_each(|matcher| add_examples(matcher, tried));
        }
        Matcher::Not(matcher) if matches!(**matcher, Matcher::Cidr(_)) => {
            ["192.0.2.1", "198.51.100.1", "2001:db8::1", "any"].into_iter().for_each(add);
        }
        Matcher::Not(_) => ["any", "other", "another"].into_iter().for_each(add),
    }
}

/// Addresses within the networks of a condition, and next to them.
fn add_edges(matcher: &Matcher, tried: &mut Vec<IpAddr>) {
    match matcher {
        Matcher::Cidr(networks) => {
            for network in networks.iter().take(MAX_TRIED) {
                tried.extend([network.network(), network.broadcast()]);
                tried.extend(next(network.broadcast()));
            }
        }
        Matcher::Any(matchers) => matchers.iter().for_each(|matcher| add_edges(matcher, tried)),
        Matcher::Not(matcher) => add_edges(matcher, tried),
        Matcher::Equal(_)
        | Matcher::OneOf(_)
        | Matcher::Prefix(_)
        | Matcher::Present
        | Matcher::Absent => {}
    }
}

/// The address after this one; none after the last.
fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_add(1).map(|next| Ipv4Addr::from(next).into()),
        IpAddr::V6(v6) => u128::from(v6).checked_add(1).map(|next| Ipv6Addr::from(next).into()),
    }
}
