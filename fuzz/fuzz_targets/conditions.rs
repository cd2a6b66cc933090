//! Conditions of every kind: of a table, of overrides and of bypasses, held against what they say.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use tollgate::config;
use tollgate::limit::Bucket;
use tollgate::policy::address::Addresses;
use tollgate::policy::fingerprint::FingerprintKey;
use tollgate::policy::table::Miss;
use tollgate::wire;
use tollgate_fuzz::bytes;
use tollgate_fuzz::parts::{NOW, source};
use tollgate_fuzz::told;
use tollgate_fuzz::yaml::quoted;

const FILE: &str = "conditions.yaml";

/// The entries that are asked about; the last is one that nobody asks about.
const KEYS: [&str; 4] = ["a", "b", ADDRESS, "c"];

const ADDRESS: &str = "remote_address";

/// The most overrides, bypasses and entries that are tried.
const MOST: usize = 12;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    when: When<'a>,
    overrides: Vec<When<'a>>,
    bypass: Vec<When<'a>>,
    entries: Vec<(u8, Value<'a>)>,
}

/// At most one condition on each of the first three of [`KEYS`].
#[derive(Debug, Arbitrary)]
struct When<'a>([Option<Condition<'a>>; 3]);

#[derive(Debug, Arbitrary)]
struct Condition<'a> {
    test: Test<'a>,
    is_negated: bool,
}

