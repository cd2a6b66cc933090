//! Buckets that were lately seen near their limit, or over it, with the words that name them.
//!
//! The store knows buckets by their fingerprints only. Whoever wants to know which tenants are at their limit
//! needs names, so these are noted when a request meets such a bucket. That costs the request next to
//! nothing: a bucket is noted once in [`NOTED_FOR`], nobody waits for a lock, and memory is allocated for a
//! bucket that is not listed yet only. The list is bounded; what was seen longest ago goes first.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use ipnet::IpNet;
use parking_lot::Mutex;

use crate::clock::{Nanos, Timestamp};
use crate::decision::{Decided, Verdict};
use crate::descriptor::{Entry, Query, as_text};
use crate::limit::Bucket;
use crate::policy::Policy;
use crate::policy::address;
use crate::policy::fingerprint::Fingerprint;
use crate::store::{Outcome, Wait};

/// The most buckets that are listed.
pub const MOST: usize = PARTS * MOST_OF_A_PART;

const PARTS: usize = 16;

/// Few enough to look through all of them for the one that goes.
const MOST_OF_A_PART: usize = 256;

/// The longest text kept of a key or a value, in characters.
pub const LONGEST: usize = 128;

/// The most entries kept of those that name a bucket.
const MOST_ENTRIES: usize = 8;

/// How many bits of a time in nanoseconds are dropped to get the span within which a bucket is noted once.
const SPAN_BITS: u32 = 27;

/// How long a bucket that was noted is left alone: 134 ms.
pub const NOTED_FOR: Nanos = Nanos::new(1 << SPAN_BITS);

/// The key of an entry and its value, which may be any bytes.
pub type NamedEntry = (Box<str>, Box<[u8]>);

/// What a bucket is called. Values are what clients sent: who prints one escapes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The policy's domain.
    pub domain: Box<str>,
    /// The table, or `limit override` for a limit that Envoy brings along.
    pub table: Box<str>,
    /// The row.
    pub row: Box<str>,
    /// The keys and values of the entries that name the bucket, in order. Of an address, the network that
    /// counts.
    pub key: Box<[NamedEntry]>,
    /// Whether [`Self::key_text`] is less than what names the bucket: a text is cut after [`LONGEST`] characters,
    /// with an ellipsis, and the list after eight entries; and bytes that are no UTF-8 are told as text.
    pub is_cut: bool,
    /// Whether the row is in shadow, so that the bucket denies nobody.
    pub is_shadow: bool,
}

impl Named {
    /// The name of a bucket that a query has met.
    pub fn of(policy: &Policy, query: &Query<'_>, decided: &Decided<'_>) -> Self {
        let row = decided.met.row;
        let descriptor = query.descriptors().nth(decided.met.descriptor);
        let key = descriptor.map(|descriptor| policy.named_by(descriptor, row)).unwrap_or_default();
        let is_less = |(name, value): &(&str, Vec<u8>)| is_long(name) || !is_told_whole(value);
        Self {
            domain: policy.domain().into(),
            table: row.table().into(),
            row: row.name().into(),
            is_cut: key.len() > MOST_ENTRIES || key.iter().any(is_less),
            key: key
                .iter()
                .take(MOST_ENTRIES)
                .map(|(name, value)| (cut(name), cut_value(value)))
                .collect(),
            is_shadow: row.is_shadow(),
        }
    }

    /// The key as text, for JSON. It is what clients sent, unescaped but for bytes that are no UTF-8.
    pub fn key_text(&self) -> Vec<[Cow<'_, str>; 2]> {
        self.key.iter().map(|(name, value)| [Cow::Borrowed(&**name), as_text(value)]).collect()
    }

    /// Whether the bucket's key has one of the entries that are asked for, and no other value for any of them.
    pub fn is_for(&self, asked: &Asked) -> bool {
        let given = self.key.iter().filter_map(|(name, value)| {
            let asked = asked.0.iter().find(|asked| asked.key == *name)?;
            let network = || address::network(value).zip(asked.network);
            Some(*value == asked.value || network().is_some_and(|(all, some)| all.contains(&some)))
        });
        let mut same = given.peekable();
        same.peek().is_some() && same.all(|same| same)
    }
}

