//! Entries that no call may have, since their key looks like a misspelling of another.

use hashbrown::HashMap;

use super::super::document::{Document, Located};
use super::super::path::{NodePath, shown};
use super::super::schema::{File, When};
use crate::descriptor::LEASE;
use crate::policy::address;
use crate::policy::values::PATH;

/// The keys that Envoy's actions give entries unless `descriptor_key` sets another, as of Envoy 1.40
/// (`config.route.v3.RateLimit.Action`), and the keys that tollgate gives a meaning.
/// Istio's samples call the path `PATH`.
const WELL_KNOWN: [&str; 12] = [
    "destination_cluster",
    "endpoint_group",
    "generic_key",
    "header_match",
    LEASE,
    "masked_remote_address",
    "method",
    PATH,
    "query_match",
    address::KEY,
    "source_cluster",
    "PATH",
];

/// Different keys that are compared with each other.
const MAX_KEYS: usize = 500;

/// A longer key is not taken for a misspelling.
const MAX_KEY_LENGTH: usize = 64;

/// A shorter word is not taken for a misspelling: `org` and `orgs`, `zone_a` and `zone_b` are different keys.
const MIN_WORD_LENGTH: usize = 4;

/// A key, where the policy first has it, and how often it does.
struct Use<'a> {
    key: &'a str,
    first: &'a NodePath,
    count: usize,
}

/// Warns of each key that is one typo away from a well-known one, or from one that the policy has more often or, if as
/// often, earlier.
pub(super) fn warn(file: &File, document: &Document<'_>) {
    let uses = uses(file);
    let is_path = |key: &str| file.paths.entries.iter().flatten().any(|listed| listed.value == key);
    for (at, Use { key, first, count }) in uses.iter().enumerate() {
        if WELL_KNOWN.contains(key) || is_path(key) {
            continue;
        }
        let known = WELL_KNOWN.iter().find(|known| is_misspelled(key, known));
        let is_rather_meant = |(other_at, other): &(usize, &Use<'_>)| {
            (other.count > *count || other.count == *count && *other_at < at)
                && is_misspelled(key, other.key)
        };
        let other = || uses.iter().enumerate().find(is_rather_meant).map(|(_, other)| other.key);
        let (meant, origin) = match (known, other()) {
            (Some(known), _) => (*known, "which calls usually have"),
            (None, Some(other)) => (other, "which the policy has elsewhere"),
            (None, None) => continue,
        };
        let what = format!(
            "`{}` looks like `{}`, {origin}; a call without an entry of this very key does not match here; did \
             you mean `{}`?",
            shown(key),
            shown(meant),
            shown(meant)
        );
        document.warn(first, what);
    }
}

/// The keys that the policy has, in the order in which it first has them.
fn uses<'a>(file: &'a File) -> Vec<Use<'a>> {
    let mut uses: Vec<Use<'a>> = Vec::new();
    let mut indexes: HashMap<&str, usize> = HashMap::new();
    let mut add = |Located { value, path }: &'a Located<String>| {
        let at = *indexes.entry(&**value).or_insert(uses.len());
        if let Some(known) = uses.get_mut(at) {
            known.count += 1;
        } else if uses.len() < MAX_KEYS {
            uses.push(Use { key: value, first: path, count: 1 });
        }
    };
    fn conditions(when: &When) -> impl Iterator<Item = &Located<String>> {
        when.tests.iter().map(|(key, _)| key)
    }
    for table in &file.tables {
        conditions(&table.when).for_each(&mut add);
        table.select.iter().for_each(&mut add);
        table.key.iter().flatten().for_each(&mut add);
    }
    file.overrides.iter().flat_map(|of| conditions(&of.when)).for_each(&mut add);
    file.bypass.iter().flat_map(conditions).for_each(&mut add);
    uses
}

/// Whether two keys differ only in case and separators, or in one typo.
fn is_misspelled(key: &str, known: &str) -> bool {
    if key == known || key.len() > MAX_KEY_LENGTH || known.len() > MAX_KEY_LENGTH {
        return false;
    }
    let letters = |text: &str| -> String {
        text.chars().filter(|c| !is_separator(*c)).map(|c| c.to_ascii_lowercase()).collect()
    };
    letters(key) == letters(known) || is_one_typo_away(key, known)
}

fn is_separator(c: char) -> bool {
    "_-. ".contains(c)
}

/// Whether one letter is missing, added or another, or two neighbours are swapped, in a word of at least
/// [`MIN_WORD_LENGTH`] letters. Another digit makes another name.
pub(super) fn is_one_typo_away(text: &str, known: &str) -> bool {
    let [text, known]: [Vec<char>; 2] = [text, known].map(|text| text.chars().collect());
    if text.len().abs_diff(known.len()) > 1 {
        return false;
    }
    let shorter = text.len().min(known.len());
    let pairs = || text.iter().zip(&known);
    let before = pairs().take_while(|(a, b)| a == b).count();
    let ends = || text.iter().rev().zip(known.iter().rev());
    let after = ends().take_while(|(a, b)| a == b).count().min(shorter - before);
    let [changed, meant] = [&text, &known].map(|all| all.get(before..all.len() - after));
    let (Some(changed), Some(meant)) = (changed, meant) else { return false };
    let is_typo = match (changed, meant) {
        ([a], [b]) => is_letter(*a) && is_letter(*b),
        ([a], []) | ([], [a]) => is_letter(*a),
        ([a, b], [c, d]) => a == d && b == c && is_letter(*a) && is_letter(*b),
        _ => false,
    };
    is_typo && [&text, &known].iter().all(|all| word_length(all, before) >= MIN_WORD_LENGTH)
}

const fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic()
}

/// The length of the word at an index, or that ends there.
fn word_length(text: &[char], at: usize) -> usize {
    let is_part = |c: &&char| !is_separator(**c);
    let before = text.iter().take(at).rev().take_while(is_part).count();
    before + text.iter().skip(at).take_while(is_part).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_one_letter_or_one_swap() {
        for (text, known) in [
            ("remote_adress", "remote_address"),
            ("remote_addresss", "remote_address"),
            ("tenatn", "tenant"),
            ("tenent", "tenant"),
            ("tenant", "tennant"),
            ("etnant", "tenant"),
            ("tenan", "tenant"),
            ("enant", "tenant"),
        ] {
            assert!(is_misspelled(text, known) && is_misspelled(known, text), "{text} {known}");
        }
        for (text, known) in [
            ("tenant", "tenant"),
            ("tenant", "teant_t"),
            ("tnnaet", "tenant"),
            ("user", "tenant"),
            ("", "tenant"),
            ("", ""),
        ] {
            assert!(!is_misspelled(text, known) && !is_misspelled(known, text), "{text} {known}");
        }
    }

    #[test]
    fn case_and_separators_are_typos() {
        for text in ["Remote_Address", "remote-address", "remoteAddress", "x_remoteaddress"] {
            assert_eq!(is_misspelled(text, "remote_address"), !text.starts_with('x'), "{text}");
        }
    }

    #[test]
    fn names_made_to_be_told_apart_are_not_typos() {
        for (text, known) in [
            ("tenant1", "tenant2"),
            ("tenant", "tenant2"),
            ("zone_a", "zone_b"),
            ("a", "b"),
            ("org", "orgs"),
            ("key_x_name", "key_y_name"),
        ] {
            assert!(!is_misspelled(text, known) && !is_misspelled(known, text), "{text} {known}");
        }
    }
}
