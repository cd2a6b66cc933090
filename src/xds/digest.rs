//! Whether two responses have the same resources.

use prost_types::Any;
use sha2::{Digest as _, Sha256};

/// A SHA-256 hash of resources in any order: a control plane may keep them in a map, and send them in another order each
/// time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    /// The digest of some resources.
    pub(super) fn of<'a>(resources: impl IntoIterator<Item = &'a Any>) -> Self {
        let mut each: Vec<[u8; 32]> = resources.into_iter().map(of_resource).collect();
        each.sort_unstable();
        Self::of_bytes(&each.concat())
    }

    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

fn of_resource(resource: &Any) -> [u8; 32] {
    let mut hash = Sha256::new();
    // The length separates type and content.
    hash.update(resource.type_url.len().to_be_bytes());
    hash.update(&resource.type_url);
    hash.update(&resource.value);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(type_url: &str, value: &[u8]) -> Any {
        Any { type_url: type_url.to_owned(), value: value.to_vec() }
    }

    #[test]
    fn only_the_order_of_resources_does_not_count() {
        let (a, b) = (resource("t", b"a"), resource("t", b"b"));
        assert_eq!(Digest::of([&a, &b]), Digest::of([&b, &a]));
        for other in [vec![&a], vec![&a, &a], vec![&a, &b, &b], vec![]] {
            assert_ne!(Digest::of([&a, &b]), Digest::of(other));
        }
        assert_ne!(Digest::of([&resource("ta", b"b")]), Digest::of([&resource("t", b"ab")]));
    }
}
