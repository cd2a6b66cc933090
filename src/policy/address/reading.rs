//! How a policy reads addresses: which element of a list counts, and which prefixes embed IPv4 addresses.

use std::net::IpAddr;

use super::nat64::Nat64Prefix;
use super::parse;

/// How a policy reads addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    trusted_hops: Option<u8>,
    nat64: Box<[Nat64Prefix]>,
}

impl Default for Addresses {
    /// A list is no address; the well-known NAT64 prefix embeds IPv4 addresses.
    fn default() -> Self {
        Self { trusted_hops: None, nat64: [Nat64Prefix::WELL_KNOWN].into() }
    }
}

impl Addresses {
    /// With `trusted_hops`, the element of a list that counts is the one after so many from the right: each proxy
    /// appends the address of its peer, so as many are those of proxies. Without it a list is no address. Addresses
    /// within `nat64` count as the IPv4 addresses that they embed.
    pub fn new(trusted_hops: Option<u8>, nat64: impl IntoIterator<Item = Nat64Prefix>) -> Self {
        Self { trusted_hops, nat64: nat64.into_iter().collect() }
    }

    /// The prefixes whose addresses count as IPv4 addresses.
    pub fn nat64(&self) -> &[Nat64Prefix] {
        &self.nat64
    }

    /// Reads an address in any spelling. `None` for anything else.
    #[inline]
    pub fn read(&self, value: &[u8]) -> Option<IpAddr> {
        let address = match parse(value) {
            Some(address) => address,
            None => self.in_list(value)?,
        };
        match address {
            IpAddr::V4(_) => Some(address),
            IpAddr::V6(v6) => {
                let embedded = self.nat64.iter().find_map(|prefix| prefix.embedded(v6));
                Some(embedded.map_or(address, IpAddr::V4))
            }
        }
    }

    /// The address that counts of a list. A list without so many elements has none: it did not come through all of the
    /// proxies, so a client may have written any part of it. Empty elements are elements, as they are to Envoy.
    #[cold]
    fn in_list(&self, value: &[u8]) -> Option<IpAddr> {
        let hops = usize::from(self.trusted_hops?);
        parse(value.rsplit(|byte| *byte == b',').nth(hops)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(addresses: &Addresses, value: &str) -> Option<String> {
        addresses.read(value.as_bytes()).map(|address| address.to_string())
    }

    fn after(hops: u8) -> Addresses {
        Addresses::new(Some(hops), [])
    }

    #[test]
    fn a_list_is_no_address_unless_the_policy_says_which_element_counts() {
        let list = "203.0.113.9, 203.0.113.1,192.0.2.2 , 192.0.2.3";
        assert_eq!(read(&Addresses::default(), list), None);
        for (hops, address) in
            [(0, Some("192.0.2.3")), (1, Some("192.0.2.2")), (3, Some("203.0.113.9")), (4, None)]
        {
            assert_eq!(read(&after(hops), list).as_deref(), address, "{hops}");
        }
    }

    #[test]
    fn what_a_client_puts_in_front_changes_nothing() {
        for claim in ["10.0.0.1", "unknown", "", "a, b", "192.0.2.1,", "\"192.0.2.1, x\"", "\u{e9}"]
        {
            let list = format!("{claim}, [2001:db8::1]:443, 192.0.2.3");
            assert_eq!(read(&after(1), &list).as_deref(), Some("2001:db8::1"), "{claim}");
        }
        let mut list = b"\xff, ".to_vec();
        list.extend(b"192.0.2.1");
        assert_eq!(after(0).read(&list), Some([192, 0, 2, 1].into()));
    }

    #[test]
    fn an_element_that_is_no_address_does_not_make_way_for_another() {
        for list in ["192.0.2.1, unknown", "192.0.2.1,", "192.0.2.1, ,", "192.0.2.1, 192.0.2.2:x"] {
            assert_eq!(read(&after(0), list), None, "{list}");
        }
    }

    #[test]
    fn a_single_address_is_no_list() {
        assert_eq!(read(&after(3), "192.0.2.1:443").as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn an_address_within_a_nat64_prefix_counts_as_ipv4() {
        let usual = Addresses::default();
        assert_eq!(read(&usual, "64:ff9b::192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(read(&usual, "[64:ff9b::c000:201]:443").as_deref(), Some("192.0.2.1"));
        assert_eq!(read(&usual, "2001:db8::1").as_deref(), Some("2001:db8::1"));
        let none = Addresses::new(None, []);
        assert_eq!(read(&none, "64:ff9b::192.0.2.1").as_deref(), Some("64:ff9b::c000:201"));
        let own = Nat64Prefix::new("2001:db8:64::/96".parse().unwrap()).unwrap();
        let own = Addresses::new(Some(0), [Nat64Prefix::WELL_KNOWN, own]);
        assert_eq!(read(&own, "x, 2001:db8:64::10.0.0.1").as_deref(), Some("10.0.0.1"));
    }
}
