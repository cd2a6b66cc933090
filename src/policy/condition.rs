//! Conditions on the entries of a descriptor.

use std::fmt;

use hashbrown::HashSet;
use ipnet::IpNet;

use super::address::{Addresses, Prefixes};
use super::name_map::is_same;
use super::values::{KeyIndex, Keys, Values};

/// A test of one entry's value.
#[derive(Debug, Clone)]
pub enum Matcher {
    /// The whole value, case-sensitive.
    Equal(Box<str>),
    /// The whole value is one of these, case-sensitive.
    OneOf(StringSet),
    /// The value starts with this; written `text*`.
    Prefix(Box<str>),
    /// The value is an address within one of these networks.
    Cidr(Box<[IpNet]>),
    /// The entry is present, with any value.
    Present,
    /// The entry is absent.
    Absent,
    /// One of these matches.
    Any(Box<[Self]>),
    /// The entry is present, and this does not match its value.
    Not(Box<Self>),
}

impl Matcher {
    /// Whether a value, or a missing entry, satisfies it.
    pub(super) fn matches(&self, value: Option<&[u8]>, addresses: &Addresses) -> bool {
        match (self, value) {
            (Self::Absent, value) => value.is_none(),
            (Self::Any(matchers), value) => {
                matchers.iter().any(|matcher| matcher.matches(value, addresses))
            }
            (_, None) => false,
            (Self::Present, Some(_)) => true,
            (Self::Not(matcher), value) => !matcher.matches(value, addresses),
            (Self::Equal(text), Some(value)) => is_same(text.as_bytes(), value),
            (Self::OneOf(texts), Some(value)) => texts.contains(value),
            (Self::Prefix(text), Some(value)) => value.starts_with(text.as_bytes()),
            (Self::Cidr(networks), Some(value)) => addresses.are_around(networks, value),
        }
    }
}

impl Matcher {
    /// Whether it holds for all addresses of a network of these sizes, or for none of them, however they are written.
    pub(super) fn holds_for_networks(&self, prefixes: Prefixes, addresses: &Addresses) -> bool {
        match self {
            Self::Present | Self::Absent => true,
            Self::Cidr(networks) => networks.iter().all(|network| match network {
                IpNet::V4(network) => network.prefix_len() <= prefixes.ipv4(),
                // A network of addresses that embed IPv4 ones is compared with them as they are written.
                IpNet::V6(v6) => v6.prefix_len() <= prefixes.ipv6() && !addresses.is_nat64(network),
            }),
            Self::Any(matchers) => {
                matchers.iter().all(|matcher| matcher.holds_for_networks(prefixes, addresses))
            }
            Self::Not(matcher) => matcher.holds_for_networks(prefixes, addresses),
            Self::Equal(_) | Self::OneOf(_) | Self::Prefix(_) => false,
        }
    }

    /// The condition in words, or its negation. Part of the identity of an override's buckets: no two matchers have
    /// the same words.
    fn describe(&self, f: &mut fmt::Formatter<'_>, holds: bool) -> fmt::Result {
        let words = |positive, negative| if holds { positive } else { negative };
        match self {
            Self::Equal(text) => write!(f, "{} {text:?}", words("is", "is not")),
            Self::OneOf(texts) => {
                write!(f, "{} {:?}", words("is one of", "is none of"), texts.sorted())
            }
            Self::Prefix(text) => {
                write!(f, "{} {text:?}", words("starts with", "does not start with"))
            }
            Self::Cidr(networks) => {
                f.write_str(words("is within", "is not within"))?;
                networks.iter().try_for_each(|network| write!(f, " {network}"))
            }
            Self::Present => f.write_str(words("is present", "is not present")),
            Self::Absent => f.write_str(words("is absent", "is not absent")),
            Self::Any(matchers) => matchers.iter().enumerate().try_for_each(|(at, matcher)| {
                f.write_str(if at == 0 { "" } else { words(" or ", " and ") })?;
                matcher.describe(f, holds)
            }),
            Self::Not(matcher) => matcher.describe(f, !holds),
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe(f, true)
    }
}

/// A set of strings. Few strings are compared one by one, which is faster than hashing the value.
#[derive(Debug, Clone)]
pub enum StringSet {
    /// At most eight strings.
    Few(Box<[Box<str>]>),
    /// More than eight strings.
    Many(HashSet<Box<str>>),
}

/// The largest set whose strings are compared one by one.
const MAX_LINEAR: usize = 8;

impl StringSet {
    /// Whether a value is one of them.
    pub fn contains(&self, value: &[u8]) -> bool {
        match self {
            Self::Few(texts) => texts.iter().any(|text| is_same(text.as_bytes(), value)),
            Self::Many(texts) => std::str::from_utf8(value).is_ok_and(|text| texts.contains(text)),
        }
    }

