//! Conditions on the entries of a descriptor.

use std::fmt;
use std::net::IpAddr;

use hashbrown::HashSet;
use ipnet::IpNet;

use super::address;
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
}

impl Matcher {
    fn matches(&self, value: Option<&[u8]>) -> bool {
        match (self, value) {
            (Self::Absent, value) => value.is_none(),
            (Self::Any(matchers), value) => matchers.iter().any(|matcher| matcher.matches(value)),
            (_, None) => false,
            (Self::Present, Some(_)) => true,
            (Self::Equal(text), Some(value)) => text.as_bytes() == value,
            (Self::OneOf(texts), Some(value)) => texts.contains(value),
            (Self::Prefix(text), Some(value)) => value.starts_with(text.as_bytes()),
            (Self::Cidr(networks), Some(value)) => {
                address::parse(value).is_some_and(|address| any_contains(networks, address))
            }
        }
    }
}

impl Matcher {
    /// A value that matches; none for networks and for an absent entry.
    fn example(&self) -> Option<&str> {
        match self {
            Self::Equal(text) | Self::Prefix(text) => Some(text),
            Self::OneOf(texts) => texts.sorted().first().copied(),
            Self::Present => Some("any"),
            Self::Cidr(_) | Self::Absent => None,
            Self::Any(matchers) => matchers.iter().find_map(Self::example),
        }
    }
}

fn any_contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equal(text) => write!(f, "is {text:?}"),
            Self::OneOf(texts) => {
                write!(f, "is one of {:?}", texts.sorted())
            }
            Self::Prefix(text) => write!(f, "starts with {text:?}"),
            Self::Cidr(networks) => {
                f.write_str("is within")?;
                networks.iter().try_for_each(|network| write!(f, " {network}"))
            }
            Self::Present => f.write_str("is present"),
            Self::Absent => f.write_str("is absent"),
            Self::Any(matchers) => matchers.iter().enumerate().try_for_each(|(at, matcher)| {
                let or = if at == 0 { "" } else { " or " };
                write!(f, "{or}{matcher}")
            }),
        }
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
            Self::Few(texts) => texts.iter().any(|text| text.as_bytes() == value),
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
        self.matcher.matches(values.get(self.key))
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

    /// Entries that match the conditions, one for each condition that has an example.
    pub fn examples<'a>(&'a self, keys: &'a Keys) -> impl Iterator<Item = (&'a str, &'a str)> {
        let example = |of: &'a Condition| Some((keys.name(of.key), of.matcher.example()?));
        self.0.iter().filter_map(example)
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
            assert!(!matcher.matches(None), "{matcher}");
        }
        assert!(Matcher::Absent.matches(None));
        assert!(!Matcher::Absent.matches(Some(b"")));
    }

    #[test]
    fn an_example_matches() {
        let texts = || ["b", "a"].into_iter().map(Box::from).collect();
        let networks = || Matcher::Cidr(["10.0.0.0/8".parse().unwrap()].into());
        for matcher in [
            Matcher::Equal("acme".into()),
            Matcher::OneOf(texts()),
            Matcher::Prefix("/api/".into()),
            Matcher::Present,
            Matcher::Any([networks(), Matcher::Equal("acme".into())].into()),
        ] {
            assert!(matcher.matches(matcher.example().map(str::as_bytes)), "{matcher}");
        }
        assert_eq!((networks().example(), Matcher::Absent.example()), (None, None));
    }

    #[test]
    fn equal_is_the_whole_value() {
        let matcher = Matcher::Equal("acme".into());
        assert!(matcher.matches(Some(b"acme")));
        for other in ["acme2", "acm", "Acme", "acme ", ""] {
            assert!(!matcher.matches(Some(other.as_bytes())), "{other}");
        }
        assert!(!matcher.matches(Some(b"acme\xff")));
    }

    #[test]
    fn few_and_many_strings_match_alike() {
        for count in [1, MAX_LINEAR, MAX_LINEAR + 1, 100] {
            let matcher =
                Matcher::OneOf((0..count).map(|number| number.to_string().into()).collect());
            assert!((0..count).all(|number| matcher.matches(Some(number.to_string().as_bytes()))));
            assert!(["", "-1", "01"].iter().all(|other| !matcher.matches(Some(other.as_bytes()))));
            assert!(!matcher.matches(Some(count.to_string().as_bytes())));
            assert!(!matcher.matches(Some(b"0\xff")));
        }
    }

    #[test]
    fn a_prefix_matches_what_starts_with_it_and_nothing_else() {
        let matcher = Matcher::Prefix("/api/".into());
        assert!(matcher.matches(Some(b"/api/")) && matcher.matches(Some(b"/api/v2\xff")));
        assert!(!matcher.matches(Some(b"/ap")) && !matcher.matches(Some(b"x/api/")));
    }

    #[test]
    fn a_network_matches_its_addresses_in_every_spelling() {
        let matcher =
            Matcher::Cidr(["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()].into());
        for within in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1", "2001:0DB8:0::1"] {
            assert!(matcher.matches(Some(within.as_bytes())), "{within}");
        }
        for outside in ["11.0.0.1", "2001:db9::1", "10.1.2", "10.0.0.1.evil", ""] {
            assert!(!matcher.matches(Some(outside.as_bytes())), "{outside}");
        }
        assert!(!matcher.matches(Some(b"10.0.0.1\xff")));
    }
}
