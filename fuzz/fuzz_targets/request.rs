//! A RateLimitRequest's bytes: read as prost reads them, and answered.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use prost::Message;
use tollgate::descriptor::{BadRequest, Hits, Query};
use tollgate::policy::fingerprint::FingerprintKey;
use tollgate::wire::{self, RateLimitRequest};
use tollgate_fuzz::parts::Parts;

static PARTS: LazyLock<Parts> = LazyLock::new(|| Parts::usual(FingerprintKey::fixed(0)));

fuzz_target!(|message: &[u8]| {
    match (RateLimitRequest::decode(message), wire::decode(message)) {
        (Ok(sent), Ok(read)) => check_same(&read, &sent),
        (Ok(sent), Err(BadRequest::NoDomain)) => assert!(sent.domain.is_empty()),
        (Ok(sent), Err(BadRequest::NoDescriptors)) => assert!(sent.descriptors.is_empty()),
        (Ok(_), Err(BadRequest::Malformed(error))) => panic!("prost reads what we do not: {error}"),
        // What a question must be like is more than what a message must.
        (Ok(_) | Err(_), Err(_)) => {}
        // Values may be of any bytes, which no string of protobuf may.
        (Err(error), Ok(_)) => assert!(error.to_string().contains("UTF-8"), "{error}"),
    }
    PARTS.begin().ask_twice(message);
});

fn check_same(read: &Query<'_>, sent: &RateLimitRequest) {
    assert_eq!(read.domain(), *sent.domain);
    assert_eq!(read.len(), sent.descriptors.len());
    for (read, of) in read.descriptors().zip(&sent.descriptors) {
        assert_eq!(read.entries().len(), of.entries.len());
        for (read, sent) in read.entries().iter().zip(&of.entries) {
            assert_eq!(of_any(&read.key.as_str()), of_any(&sent.key));
            assert_eq!(of_any(&read.value), of_any(&sent.value));
        }
        let count = of.hits_addend.unwrap_or_else(|| sent.hits_addend.max(1).into());
        let hits = if of.is_negative_hits { Hits::give_back(count) } else { Hits::charge(count) };
        assert_eq!(read.hits(), hits);
        assert_eq!(read.limit_override().is_some(), of.limit.is_some());
    }
}

/// A text or bytes, as bytes.
fn of_any<T: AsRef<[u8]> + ?Sized>(text: &T) -> &[u8] {
    text.as_ref()
}