/// Entries that are asked for, cut as names of buckets are.
#[derive(Debug)]
pub struct Asked(Vec<AskedEntry>);

#[derive(Debug)]
struct AskedEntry {
    key: Box<str>,
    value: Box<[u8]>,
    /// What the value is, where it is an address.
    network: Option<IpNet>,
}

impl Asked {
    /// Cuts entries once, however many buckets there are to compare them with.
    pub fn new(entries: &[Entry<'_>]) -> Self {
        let of = |Entry { key, value }: &Entry<'_>| {
            let is_address = *key == address::KEY;
            let network = if is_address { address::network(value) } else { None };
            AskedEntry { key: cut(key), value: cut_value(value), network }
        };
        Self(entries.iter().map(of).collect())
    }
}

fn is_long(text: &str) -> bool {
    text.chars().nth(LONGEST).is_some()
}

fn cut(text: &str) -> Box<str> {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => {
            let kept = text.get(..end).unwrap_or_default();
            format!("{kept}…").into()
        }
        None => text.into(),
    }
}

/// Whether [`Named::key_text`] tells a value as it is.
pub fn is_told_whole(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok_and(|text| !is_long(text))
}

/// A value that is no text has an unknown number of characters: it is cut after as many bytes.
fn cut_value(value: &[u8]) -> Box<[u8]> {
    match (std::str::from_utf8(value), value.get(..LONGEST)) {
        (Ok(text), _) => cut(text).into_boxed_bytes(),
        (Err(_), Some(kept)) if value.len() > LONGEST => [kept, "…".as_bytes()].concat().into(),
        _ => value.into(),
    }
}

/// Text that can be printed anywhere, of any bytes, cut with an ellipsis after [`LONGEST`] characters.
pub fn shown(value: impl AsRef<[u8]>) -> Box<str> {
    let mut shown = String::new();
    for chunk in value.as_ref().utf8_chunks() {
        shown.extend(chunk.valid().escape_debug().take(LONGEST + 1));
        for byte in chunk.invalid() {
            // A String takes whatever is written to it.
            let _ = write!(shown, "\\x{byte:02x}");
        }
        if let Some((end, _)) = shown.char_indices().nth(LONGEST) {
            shown.truncate(end);
            shown.push('…');
            break;
        }
    }
    shown.into()
}

/// How near a bucket is to its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It cannot admit a call of one hit.
    Over,
    /// Less than a tenth is left.
    Near,
    /// A tenth is left, or more.
    Clear,
}

impl Standing {
    /// How a bucket stands that would say this to a call of one hit.
    pub fn of(bucket: &Bucket, outcome: &Outcome) -> Self {
        if outcome.wait != Wait::No || outcome.remaining == 0 {
            Self::Over
        } else if u64::from(outcome.remaining) * 10 < u64::from(bucket.size()) {
            Self::Near
        } else {
            Self::Clear
        }
    }

    /// The word for it: `over`, `near` or `clear`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Over => "over",
            Self::Near => "near",
            Self::Clear => "clear",
        }
    }
}

/// A bucket of the list.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The bucket's name in the store.
    pub fingerprint: Fingerprint,
    /// The bucket's name for people.
    pub named: Arc<Named>,
    /// What it is.
    pub bucket: Bucket,
    /// How it stood.
    pub outcome: Outcome,
    /// When that was.
    pub at: Timestamp,
}

impl Seen {
    /// How near it is to its limit.
    pub fn standing(&self) -> Standing {
        Standing::of(&self.bucket, &self.outcome)
    }

    /// What is left of it, of 2^32 when it is full.
    pub fn fill(&self) -> u64 {
        let left = u64::from(self.outcome.remaining) << 32;
        left.checked_div(self.bucket.size().into()).unwrap_or(0)
    }
}

