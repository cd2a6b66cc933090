//! How a policy reads addresses: which element of a list counts, and which prefixes embed IPv4 addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};

use super::nat64::Nat64Prefix;
use super::{parse, parse_network};

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
    /// `trusted_hops` is how many elements at the end of a list are skipped; the one before them is the client's
    /// address. Each proxy appends the address of its peer, so the skipped ones are addresses of proxies. Without
    /// `trusted_hops` a list is no address. Addresses within `nat64` count as the IPv4 addresses that they embed.
    pub fn new(trusted_hops: Option<u8>, nat64: impl IntoIterator<Item = Nat64Prefix>) -> Self {
        Self { trusted_hops, nat64: nat64.into_iter().collect() }
    }

    /// Reads an address in any spelling. `None` for anything else.
    #[inline]
    pub fn read(&self, value: &[u8]) -> Option<IpAddr> {
        let address = self.written(value)?;
        let IpAddr::V6(v6) = address else { return Some(address) };
        Some(self.embedded(v6).map_or(address, IpAddr::V4))
    }

    /// Reads an address in any spelling, or a network of a plain address. `None` for a network within a NAT64 prefix,
    /// whose addresses count as IPv4 addresses, and for anything else.
    pub fn read_network(&self, value: &[u8]) -> Option<IpNet> {
        if let Some(address) = self.read(value) {
            return Some(address.into());
        }
        parse_network(value).filter(|network| !self.is_nat64(network))
    }

    /// Whether one of the networks contains the address that a value has. A network within a NAT64 prefix is compared
    /// with the address as it is written; others with the IPv4 address that it counts as.
    pub(in crate::policy) fn are_around(&self, networks: &[IpNet], value: &[u8]) -> bool {
        let Some(address) = self.written(value) else { return false };
        let embedded = match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => self.embedded(v6),
        };
        match embedded {
            None => networks.iter().any(|network| network.contains(&address)),
            Some(v4) => networks.iter().any(|network| match network {
                IpNet::V4(network) => network.contains(&v4),
                IpNet::V6(_) => self.is_nat64(network) && network.contains(&address),
            }),
        }
    }

    /// The address as it is written, the one that counts if it is a list.
    #[inline]
    fn written(&self, value: &[u8]) -> Option<IpAddr> {
        parse(value).or_else(|| self.in_list(value))
    }

    /// The IPv4 address that an address counts as.
    #[inline]
    fn embedded(&self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        self.nat64.iter().find_map(|prefix| prefix.embedded(address))
    }

    /// Whether all addresses of a network are within one NAT64 prefix.
    pub(in crate::policy) fn is_nat64(&self, network: &IpNet) -> bool {
        let within = |network: Ipv6Net| self.nat64.iter().any(|prefix| prefix.contains(network));
        matches!(network, IpNet::V6(network) if within(*network))
    }

    /// The client's address in a list. `None` if the list has only as many elements as are skipped, or fewer: it did
    /// not pass all of the proxies, so a client may have written any part of it. Empty elements count, as in Envoy.
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

    #[test]
    fn only_a_network_within_a_nat64_prefix_contains_the_address_as_it_is_written() {
        let is_in = |network: &str, value: &str| {
            let networks = [network.parse().unwrap()];
            Addresses::default().are_around(&networks, value.as_bytes())
        };
        let translated = "[64:ff9b::192.0.2.1]:443";
        for network in
            ["64:ff9b::/96", "64:ff9b::c000:200/120", "64:ff9b::c000:201/128", "192.0.2.0/24"]
        {
            assert!(is_in(network, translated), "{network}");
        }
        for network in ["::/0", "64:ff9b::/95", "64:ff9b::c000:202/128", "198.51.100.0/24"] {
            assert!(!is_in(network, translated), "{network}");
        }
        assert!(!is_in("64:ff9b::/96", "192.0.2.1"), "a plain IPv4 address");
        // What counts as IPv6 is within both.
        assert!(is_in("64:ff9b::/96", "64:ff9b::10.0.0.1") && is_in("::/0", "64:ff9b::10.0.0.1"));
        let listed = Addresses::new(Some(0), [Nat64Prefix::WELL_KNOWN]);
        let networks = ["64:ff9b::/96".parse().unwrap()];
        assert!(listed.are_around(&networks, b"10.0.0.1, 64:ff9b::192.0.2.1"));
        assert!(!listed.are_around(&networks, b"64:ff9b::192.0.2.1, 10.0.0.1"));
    }

    #[test]
    fn a_network_is_read_unless_its_addresses_count_as_ipv4() {
        let read = |value: &str| {
            let network = Addresses::default().read_network(value.as_bytes());
            network.map(|network| network.to_string())
        };
        for (value, network) in [
            ("64:ff9b::192.0.2.1", "192.0.2.1/32"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("2001:db8::/64", "2001:db8::/64"),
            ("64:ff9b::/95", "64:ff9b::/95"),
        ] {
            assert_eq!(read(value).as_deref(), Some(network), "{value}");
        }
        for value in ["64:ff9b::/96", "64:ff9b::c000:200/120", "192.0.2.1, 192.0.2.2", ""] {
            assert_eq!(read(value), None, "{value}");
        }
    }
}
