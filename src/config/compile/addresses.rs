//! How addresses are read.

use ipnet::Ipv6Net;

use super::super::document::{Document, Located};
use super::super::path::shown;
use super::super::schema;
use crate::policy::address::{Addresses, Nat64Prefix};

/// NAT64 prefixes of a policy: each IPv6 address is compared with all of them.
const MAX_PREFIXES: usize = 16;

pub(super) fn addresses(written: Option<&schema::Addresses>, document: &Document<'_>) -> Addresses {
    let Some(schema::Addresses { trusted_hops, nat64 }) = written else {
        return Addresses::default();
    };
    let trusted_hops = trusted_hops.as_ref().and_then(|hops| self::hops(hops, document));
    match nat64 {
        Some(listed) => Addresses::new(trusted_hops, prefixes(listed, document)),
        None => Addresses::new(trusted_hops, [Nat64Prefix::WELL_KNOWN]),
    }
}

fn hops(Located { value, path }: &Located<u32>, document: &Document<'_>) -> Option<u8> {
    let hops = u8::try_from(*value).ok();
    if hops.is_none() {
        let what = format!(
            "`trusted_hops` is the number of your own proxies in front of Envoy, at most {}",
            schema::MAX_HOPS
        );
        document.report(path, what);
    }
    hops
}

fn prefixes(listed: &[Located<String>], document: &Document<'_>) -> Vec<Nat64Prefix> {
    if let Some(Located { path, .. }) = listed.get(MAX_PREFIXES) {
        document.report(
            path,
            format!("a policy has at most {MAX_PREFIXES} NAT64 prefixes; shorten the list"),
        );
    }
    listed.iter().take(MAX_PREFIXES).filter_map(|text| prefix(text, document)).collect()
}

fn prefix(
    Located { value, path }: &Located<String>,
    document: &Document<'_>,
) -> Option<Nat64Prefix> {
    let prefix = value.parse::<Ipv6Net>().ok().and_then(Nat64Prefix::new);
    if prefix.is_none() {
        let what = format!(
            "`{}` is not a NAT64 prefix; write an IPv6 network of 32, 40, 48, 56, 64 or 96 bits, such as \
             `64:ff9b::/96`",
            shown(value)
        );
        document.report(path, what);
    }
    prefix
}