type Part = HashMap<Fingerprint, Seen>;

/// The list.
#[derive(Debug)]
pub struct Near {
    parts: [Mutex<Part>; PARTS],
    /// What was noted last at each place, and in which span of time: what says the same need not be noted.
    noted: Box<[AtomicU64]>,
}

impl Default for Near {
    fn default() -> Self {
        Self {
            parts: std::array::from_fn(|_| Mutex::default()),
            noted: (0..MOST).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Near {
    /// Notes those buckets of a verdict that are over their limit, or have less than a tenth left. What is blocked
    /// is near nothing: it would be listed for good, in place of what will pass again.
    #[inline]
    pub fn note(&self, policy: &Policy, query: &Query<'_>, verdict: &Verdict<'_>, now: Timestamp) {
        for decided in &verdict.decided {
            let (met, outcome) = (decided.met, decided.outcome);
            let is_near = Standing::of(met.bucket, &outcome) != Standing::Clear
                && !matches!(met.bucket, Bucket::Blocked(_));
            if is_near && !self.is_noted(met.fingerprint, now) {
                let named = || Named::of(policy, query, decided);
                self.note_one(met.fingerprint, *met.bucket, outcome, now, named);
            }
        }
    }

    /// Every bucket that is listed, in no order.
    pub fn list(&self) -> Vec<Seen> {
        let mut all = Vec::new();
        for part in &self.parts {
            all.extend(part.lock().values().cloned());
        }
        all
    }

    /// Takes a bucket off the list until it is seen again.
    pub fn forget(&self, fingerprint: Fingerprint) {
        if let Some(part) = self.part(fingerprint) {
            part.lock().remove(&fingerprint);
        }
        // By the very next call.
        if let Some(place) = self.place(fingerprint) {
            place.store(0, Ordering::Relaxed);
        }
    }

    /// The bucket of that name, if it is listed.
    pub fn get(&self, fingerprint: Fingerprint) -> Option<Seen> {
        self.part(fingerprint)?.lock().get(&fingerprint).cloned()
    }

    fn is_noted(&self, fingerprint: Fingerprint, now: Timestamp) -> bool {
        let mark = mark(fingerprint, now);
        self.place(fingerprint).is_some_and(|place| place.load(Ordering::Relaxed) == mark)
    }

    #[cold]
    #[inline(never)]
    fn note_one(
        &self,
        fingerprint: Fingerprint,
        bucket: Bucket,
        outcome: Outcome,
        at: Timestamp,
        named: impl FnOnce() -> Named,
    ) {
        // A bucket that is not noted now will be by the next call.
        let Some(mut part) = self.part(fingerprint).and_then(Mutex::try_lock) else { return };
        if let Some(place) = self.place(fingerprint) {
            place.store(mark(fingerprint, at), Ordering::Relaxed);
        }
        if let Some(seen) = part.get_mut(&fingerprint) {
            (seen.bucket, seen.outcome, seen.at) = (bucket, outcome, at);
            return;
        }
        if part.len() >= MOST_OF_A_PART {
            let oldest = part.values().min_by_key(|seen| seen.at).map(|seen| seen.fingerprint);
            oldest.and_then(|oldest| part.remove(&oldest));
        }
        let named = Arc::new(named());
        part.insert(fingerprint, Seen { fingerprint, named, bucket, outcome, at });
    }

    // The upper half of the hash: the lower one is the same for all buckets of a row.

    fn place(&self, fingerprint: Fingerprint) -> Option<&AtomicU64> {
        let upper = usize::try_from(fingerprint.hash64() >> 32).unwrap_or(0);
        self.noted.get(upper % MOST)
    }

    fn part(&self, fingerprint: Fingerprint) -> Option<&Mutex<Part>> {
        let upper = usize::try_from(fingerprint.hash64() >> 48).unwrap_or(0);
        self.parts.get(upper % PARTS)
    }
}

/// Which bucket, in which span of time.
fn mark(fingerprint: Fingerprint, now: Timestamp) -> u64 {
    fingerprint.hash64().wrapping_add(now.as_unix_nanos() >> SPAN_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Period, Rate, TokenBucket, Unit};
    use crate::policy::identity::name_for_tests;

    const NOW: Timestamp = Timestamp::from_unix_nanos(1 << 60);

    fn note(near: &Near, key: usize, at: Timestamp) {
        let rate = Rate::new(20, Period::one(Unit::Day)).unwrap();
        let bucket = Bucket::Tokens(TokenBucket::new(20, rate).unwrap());
        let fingerprint = name_for_tests(&key.to_string());
        let outcome = Outcome { wait: Wait::No, remaining: 0, reset: Nanos::ZERO };
        near.note_one(fingerprint, bucket, outcome, at, || Named {
            domain: "d".into(),
            table: "t".into(),
            row: "always".into(),
            key: [("k".into(), key.to_string().into_bytes().into())].into(),
            is_cut: false,
            is_shadow: false,
        });
    }

    fn keys(near: &Near) -> Vec<usize> {
        near.list().iter().map(|seen| seen.named.key_text()[0][1].parse().unwrap()).collect()
    }

    #[test]
    fn nothing_that_is_acted_on_is_shown() {
        assert_eq!(
            &*shown("Zoë \"a\"\r\n\u{1b}[31m\u{202e}\u{2028}\0"),
            "Zoë \\\"a\\\"\\r\\n\\u{1b}[31m\\u{202e}\\u{2028}\\0"
        );
        assert_eq!(*shown("x".repeat(LONGEST)), "x".repeat(LONGEST));
        assert_eq!(*shown("ë".repeat(LONGEST + 1)), "ë".repeat(LONGEST) + "…");
        assert_eq!(*shown(b"a\xff\n\xc3"), *"a\\xff\\n\\xc3");
        assert_eq!(*shown([0xff; LONGEST]), "\\xff".repeat(LONGEST / 4) + "…");
    }

    #[test]
    fn a_value_that_is_no_text_is_cut_like_one_and_not_told_whole() {
        assert_eq!(*cut_value(b"\xff\xfe"), *b"\xff\xfe");
        assert_eq!(*cut_value(&[0xff; LONGEST + 1]), *[&[0xff; LONGEST], "…".as_bytes()].concat());
        assert!(is_told_whole(b"acme") && !is_told_whole(b"acme\xff"));
    }

    #[test]
    fn the_list_is_bounded_and_what_was_seen_longest_ago_goes() {
        let near = Near::default();
        let mut at = NOW;
        for key in 0..MOST * 3 {
            at = at.after(Nanos::new(1));
            note(&near, key, at);
            // Seen again and again, however old.
            note(&near, 7, at);
        }
        let keys = keys(&near);
        assert!(keys.len() > MOST * 9 / 10 && keys.len() <= MOST, "{}", keys.len());
        assert!(keys.contains(&7) && keys.contains(&(MOST * 3 - 1)));
        let oldest = keys.iter().filter(|key| **key != 7).min().unwrap();
        assert!(*oldest > MOST, "{oldest}: a part is about as full as others");
    }

    #[test]
    fn whoever_finds_the_list_busy_goes_on_without_it() {
        let near = Near::default();
        let held: Vec<_> = near.parts.iter().map(Mutex::lock).collect();
        note(&near, 1, NOW);
        assert!(!near.is_noted(name_for_tests("1"), NOW), "the next call is to note it");
        drop(held);
        assert_eq!(near.list().len(), 0);
        note(&near, 1, NOW);
        assert_eq!(keys(&near), [1]);
        assert!(near.is_noted(name_for_tests("1"), NOW));
        assert!(!near.is_noted(name_for_tests("1"), NOW.after(NOTED_FOR)));
        assert!(!near.is_noted(name_for_tests("2"), NOW));
        near.forget(name_for_tests("1"));
        assert_eq!(keys(&near).len(), 0);
        assert!(!near.is_noted(name_for_tests("1"), NOW), "it may be near its limit again at once");
    }
}