    /// All strings in order.
    pub fn sorted(&self) -> Vec<&str> {
        let mut texts: Vec<&str> = match self {
            Self::Few(texts) => texts.iter().map(|text| &**text).collect(),
            Self::Many(texts) => texts.iter().map(|text| &**text).collect(),
        };
        texts.sort_unstable();
        texts
    }
}

impl FromIterator<Box<str>> for StringSet {
    fn from_iter<T: IntoIterator<Item = Box<str>>>(texts: T) -> Self {
        let texts: HashSet<Box<str>> = texts.into_iter().collect();
        if texts.len() > MAX_LINEAR {
            Self::Many(texts)
        } else {
            Self::Few(texts.into_iter().collect())
        }
    }
}

/// A matcher, and the entry that it tests.
#[derive(Debug, Clone)]
pub struct Condition {
    pub(crate) key: KeyIndex,
    pub(crate) matcher: Matcher,
}

impl Condition {
    pub(crate) fn matches(&self, values: &Values<'_>) -> bool {
        self.matcher.matches(values.get(self.key), values.addresses())
    }

    /// The condition in words.
    pub fn describe(&self, keys: &Keys) -> String {
        format!("{} {}", keys.name(self.key), self.matcher)
    }
}

/// Conditions that must all match. An empty list always matches.
#[derive(Debug, Clone, Default)]
pub struct Conditions(pub(crate) Box<[Condition]>);

impl Conditions {
    /// The first condition that does not match.
    pub(crate) fn first_mismatch(&self, values: &Values<'_>) -> Option<&Condition> {
        self.0.iter().find(|condition| !condition.matches(values))
    }

    /// Whether all conditions match, apart from those on entries that are missing.
    pub(super) fn could_match(&self, values: &Values<'_>) -> bool {
        let is_missing = |condition: &Condition| values.get(condition.key).is_none();
        self.0.iter().all(|condition| is_missing(condition) || condition.matches(values))
    }

    pub(crate) fn all_match(&self, values: &Values<'_>) -> bool {
        self.first_mismatch(values).is_none()
    }

