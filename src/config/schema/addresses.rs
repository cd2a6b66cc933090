//! How addresses are read, as the file has it.

use super::super::document::Located;
use super::super::read::Node;

/// The most proxies that `trusted_hops` counts.
pub(in crate::config) const MAX_HOPS: u32 = 255;

pub(in crate::config) struct Addresses {
    pub(in crate::config) trusted_hops: Option<Located<u32>>,
    /// `None` if the file does not say; an empty list is none.
    pub(in crate::config) nat64: Option<Vec<Located<String>>>,
}

pub(super) fn addresses(node: &Node<'_>) -> Option<Addresses> {
    let mut fields = node.fields("how addresses are read: `trusted_hops` and `nat64`")?;
    let trusted_hops = fields.take("trusted_hops").and_then(|node| node.whole(0..=MAX_HOPS));
    let nat64 = fields.take("nat64").map(|node| {
        node.list("a list of prefixes, as in `[64:ff9b::/96]`")
            .iter()
            .filter_map(Node::text)
            .collect()
    });
    fields.finish();
    Some(Addresses { trusted_hops, nat64 })
}
