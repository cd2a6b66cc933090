//! A first mapping for a log: what it has in each field, and which of them may be the entries of a policy.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use access_log::{Format, GENERAL, Reader, TimeFields};

use super::lines::Lines;
use super::log::{DETECTED_FROM, each_line};
use super::source::Source;
use super::{ReplayError, text};
use crate::policy::Policy;
use crate::text::sanitize;

/// How many lines are looked at.
const MAX_LINES: usize = 10_000;

/// How many values of a field are shown, and how many are told apart.
const MAX_SHOWN: usize = 3;
const MAX_TOLD_APART: usize = 1_000;

/// How many fields are listed.
const MAX_FIELDS: usize = 200;

/// How long the values that are shown of a field may be together, in characters.
const MAX_WIDTH: usize = 100;

/// What a log has in one field.
#[derive(Debug, Default)]
struct Field {
    lines: u64,
    /// Its values, and how often each was seen.
    values: BTreeMap<Vec<u8>, u64>,
    is_cut: bool,
}

impl Field {
    fn count(&mut self, value: &[u8]) {
        self.lines += 1;
        if let Some(count) = self.values.get_mut(value) {
            *count += 1;
        } else if self.values.len() < MAX_TOLD_APART {
            self.values.insert(value.to_vec(), 1);
        } else {
            self.is_cut = true;
        }
    }

    /// How many values there are, and those that were seen most, escaped.
    fn describe(&self) -> String {
        let mut most: Vec<_> = self.values.iter().collect();
        most.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let mut shown = String::new();
        for (value, _) in most.iter().take(MAX_SHOWN) {
            let value = sanitize(value);
            if shown.chars().count() + value.chars().count() > MAX_WIDTH && !shown.is_empty() {
                break;
            }
            shown.push_str(if shown.is_empty() { "" } else { ", " });
            shown.push_str(&value);
        }
        let count = u64::try_from(most.len()).unwrap_or(u64::MAX);
        let more = if self.is_cut { "more than " } else { "" };
        let [line, value] = [(self.lines, "line"), (count, "value")].map(|(count, what)| {
            format!("{} {what}{}", text::grouped(count), if count == 1 { "" } else { "s" })
        });
        format!("{line}, {more}{value}: {shown}")
    }
}

/// A mapping as YAML for the first lines of a log, with comments on what it has in each field.
///
/// # Errors
/// If the log cannot be read, or its format is none that is known.
pub fn sample(
    policy: &Policy,
    source: &Source,
    format: Option<Format>,
) -> Result<String, ReplayError> {
    let fault = |error| ReplayError::Read(source.name(), error);
    let mut lines = Lines::new(source.open(Arc::default()).map_err(fault)?);
    let mut fields: BTreeMap<String, Field> = BTreeMap::new();
    let (mut read, mut unreadable) = (0_u64, 0_u64);
    let mut reader: Option<(Format, Reader)> = None;
    while let Some(piece) = lines.next().map_err(fault)? {
        let (_, reader) = match &mut reader {
            Some(reader) => reader,
            None => {
                let first: Vec<_> = each_line(piece).take(DETECTED_FROM).collect();
                let format = match format {
                    Some(format) => format,
                    None => access_log::detect(&first)
                        .map_err(|error| ReplayError::UnknownFormat(source.name(), error))?,
                };
                let made = Reader::new(format, &[], &TimeFields::default());
                let made = made.map_err(|error| ReplayError::Field(source.name(), error))?;
                reader.insert((format, made))
            }
        };
        for line in each_line(piece) {
            let mut note = |name: &str, value: &[u8]| {
                if let Some(field) = fields.get_mut(name) {
                    field.count(value);
                } else if fields.len() < MAX_FIELDS {
                    fields.entry(name.to_owned()).or_default().count(value);
                }
            };
            match reader.fields(line, &mut note) {
                Ok(()) => read += 1,
                Err(_) => unreadable += 1,
            }
        }
        if read + unreadable >= u64::try_from(MAX_LINES).unwrap_or(u64::MAX) {
            break;
        }
    }
    let format = reader.map_or("no line", |(format, _)| format.name());
    let mut told =
        format!("# {}: {format}, {} lines", sanitize(source.name()), text::grouped(read));
    if unreadable > 0 {
        told.push_str(&format!(", and {} that cannot be read", text::grouped(unreadable)));
    }
    told.push('\n');
    // Writing to a String does not fail.
    let _ = write_mapping(policy, &fields, &mut told);
    Ok(told)
}

fn write_mapping(
    policy: &Policy,
    fields: &BTreeMap<String, Field>,
    out: &mut String,
) -> std::fmt::Result {
    let mut used = Vec::new();
    writeln!(out, "\ndescriptor:")?;
    for key in policy.keys().names().filter(|key| !is_found_by_the_policy(policy, key)) {
        match like(key, fields) {
            Some((name, field)) => {
                used.push(name);
                writeln!(out, "  # {}", field.describe())?;
                writeln!(out, "  {}: {}", quoted(key), quoted(&format!("${name}")))?;
            }
            None => writeln!(
                out,
                "  # No field looks like it: a field, or a constant.\n  # {}: ",
                quoted(key)
            )?,
        }
    }
    let others: Vec<_> = fields.iter().filter(|(name, _)| !used.contains(name)).collect();
    if !others.is_empty() {
        writeln!(out, "\n# The other fields:")?;
        for (name, field) in others {
            writeln!(out, "#   {}: {}", sanitize(format!("${name}")), field.describe())?;
        }
    }
    Ok(())
}

/// Whether the policy finds the entry itself, from method and path.
fn is_found_by_the_policy(policy: &Policy, key: &str) -> bool {
    key == "endpoint_group" && policy.endpoints().iter().next().is_some()
}

/// The field that is most like a key: the same name, or one that ends with it, such as a header's.
fn like<'f>(key: &str, fields: &'f BTreeMap<String, Field>) -> Option<(&'f String, &'f Field)> {
    let key = plain(key);
    let rank = |name: &str| {
        let name = plain(name);
        let ends = || name.strip_suffix(&*key).is_some_and(|rest| rest.ends_with('_'));
        match () {
            () if name == key => Some(0),
            () if name == format!("x_{key}") => Some(1),
            () if ends() => Some(2),
            () => None,
        }
    };
    let ranked = fields.iter().filter_map(|(name, field)| Some((rank(name)?, name, field)));
    // Of several, the one in most lines; a general name of the format before its own.
    let best = ranked.min_by_key(|(rank, name, field)| {
        (*rank, std::cmp::Reverse(field.lines), !GENERAL.contains(&name.as_str()))
    });
    best.map(|(_, name, field)| (name, field))
}

/// A name in small letters, with `_` for what stands between its words.
fn plain(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    name.chars().map(letter).collect()
}

/// A text in YAML: bare if that is safe, else in quotes.
fn quoted(text: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "_.-$".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '$');
    if begins && text.chars().all(is_bare) {
        return text.to_owned();
    }
    // JSON is YAML, too.
    serde_json::Value::from(text).to_string()
}