    /// The conditions in words, joined by "and".
    pub fn describe(&self, keys: &Keys) -> String {
        let conditions: Vec<_> = self.0.iter().map(|condition| condition.describe(keys)).collect();
        conditions.join(" and ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Matcher {
        fn does_match(&self, value: Option<&[u8]>) -> bool {
            self.matches(value, &Addresses::default())
        }
    }

    #[test]
    fn a_missing_entry_matches_only_absent() {
        let matchers = [
            Matcher::Equal("".into()),
            Matcher::OneOf(["".into()].into_iter().collect()),
            Matcher::Prefix("".into()),
            Matcher::Cidr(["0.0.0.0/0".parse().unwrap()].into()),
            Matcher::Present,
        ];
        for matcher in matchers {
            assert!(!matcher.does_match(None), "{matcher}");
            let not = not(matcher);
            assert!(!not.does_match(None), "{not}");
        }
        assert!(Matcher::Absent.does_match(None));
        assert!(!Matcher::Absent.does_match(Some(b"")));
    }

    fn not(matcher: Matcher) -> Matcher {
        Matcher::Not(Box::new(matcher))
    }

    fn networks(texts: &[&str]) -> Matcher {
        Matcher::Cidr(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn a_negation_matches_every_value_that_the_condition_does_not() {
        let list = || Matcher::OneOf(["free", "trial"].into_iter().map(Box::from).collect());
        for (matcher, matching, others) in [
            (Matcher::Equal("free".into()), &["free"][..], &["", "Free", "trial"][..]),
            (list(), &["free", "trial"], &["", "paid"]),
            (Matcher::Prefix("fr".into()), &["fr", "free"], &["", "f", "trial"]),
            (
                Matcher::Any([Matcher::Prefix("x".into()), list()].into()),
                &["free", "xy"],
                &["", "paid"],
            ),
            (
                networks(&["10.0.0.0/8"]),
                &["10.1.2.3", "10.1.2.3:443"],
                &["11.1.2.3:443", "2001:db8::1", "unknown", ""],
            ),
        ] {
            let not = not(matcher.clone());
            for value in matching {
                assert!(matcher.does_match(Some(value.as_bytes())), "{matcher}: {value}");
                assert!(!not.does_match(Some(value.as_bytes())), "{not}: {value}");
            }
            for value in others {
                assert!(!matcher.does_match(Some(value.as_bytes())), "{matcher}: {value}");
                assert!(not.does_match(Some(value.as_bytes())), "{not}: {value}");
            }
        }
    }

    #[test]
    fn what_is_no_address_is_within_neither_family() {
        let no_address = not(networks(&["0.0.0.0/0", "::/0"]));
        for value in ["unknown", "", "192.0.2.1:", "192.0.2.1, 192.0.2.2", "192.0.2.0/24"] {
            assert!(no_address.does_match(Some(value.as_bytes())), "{value}");
        }
        for value in ["192.0.2.1", "::1", "[::1]:443", "::ffff:192.0.2.1", "0.0.0.0"] {
            assert!(!no_address.does_match(Some(value.as_bytes())), "{value}");
        }
        assert!(!no_address.does_match(None));
    }

    /// The words are part of the identity of an override's buckets.
    #[test]
    fn a_negation_has_words_of_its_own() {
        let list = || Matcher::OneOf(["b", "a"].into_iter().map(Box::from).collect());
        for (matcher, words, negated) in [
            (Matcher::Equal("a".into()), r#"is "a""#, r#"is not "a""#),
            (list(), r#"is one of ["a", "b"]"#, r#"is none of ["a", "b"]"#),
            (Matcher::Prefix("a".into()), r#"starts with "a""#, r#"does not start with "a""#),
            (
                networks(&["10.0.0.0/8", "::/0"]),
                "is within 10.0.0.0/8 ::/0",
                "is not within 10.0.0.0/8 ::/0",
            ),
            (
                Matcher::Any([Matcher::Prefix("c".into()), list()].into()),
                r#"starts with "c" or is one of ["a", "b"]"#,
                r#"does not start with "c" and is none of ["a", "b"]"#,
            ),
        ] {
            assert_eq!(matcher.to_string(), words);
            assert_eq!(not(matcher).to_string(), negated);
        }
    }

    #[test]
    fn equal_is_the_whole_value() {
        let matcher = Matcher::Equal("acme".into());
        assert!(matcher.does_match(Some(b"acme")));
        for other in ["acme2", "acm", "Acme", "acme ", ""] {
            assert!(!matcher.does_match(Some(other.as_bytes())), "{other}");
        }
        assert!(!matcher.does_match(Some(b"acme\xff")));
    }

    #[test]
    fn few_and_many_strings_match_alike() {
        for count in [1, MAX_LINEAR, MAX_LINEAR + 1, 100] {
            let matcher =
                Matcher::OneOf((0..count).map(|number| number.to_string().into()).collect());
            assert!(
                (0..count).all(|number| matcher.does_match(Some(number.to_string().as_bytes())))
            );
            assert!(
                ["", "-1", "01"].iter().all(|other| !matcher.does_match(Some(other.as_bytes())))
            );
            assert!(!matcher.does_match(Some(count.to_string().as_bytes())));
            assert!(!matcher.does_match(Some(b"0\xff")));
        }
    }

    #[test]
    fn a_prefix_matches_what_starts_with_it_and_nothing_else() {
        let matcher = Matcher::Prefix("/api/".into());
        assert!(matcher.does_match(Some(b"/api/")) && matcher.does_match(Some(b"/api/v2\xff")));
        assert!(!matcher.does_match(Some(b"/ap")) && !matcher.does_match(Some(b"x/api/")));
    }

    #[test]
    fn a_network_matches_its_addresses_in_every_spelling() {
        let matcher =
            Matcher::Cidr(["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()].into());
        for within in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1", "2001:0DB8:0::1"] {
            assert!(matcher.does_match(Some(within.as_bytes())), "{within}");
        }
        for outside in ["11.0.0.1", "2001:db9::1", "10.1.2", "10.0.0.1.evil", ""] {
            assert!(!matcher.does_match(Some(outside.as_bytes())), "{outside}");
        }
        assert!(!matcher.does_match(Some(b"10.0.0.1\xff")));
    }
}
