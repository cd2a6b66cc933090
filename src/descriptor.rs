//! The request to decide: a domain, descriptors, their entries and hits.
//!
//! Texts are borrowed from the decoded message, so that building a [`Query`] allocates nothing for an ordinary request.

mod error;
mod hits;
mod lease;
mod limit;
mod name;

use smallvec::SmallVec;

pub use self::error::BadRequest;
pub use self::hits::Hits;
pub use self::lease::LeaseId;
pub use self::limit::BroughtLimit;
pub use self::name::Name;

/// The key of the entry with the lease to release.
pub const LEASE: &str = "lease";

/// The most descriptors of one request. Envoy sends one for each `rate_limits` entry of a route.
pub const MAX_DESCRIPTORS: usize = 256;

/// The most entries of one descriptor. Envoy makes at most one for each action of a `rate_limits` entry, and actions
/// are written by hand.
pub const MAX_ENTRIES: usize = 64;

/// The longest key, in bytes. Keys come from Envoy's configuration, never from its clients.
pub const MAX_KEY_LENGTH: usize = 1 << 10;

/// One fact about the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What the fact is about; empty only in an irregular query.
    pub key: Name<'a>,
    /// The fact; may be empty. It is bytes, since Envoy may take it from a header, which may have any byte from 0x80 on
    /// (`obs-text`, RFC 9110, 5.5). Any length and any bytes are accepted: a client may choose the value, and Envoy
    /// lets requests pass for which it gets an error.
    pub value: &'a [u8],
}

impl Entry<'_> {
    const fn has_valid_key(&self) -> bool {
        matches!(self.key.len(), 1..=MAX_KEY_LENGTH)
    }
}

/// Ordered facts about one request, and the hits to charge for them.
#[derive(Debug, Clone, Copy)]
pub struct Descriptor<'q> {
    entries: &'q [Entry<'q>],
    attributes: &'q Attributes,
}

impl<'q> Descriptor<'q> {
    /// The entries, in order; none only in an irregular query.
    pub const fn entries(self) -> &'q [Entry<'q>] {
        self.entries
    }

    /// The hits to charge.
    pub const fn hits(self) -> Hits {
        self.attributes.hits
    }

    /// The limit override that Envoy sent, if any.
    pub const fn limit_override(self) -> Option<&'q BroughtLimit> {
        self.attributes.limit.as_ref()
    }

    /// The lease to release, if the hits are negative and there is an entry [`LEASE`]. Such a descriptor has no other
    /// effect. An invalid lease is [`LeaseId::NEVER_ISSUED`].
    pub const fn released_lease(self) -> Option<LeaseId> {
        self.attributes.released_lease
    }
}

/// The attributes of a descriptor beside its entries.
#[derive(Debug, Clone)]
struct Attributes {
    /// The end of its entries in those of the query.
    end: usize,
    hits: Hits,
    limit: Option<BroughtLimit>,
    released_lease: Option<LeaseId>,
}

/// One request. When complete, it has a domain and descriptors, and each descriptor has entries with keys, unless the query
/// is [irregular](Self::check).
///
/// It is built in place, since it is large: by [`Self::begin`], then for each descriptor by [`Self::entry`] and
/// [`Self::close`]. If one of these fails, the query must not be used.
///
/// ```
/// use tollgate::descriptor::{BadRequest, Hits, Query};
///
/// let mut query = Query::default();
/// query.begin("shop", 1)?;
/// query.entry("user", "ann");
/// query.entry("path", "/orders");
/// query.close(Hits::ONE, None)?;
/// let entries: Vec<_> = query.descriptors().flat_map(|descriptor| descriptor.entries()).collect();
/// assert_eq!((query.domain().as_str(), entries.len()), ("shop", 2));
/// assert_eq!(query.begin("", 1), Err(BadRequest::NoDomain));
/// # Ok::<(), BadRequest>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Query<'a> {
    domain: Name<'a>,
    /// The entries of all descriptors, one after another.
    entries: SmallVec<[Entry<'a>; 12]>,
    descriptors: SmallVec<[Attributes; 2]>,
    irregularity: Option<Box<BadRequest>>,
}