#[derive(Debug, Arbitrary)]
enum Test<'a> {
    Short(&'a str),
    List(Vec<&'a str>),
    Equal(&'a str),
    OneOf(Vec<&'a str>),
    Prefix(&'a str),
    Cidr(Vec<Network>),
    Present,
    Absent,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Network {
    V4(u32, Option<u8>),
    V6(u128, Option<u8>),
    /// IPv4 as IPv6.
    Mapped(u32, Option<u8>),
}

#[derive(Debug, Arbitrary)]
enum Value<'a> {
    Bytes(&'a [u8]),
    V4(u32),
    V6(u128),
    Mapped(u32),
    /// An address with a port, and perhaps with blanks.
    V4WithPort(u32, u16, bool),
    /// An address in brackets, with a port and perhaps with a zone.
    V6WithPort(u128, u16, bool),
    /// One of the texts in the conditions, cut and made longer.
    Like(u8, u8, &'a str),
    /// An address of one of their networks, with one bit changed.
    Near(u8, u8),
}

fuzz_target!(|input: Input<'_>| {
    let Input { when, mut overrides, mut bypass, mut entries } = input;
    for list in [&mut overrides, &mut bypass] {
        list.truncate(MOST);
        // Of nobody and of everybody are refused.
        list.retain(|when| when.0.iter().any(Option::is_some));
    }
    entries.truncate(MOST);
    let all = || [&when].into_iter().chain(&overrides).chain(&bypass);
    if all().any(When::names_a_network) {
        return;
    }
    let is_right = all().all(When::is_right);
    let text = policy(&when, &overrides, &bypass);
    let policies = match config::compile(&[source(FILE, &text)], FingerprintKey::fixed(0)) {
        Ok(policies) => policies,
        Err(problems) => {
            assert!(!is_right, "{problems} of {text}");
            return told::check(&problems, FILE);
        }
    };
    assert!(is_right, "it takes {text}");
    let known: Vec<_> = all().flat_map(When::tests).collect();
    let entries: Vec<_> = entries
        .iter()
        .map(|(key, value)| (KEYS[usize::from(*key) % KEYS.len()], value.bytes(&known)))
        .collect();
    if entries.is_empty() {
        return;
    }
    let sent: Vec<_> = entries.iter().map(|(key, value)| (key.as_bytes(), &**value)).collect();
    let message = bytes::request(b"d", &[bytes::descriptor(&sent)]);
    let Ok(query) = wire::decode(&message) else {
        let is_text = |(_, value): &(&str, Vec<u8>)| std::str::from_utf8(value).is_ok();
        return assert!(!entries.iter().all(is_text), "a question is refused");
    };
    let policy = policies.get("d").expect("its domain");
    let descriptor = query.descriptors().next().expect("one");
    let explained = policy.explain(descriptor, NOW);
    let holds = |when: &When<'_>| when.holds(&entries);
    assert_eq!(explained.bypass.is_some(), bypass.iter().any(holds), "bypass of {text}");
    let (_, met) = explained.tables.first().expect("one table");
    match met {
        Ok((_, rules)) => {
            assert!(holds(&when), "the table applies: {text}");
            let expected = overrides.iter().position(holds).map_or(1, |at| at + 2);
            let sizes: Vec<_> = rules.iter().map(|rule| size(rule.bucket())).collect();
            assert_eq!(sizes, [expected], "the bucket of {entries:?} by {text}");
        }
        Err(Miss::Condition(_)) => assert!(!holds(&when), "the table does not apply: {text}"),
        Err(other) => panic!("{other:?}"),
    }
});

fn size(bucket: &Bucket) -> usize {
    usize::try_from(bucket.size()).expect("a small one")
}

/// One table, whose buckets tell by their size which override they are of.
fn policy(when: &When<'_>, overrides: &[When<'_>], bypass: &[When<'_>]) -> String {
    let mut text = format!(
        "domain: d\ntables:\n  - name: t\n    when: {}\n    key: []\n    rows: {{ always: [{{ per_second: 1 }}] }}\n",
        when.written()
    );
    for (list, name) in [(overrides, "overrides"), (bypass, "bypass")] {
        if !list.is_empty() {
            text += &format!("{name}:\n");
        }
        for (at, when) in list.iter().enumerate() {
            let when = when.written();
            text += &match name {
                "bypass" => format!("  - {when}\n"),
                _ => format!(
                    "  - {{ table: t, when: {when}, buckets: [{{ per_second: {} }}] }}\n",
                    at + 2
                ),
            };
        }
    }
    text
}

impl When<'_> {
    fn tests(&self) -> impl Iterator<Item = &Test<'_>> {
        self.0.iter().flatten().map(|condition| &condition.test)
    }

    fn keyed(&self) -> impl Iterator<Item = (&'static str, &Condition<'_>)> {
        KEYS.into_iter().zip(&self.0).filter_map(|(key, of)| Some((key, of.as_ref()?)))
    }

    fn written(&self) -> String {
        let written: Vec<_> =
            self.keyed().map(|(key, of)| format!("{key}: {}", of.written())).collect();
        format!("{{ {} }}", written.join(", "))
    }

    fn is_right(&self) -> bool {
        let is_plain = |of: &Condition<'_>| !matches!(of.test, Test::Present | Test::Absent);
        let mut negated = self.0.iter().flatten().filter(|of| of.is_negated);
        negated.all(is_plain)
            && self.tests().all(|test| match test {
                Test::Short(text) => is_short(text),
                Test::List(texts) => !texts.is_empty() && texts.iter().all(|text| is_short(text)),
                Test::OneOf(texts) => !texts.is_empty(),
                Test::Cidr(networks) => !networks.is_empty(),
                Test::Equal(_) | Test::Prefix(_) | Test::Present | Test::Absent => true,
            })
    }

    /// An address that is equal to a network is refused. Such texts are left to the tests.
    fn names_a_network(&self) -> bool {
        let mut texts =
            self.keyed().filter(|(key, _)| *key == ADDRESS).flat_map(|(_, of)| of.test.texts());
        texts.any(|text| text.contains('/'))
    }

    fn holds(&self, entries: &[(&str, Vec<u8>)]) -> bool {
        self.keyed().all(|(key, of)| {
            let value = entries.iter().find(|(other, _)| *other == key);
            of.holds(value.map(|(_, value)| &**value))
        })
    }
}

impl Condition<'_> {
    fn written(&self) -> String {
        let written = self.test.written();
        if self.is_negated { format!("{{ not: {written} }}") } else { written }
    }

    fn holds(&self, value: Option<&[u8]>) -> bool {
        match self.is_negated {
            true => value.is_some() && !self.test.holds(value),
            false => self.test.holds(value),
        }
    }
}

/// A text, or the beginning of one with a star at its end.
fn is_short(text: &str) -> bool {
    text.find('*').is_none_or(|at| at + 1 == text.len())
}

fn short_holds(text: &str, value: &[u8]) -> bool {
    match text.strip_suffix('*') {
        Some(prefix) => value.starts_with(prefix.as_bytes()),
        None => value == text.as_bytes(),
    }
}

impl<'a> Test<'a> {
    fn texts(&self) -> Vec<&'a str> {
        match self {
            Self::Short(text) | Self::Equal(text) | Self::Prefix(text) => vec![*text],
            Self::List(texts) | Self::OneOf(texts) => texts.clone(),
            Self::Cidr(_) | Self::Present | Self::Absent => Vec::new(),
        }
    }

    fn networks(&self) -> &[Network] {
        if let Self::Cidr(networks) = self { networks } else { &[] }
    }

    fn written(&self) -> String {
        let list = |texts: &[String]| format!("[{}]", texts.join(", "));
        let quoted_list =
            |texts: &[&str]| list(&texts.iter().map(|text| quoted(text)).collect::<Vec<_>>());
        match self {
            Self::Short(text) => quoted(text),
            Self::List(texts) => quoted_list(texts),
            Self::Equal(text) => format!("{{ equal: {} }}", quoted(text)),
            Self::OneOf(texts) => format!("{{ one_of: {} }}", quoted_list(texts)),
            Self::Prefix(text) => format!("{{ prefix: {} }}", quoted(text)),
            Self::Cidr(networks) => {
                let networks: Vec<_> =
                    networks.iter().map(|network| quoted(&network.written())).collect();
                format!("{{ cidr: {} }}", list(&networks))
            }
            Self::Present => "{ present: true }".to_owned(),
            Self::Absent => "{ absent: true }".to_owned(),
        }
    }

    fn holds(&self, value: Option<&[u8]>) -> bool {
        let Some(value) = value else { return matches!(self, Self::Absent) };
        match self {
            Self::Short(text) => short_holds(text, value),
            Self::List(texts) => texts.iter().any(|text| short_holds(text, value)),
            Self::Equal(text) => value == text.as_bytes(),
            Self::OneOf(texts) => texts.iter().any(|text| value == text.as_bytes()),
            Self::Prefix(text) => value.starts_with(text.as_bytes()),
            Self::Cidr(networks) => networks.iter().any(|network| network.holds(value)),
            Self::Present => true,
            Self::Absent => false,
        }
    }
}

impl Network {
    /// Whether it is within the well-known prefix, whose addresses count as IPv4 to other networks.
    fn is_nat64(self) -> bool {
        let (IpAddr::V6(first), 96..) = self.read() else { return false };
        u128::from(first) >> 32 == 0x64_ff9b_0000_0000_0000_0000
    }

    fn written(self) -> String {
        let (address, bits) = match self {
            Self::V4(address, bits) => {
                (Ipv4Addr::from(address).to_string(), bits.map(|bits| bits % 33))
            }
            Self::V6(address, bits) => {
                (Ipv6Addr::from(address).to_string(), bits.map(|bits| bits % 129))
            }
            Self::Mapped(address, bits) => {
                let address = Ipv4Addr::from(address).to_ipv6_mapped().to_string();
                (address, bits.map(|bits| 96 + bits % 33))
            }
        };
        bits.map_or_else(|| address.clone(), |bits| format!("{address}/{bits}"))
    }

    /// The first address of it, as 32 or 128 bits, and how many of them count.
    fn read(self) -> (IpAddr, u32) {
        match self {
            Self::V4(address, bits) | Self::Mapped(address, bits) => {
                (Ipv4Addr::from(address).into(), bits.map_or(32, |bits| u32::from(bits) % 33))
            }
            Self::V6(address, bits) => {
                let bits = bits.map_or(128, |bits| u32::from(bits) % 129);
                match Ipv6Addr::from(address).to_ipv4_mapped() {
                    Some(mapped) if bits >= 96 => (mapped.into(), bits - 96),
                    _ => (Ipv6Addr::from(address).into(), bits),
                }
            }
        }
    }

    fn holds(self, value: &[u8]) -> bool {
        let addresses =
            if self.is_nat64() { Addresses::new(None, []) } else { Addresses::default() };
        let Some(address) = addresses.read(value) else { return false };
        match (self.read(), address) {
            ((IpAddr::V4(first), bits), IpAddr::V4(address)) => {
                (u32::from(first) ^ u32::from(address)).leading_zeros() >= bits
            }
            ((IpAddr::V6(first), bits), IpAddr::V6(address)) => {
                (u128::from(first) ^ u128::from(address)).leading_zeros() >= bits
            }
            _ => false,
        }
    }
}

impl Value<'_> {
    fn bytes(&self, known: &[&Test<'_>]) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.to_vec(),
            Self::V4(address) => Ipv4Addr::from(*address).to_string().into(),
            Self::V6(address) => Ipv6Addr::from(*address).to_string().into(),
            Self::Mapped(address) => Ipv4Addr::from(*address).to_ipv6_mapped().to_string().into(),
            Self::V4WithPort(address, port, has_blank) => {
                let blank = if *has_blank { " " } else { "" };
                format!("{blank}{}:{port}{blank}", Ipv4Addr::from(*address)).into()
            }
            Self::V6WithPort(address, port, has_zone) => {
                let zone = if *has_zone { "%eth0" } else { "" };
                format!("[{}{zone}]:{port}", Ipv6Addr::from(*address)).into()
            }
            Self::Like(which, length, more) => {
                let texts: Vec<_> = known.iter().flat_map(|test| test.texts()).collect();
                let text = pick(&texts, *which).copied().unwrap_or_default();
                let text = text.strip_suffix('*').unwrap_or(text).as_bytes();
                let text = &text[..usize::from(*length).min(text.len())];
                [text, more.as_bytes()].concat()
            }
            Self::Near(which, bit) => {
                let networks: Vec<_> = known.iter().flat_map(|test| test.networks()).collect();
                let Some(network) = pick(&networks, *which) else { return Vec::new() };
                let address = match network.read().0 {
                    IpAddr::V4(v4) => Ipv4Addr::from(u32::from(v4) ^ (1 << (bit % 32))).into(),
                    IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) ^ (1 << (bit % 128))).into()),
                };
                address.to_string().into()
            }
        }
    }
}

fn pick<T>(list: &[T], which: u8) -> Option<&T> {
    list.get(usize::from(which).checked_rem(list.len())?)
}
