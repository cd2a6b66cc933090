//! Client addresses: every spelling of an address is the same client.

mod nat64;
mod reading;
mod spelling;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

pub use self::nat64::Nat64Prefix;
pub use self::reading::Addresses;

/// The entry whose value is parsed as an address if it is one.
pub const KEY: &str = "remote_address";

/// How many leading bits of an address name a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefixes {
    ipv4: u8,
    ipv6: u8,
}

impl Default for Prefixes {
    /// IPv4 by /32; IPv6 by /64, the smallest network that providers assign: one client can choose among its 2^64
    /// addresses.
    fn default() -> Self {
        Self { ipv4: 32, ipv6: 64 }
    }
}

impl Prefixes {
    /// Prefix lengths of 0 to 32 and 0 to 128 bits; `None` outside these ranges.
    pub fn new(ipv4: u8, ipv6: u8) -> Option<Self> {
        (ipv4 <= 32 && ipv6 <= 128).then_some(Self { ipv4, ipv6 })
    }

    /// Bits of an IPv4 address that count.
    pub const fn ipv4(self) -> u8 {
        self.ipv4
    }

    /// Bits of an IPv6 address that count.
    pub const fn ipv6(self) -> u8 {
        self.ipv6
    }

    /// The network of an address that counts, as in `2001:db8::/64`; the address itself if all of its bits count.
    pub fn network(self, address: IpAddr) -> String {
        let (bits, all) = match address {
            IpAddr::V4(_) => (self.ipv4, 32),
            IpAddr::V6(_) => (self.ipv6, 128),
        };
        let masked = self.mask(address);
        if bits == all { masked.to_string() } else { format!("{masked}/{bits}") }
    }

    /// Whether all addresses of a network count as one client.
    pub const fn is_one_client(self, network: IpNet) -> bool {
        match network {
            IpNet::V4(network) => self.ipv4 <= network.prefix_len(),
            IpNet::V6(network) => self.ipv6 <= network.prefix_len(),
        }
    }

    /// The address with every bit past the prefix cleared.
    pub fn mask(self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.ipv4)).unwrap_or(0);
                Ipv4Addr::from(u32::from(v4) & mask).into()
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.ipv6)).unwrap_or(0);
                Ipv6Addr::from(u128::from(v6) & mask).into()
            }
        }
    }
}

/// Parses an address: plain, with a port, in brackets, with a zone, in quotes or with blanks around it. An IPv4-mapped
/// IPv6 address (`::ffff:10.0.0.1`) becomes the IPv4 address. `None` for anything else, a network or a list included.
pub fn parse(value: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(value).ok()?;
    match text.parse::<IpAddr>() {
        Ok(address) => Some(address.to_canonical()),
        Err(_) => spelling::decorated(text).map(|address| address.to_canonical()),
    }
}

/// Parses an address in any spelling, or a network of a plain address, such as `2001:db8::/64`.
pub fn parse_network(value: &[u8]) -> Option<IpNet> {
    let text = std::str::from_utf8(value).ok()?;
    let Some((address, bits)) = text.split_once('/') else { return parse(value).map(IpNet::from) };
    let address = address.parse::<IpAddr>().ok()?.to_canonical();
    IpNet::new(address, bits.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(prefixes: Prefixes, text: &str) -> String {
        prefixes.mask(parse(text.as_bytes()).unwrap()).to_string()
    }

    #[test]
    fn ipv6_counts_by_64_bits_and_ipv4_whole() {
        let usual = Prefixes::default();
        assert_eq!(masked(usual, "2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(masked(usual, "192.0.2.77"), "192.0.2.77");
        assert_eq!(masked(usual, "::ffff:192.0.2.77"), "192.0.2.77");
    }

    #[test]
    fn a_network_has_a_prefix_length_and_an_address_has_none() {
        let network = |text: &str| Prefixes::default().network(parse(text.as_bytes()).unwrap());
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(network("::ffff:192.0.2.77"), "192.0.2.77");
    }

    #[test]
    fn a_network_contains_networks_and_addresses_with_its_prefix() {
        let read = |text: &str| parse_network(text.as_bytes()).unwrap();
        let contains = |one, other| read(one).contains(&read(other));
        assert!(contains("2001:db8:1:2::/64", "2001:db8:1:2:3::4"));
        assert!(contains("2001:db8:1:2::/64", "2001:db8:1:2::/64"));
        assert!(!contains("2001:db8:1:2::/64", "2001:db8:1:3::"));
        assert!(!contains("2001:db8:1:2::/64", "2001:db8:1:2::/63"));
        assert!(contains("192.0.2.0/24", "::ffff:192.0.2.77"));
        assert!(!contains("192.0.2.77", "192.0.2.78"));
        assert!(!contains("0.0.0.0/0", "::") && contains("::/0", "2001:db8::1"));
        assert!(contains("192.0.2.0/24", "192.0.2.77:443"));
        for wrong in [
            "",
            "a",
            "192.0.2.0/33",
            "::/129",
            "192.0.2.0/",
            "192.0.2.0/-1",
            "/24",
            "::/300",
            "192.0.2.0:443/24",
            "[2001:db8::]/32",
        ] {
            assert_eq!(parse_network(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(parse_network(b"192.0.2.77\xff"), None);
    }

    #[test]
    fn a_network_is_one_client_if_no_longer_prefix_counts() {
        let is_one_client =
            |text: &str| Prefixes::default().is_one_client(parse_network(text.as_bytes()).unwrap());
        assert!(
            is_one_client("2001:db8::1")
                && is_one_client("2001:db8::/64")
                && !is_one_client("2001:db8::/63")
        );
        assert!(is_one_client("192.0.2.77") && !is_one_client("192.0.2.0/31"));
    }

    #[test]
    fn every_prefix_length_works() {
        assert_eq!(masked(Prefixes::new(24, 48).unwrap(), "192.0.2.77"), "192.0.2.0");
        assert_eq!(masked(Prefixes::new(0, 0).unwrap(), "192.0.2.77"), "0.0.0.0");
        assert_eq!(masked(Prefixes::new(0, 0).unwrap(), "2001:db8::1"), "::");
        assert_eq!(masked(Prefixes::new(32, 128).unwrap(), "2001:db8::1"), "2001:db8::1");
        assert_eq!(Prefixes::new(33, 0), None);
        assert_eq!(Prefixes::new(0, 129), None);
    }
}