impl<'a> Query<'a> {
    /// Begins a request of `expected` descriptors.
    ///
    /// # Errors
    /// [`BadRequest`] if the domain is empty, or `expected` is 0 or above [`MAX_DESCRIPTORS`].
    #[inline(always)]
    pub fn begin(
        &mut self,
        domain: impl Into<Name<'a>>,
        expected: usize,
    ) -> Result<(), BadRequest> {
        self.domain = domain.into();
        match expected {
            _ if self.domain.is_empty() => return Err(BadRequest::NoDomain),
            0 => return Err(BadRequest::NoDescriptors),
            1..=MAX_DESCRIPTORS => {}
            more => return Err(BadRequest::TooManyDescriptors(more)),
        }
        self.entries.clear();
        self.descriptors.clear();
        self.irregularity = None;
        self.descriptors.reserve(expected);
        Ok(())
    }

    /// Adds an entry to the current descriptor.
    #[inline]
    pub fn entry(&mut self, key: impl Into<Name<'a>>, value: &'a (impl AsRef<[u8]> + ?Sized)) {
        self.entries.push(Entry { key: key.into(), value: value.as_ref() });
    }

    /// Ends the current descriptor.
    ///
    /// # Errors
    /// [`BadRequest`] if it has more than [`MAX_ENTRIES`] entries, or a key is too long. Each of these is a fault of
    /// Envoy's configuration, not of a client.
    pub fn close(&mut self, hits: Hits, limit: Option<BroughtLimit>) -> Result<(), BadRequest> {
        let at = self.descriptors.len();
        let entries = self.entries.get(self.end()..).unwrap_or_default();
        if entries.is_empty() {
            self.irregularity.get_or_insert_with(|| Box::new(BadRequest::NoEntries(at)));
        }
        if entries.len() > MAX_ENTRIES {
            return Err(BadRequest::TooManyEntries { descriptor: at, count: entries.len() });
        }
        for (entry, wrong) in entries.iter().enumerate().filter(|(_, of)| !of.has_valid_key()) {
            match wrong.key.len() {
                0 => {
                    let no_key = || Box::new(BadRequest::NoKey { descriptor: at, entry });
                    self.irregularity.get_or_insert_with(no_key);
                }
                bytes => return Err(BadRequest::LongKey { descriptor: at, entry, bytes }),
            }
        }
        // Of several leases, the first counts.
        let lease = if hits < Hits::PEEK { entries.iter().find(|e| e.key == *LEASE) } else { None };
        let released_lease =
            lease.map(|lease| LeaseId::parse(lease.value).unwrap_or(LeaseId::NEVER_ISSUED));
        self.descriptors.push(Attributes { end: self.entries.len(), hits, limit, released_lease });
        Ok(())
    }

    /// The end of the entries of complete descriptors.
    fn end(&self) -> usize {
        self.descriptors.last().map_or(0, |attributes| attributes.end)
    }

    /// Whether it is regular. A policy of tables takes no other; a descriptor tree does, as a domain without a policy does
    /// while a tree is in force.
    ///
    /// # Errors
    /// The first descriptor without entries, or entry without a key.
    pub fn check(&self) -> Result<(), &BadRequest> {
        self.irregularity.as_deref().map_or(Ok(()), Err)
    }

