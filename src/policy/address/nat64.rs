//! IPv4 addresses that a NAT64 translator shows as IPv6 addresses, by RFC 6052.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

/// A prefix under which IPv6 addresses embed an IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nat64Prefix(Ipv6Net);

/// The lengths of a prefix, in bits: RFC 6052, section 2.2.
const LENGTHS: [u8; 6] = [32, 40, 48, 56, 64, 96];

/// The octet of an address that is 0 and carries nothing, unless the prefix reaches beyond it.
const RESERVED: usize = 8;

impl Nat64Prefix {
    /// The prefix that every translator may use: `64:ff9b::/96`.
    pub const WELL_KNOWN: Self =
        Self(Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96));

    /// A prefix of 32, 40, 48, 56, 64 or 96 bits; `None` for other lengths.
    pub fn new(network: Ipv6Net) -> Option<Self> {
        LENGTHS.contains(&network.prefix_len()).then(|| Self(network.trunc()))
    }

    /// Whether all addresses of a network are within the prefix.
    pub fn contains(self, network: Ipv6Net) -> bool {
        self.0.contains(&network)
    }

    /// The IPv4 address that an address within the prefix embeds.
    ///
    /// The well-known prefix never stands for a private address (RFC 6052, section 3.1): no translator sends one, so
    /// it must not satisfy a condition on the IPv4 network.
    pub(super) fn embedded(self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        if !self.0.contains(&address) {
            return None;
        }
        let length = usize::from(self.0.prefix_len() / 8);
        let octets = address.octets();
        let is_reserved_zero = length > RESERVED || octets.get(RESERVED) == Some(&0);
        let suffix = octets.iter().enumerate().skip(length).filter(|(at, _)| *at != RESERVED);
        let bits = suffix.take(4).fold(0, |bits: u32, (_, octet)| bits << 8 | u32::from(*octet));
        let embedded = Ipv4Addr::from(bits);
        let is_valid = is_reserved_zero && (self != Self::WELL_KNOWN || is_global(embedded));
        is_valid.then_some(embedded)
    }
}

impl fmt::Display for Nat64Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether an address may be that of a host in the Internet. The networks of examples (`192.0.2.0/24`) count as such.
fn is_global(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let is_shared = first == 100 && second & 0xc0 == 64;
    let is_reserved = first == 0 || first >= 224 || is_shared;
    !(is_reserved || address.is_private() || address.is_loopback() || address.is_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedded(prefix: &str, address: &str) -> Option<String> {
        let prefix = Nat64Prefix::new(prefix.parse().unwrap()).unwrap();
        prefix.embedded(address.parse().unwrap()).map(|address| address.to_string())
    }

    /// The examples of RFC 6052, section 2.4.
    #[test]
    fn an_address_is_embedded_as_the_length_of_the_prefix_says() {
        for (prefix, address) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
            ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
        ] {
            assert_eq!(embedded(prefix, address).as_deref(), Some("192.0.2.33"), "{prefix}");
        }
    }

    #[test]
    fn an_address_outside_the_prefix_or_with_a_reserved_octet_embeds_none() {
        assert_eq!(embedded("64:ff9b::/96", "64:ff9b:1::192.0.2.33"), None);
        assert_eq!(embedded("64:ff9b::/96", "64:ff9b::1:192.0.2.33"), None);
        assert_eq!(embedded("2001:db8::/32", "2001:db8:c000:221:ff00::"), None);
    }

    #[test]
    fn the_well_known_prefix_embeds_no_private_address_and_another_does() {
        for private in [
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "127.0.0.1",
            "169.254.0.1",
            "100.64.0.1",
            "0.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert_eq!(embedded("64:ff9b::/96", &format!("64:ff9b::{private}")), None, "{private}");
            let own = format!("64:ff9b:1::{private}");
            assert_eq!(embedded("64:ff9b:1::/96", &own).as_deref(), Some(private));
        }
        for global in ["100.63.0.1", "100.128.0.1", "172.32.0.1", "223.255.255.255", "1.0.0.1"] {
            let address = format!("64:ff9b::{global}");
            assert_eq!(embedded("64:ff9b::/96", &address).as_deref(), Some(global));
        }
    }

    #[test]
    fn a_prefix_has_one_of_six_lengths() {
        let lengths: Vec<u8> = (0..=128)
            .filter(|bits| {
                Nat64Prefix::new(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, *bits)).is_some()
            })
            .collect();
        assert_eq!(lengths, LENGTHS);
    }
}