    /// The domain; not empty.
    pub const fn domain(&self) -> Name<'a> {
        self.domain
    }

    /// How many descriptors there are.
    pub fn len(&self) -> usize {
        self.descriptors.len()
    }

    /// Whether there are no descriptors.
    pub fn is_empty(&self) -> bool {
        self.descriptors.is_empty()
    }

    /// The descriptors, in order.
    pub fn descriptors(&self) -> impl Iterator<Item = Descriptor<'_>> {
        let mut begin = 0;
        self.descriptors.iter().map(move |attributes| {
            let entries = self.entries.get(begin..attributes.end).unwrap_or_default();
            begin = attributes.end;
            Descriptor { entries, attributes }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds a descriptor.
    fn add(
        query: &mut Query<'static>,
        entries: &[[&'static str; 2]],
        hits: Hits,
    ) -> Result<(), BadRequest> {
        entries.iter().for_each(|[key, value]| query.entry(*key, *value));
        query.close(hits, None)
    }

    fn begun(expected: usize) -> Query<'static> {
        let mut query = Query::default();
        query.begin("d", expected).unwrap();
        query
    }

    #[test]
    fn a_request_without_domain_or_descriptors_is_rejected_in_the_references_words() {
        let error = |domain, count| Query::default().begin(domain, count).unwrap_err().to_string();
        assert_eq!(error("", 1), "rate limit domain must not be empty");
        assert_eq!(error("d", 0), "rate limit descriptor list must not be empty");
        assert_eq!(error("d", 257), "257 descriptors; at most 256 are decided together");
    }

    #[test]
    fn an_entry_without_a_key_is_irregular_and_one_without_a_value_is_not() {
        let mut query = begun(3);
        add(&mut query, &[["tenant", ""]], Hits::ONE).unwrap();
        assert_eq!(query.check(), Ok(()));
        add(&mut query, &[], Hits::ONE).unwrap();
        add(&mut query, &[["", "x"]], Hits::ONE).unwrap();
        assert_eq!(query.check(), Err(&BadRequest::NoEntries(1)), "the first counts");
        let mut query = begun(3);
        add(&mut query, &[["a", "1"], ["", "x"]], Hits::ONE).unwrap();
        let no_key = BadRequest::NoKey { descriptor: 0, entry: 1 };
        assert_eq!(query.check(), Err(&no_key));
    }

    #[test]
    fn a_descriptor_as_large_as_can_be_is_taken_and_one_a_bit_larger_is_not() {
        let add = |entries: &[[&str; 2]]| {
            let mut query = Query::default();
            query.begin("d", 1).unwrap();
            entries.iter().for_each(|[key, value]| query.entry(*key, *value));
            query.close(Hits::ONE, None).map_err(|error| error.to_string())
        };
        let text = "x".repeat(MAX_KEY_LENGTH + 1);
        assert_eq!(add(&[[&text[1..], "v"]; MAX_ENTRIES]), Ok(()));
        assert_eq!(
            add(&[["k", "v"]; MAX_ENTRIES + 1]).unwrap_err(),
            "descriptor 0: 65 entries; send at most 64"
        );
        assert_eq!(
            add(&[["k", "v"], [&text, "v"]]).unwrap_err(),
            "descriptor 0, entry 1: key has 1025 bytes; send at most 1024"
        );
    }

    #[test]
    fn every_descriptor_has_its_own_entries() {
        let mut query = begun(2);
        add(&mut query, &[["a", "1"], ["b", "2"]], Hits::ONE).unwrap();
        add(&mut query, &[["c", "3"]], Hits::PEEK).unwrap();
        let keys =
            query.descriptors().map(|d| d.entries().iter().map(|e| e.key.as_str()).collect());
        assert_eq!(keys.collect::<Vec<Vec<_>>>(), [vec!["a", "b"], vec!["c"]]);
        assert_eq!(
            query.descriptors().map(Descriptor::hits).collect::<Vec<_>>(),
            [Hits::ONE, Hits::PEEK]
        );
    }

    #[test]
    fn only_negative_hits_release_a_lease() {
        let lease = "000102030405060708090a0b0c0d0e0f";
        let mut query = begun(3);
        add(&mut query, &[[LEASE, lease]], Hits::give_back(1)).unwrap();
        add(&mut query, &[[LEASE, lease]], Hits::ONE).unwrap();
        let releases: Vec<_> = query.descriptors().map(Descriptor::released_lease).collect();
        assert_eq!(releases, [LeaseId::parse(lease.as_bytes()), None]);
    }

    /// A client may choose it, and Envoy would let a rejected request pass.
    #[test]
    fn an_invalid_lease_is_one_that_was_never_issued() {
        let mut query = begun(1);
        add(&mut query, &[[LEASE, "mine"]], Hits::give_back(1)).unwrap();
        let releases: Vec<_> = query.descriptors().map(Descriptor::released_lease).collect();
        assert_eq!(releases, [Some(LeaseId::NEVER_ISSUED)]);
    }
}
