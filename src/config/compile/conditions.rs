//! Conditions.

use hashbrown::HashSet;
use ipnet::{IpNet, Ipv4Net};

use super::super::document::{Document, Located};
use super::super::path::shown;
use super::super::schema;
use crate::policy::condition::{Condition, Conditions, Matcher};
use crate::policy::values::{KeyIndex, Keys};

/// Compiles conditions, assigns indexes to the keys that they test, and collects the endpoint groups that they name.
pub(in crate::config) struct Reader<'a> {
    pub(in crate::config) document: &'a Document<'a>,
    pub(in crate::config) keys: &'a mut Keys,
    pub(in crate::config) groups: Vec<Located<String>>,
}

impl Reader<'_> {
    pub(in crate::config) fn read(&mut self, when: &schema::When) -> Conditions {
        let conditions = when.tests.iter().map(|(key, test)| {
            let index = self.keys.intern(&key.value);
            if index == KeyIndex::ENDPOINT_GROUP {
                self.collect_groups(test);
            }
            if index == KeyIndex::REMOTE_ADDRESS {
                self.check_addresses(test);
            }
            Condition { key: index, matcher: self.test(test) }
        });
        Conditions(conditions.collect())
    }

    fn collect_groups(&mut self, test: &schema::Test) {
        match test {
            schema::Test::Equal(group) => self.groups.push(group.clone()),
            schema::Test::Any(tests) => tests.iter().for_each(|test| self.collect_groups(test)),
            schema::Test::Not(test) => self.collect_groups(test),
            _ => {}
        }
    }

    /// Reports a network without `cidr`: it is compared as text, and no address equals it.
    fn check_addresses(&self, test: &schema::Test) {
        match test {
            schema::Test::Equal(Located { value, path }) if value.parse::<IpNet>().is_ok() => {
                let what = "an address never equals a network; write `{ cidr: [..] }` to match addresses in it";
                self.document.report(path, what);
            }
            schema::Test::Any(tests) => tests.iter().for_each(|test| self.check_addresses(test)),
            schema::Test::Not(test) => self.check_addresses(test),
            _ => {}
        }
    }

    fn test(&self, test: &schema::Test) -> Matcher {
        match test {
            schema::Test::Equal(text) => Matcher::Equal((*text.value).into()),
            schema::Test::Prefix(text) => Matcher::Prefix((**text).into()),
            schema::Test::Present => Matcher::Present,
            schema::Test::Absent => Matcher::Absent,
            schema::Test::Cidr(networks) => {
                Matcher::Cidr(networks.iter().filter_map(|text| self.network(text)).collect())
            }
            schema::Test::Any(tests) => self.any(tests),
            schema::Test::Not(test) => Matcher::Not(Box::new(self.test(test))),
        }
    }

    /// Whole values go into one set; only the other tests are tried one by one.
    fn any(&self, tests: &[schema::Test]) -> Matcher {
        let whole: HashSet<Box<str>> = tests.iter().filter_map(whole_value).collect();
        let rest = tests.iter().filter(|test| whole_value(test).is_none());
        let mut rest: Vec<Matcher> = rest.map(|test| self.test(test)).collect();
        if rest.is_empty() {
            return Matcher::OneOf(whole.into_iter().collect());
        }
        if !whole.is_empty() {
            rest.push(Matcher::OneOf(whole.into_iter().collect()));
        }
        Matcher::Any(rest.into())
    }

    fn network(&self, text: &Located<String>) -> Option<IpNet> {
        let network = text.value.parse::<IpNet>().ok();
        let one = || text.value.parse::<std::net::IpAddr>().ok().map(IpNet::from);
        let network = network.or_else(one).map(|network| canonical(network.trunc()));
        if network.is_none() {
            let value = shown(&text.value);
            let what = format!(
                "`{value}` is not a network, such as `10.0.0.0/8`, `2001:db8::/32` or `10.0.0.1`"
            );
            self.document.report(&text.path, what);
        }
        network
    }
}

/// Maps a network of IPv4-mapped addresses (`::ffff:10.0.0.0/104`) to the IPv4 network (`10.0.0.0/8`), as the addresses
/// compared with it are mapped.
fn canonical(network: IpNet) -> IpNet {
    let bits = network.prefix_len().checked_sub(96);
    let mapped = match network {
        IpNet::V4(_) => None,
        IpNet::V6(network) => network.addr().to_ipv4_mapped(),
    };
    let network_v4 = mapped.zip(bits).and_then(|(address, bits)| Ipv4Net::new(address, bits).ok());
    network_v4.map_or(network, IpNet::V4)
}

fn whole_value(test: &schema::Test) -> Option<Box<str>> {
    match test {
        schema::Test::Equal(text) => Some((*text.value).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_the_same_in_either_spelling() {
        let canonical = |text: &str| canonical(text.parse().unwrap()).to_string();
        assert_eq!(canonical("::ffff:10.0.0.0/104"), "10.0.0.0/8");
        assert_eq!(canonical("::ffff:10.0.0.1/128"), "10.0.0.1/32");
        assert_eq!(canonical("10.0.0.0/8"), "10.0.0.0/8");
        assert_eq!(canonical("2001:db8::/32"), "2001:db8::/32");
        assert_eq!(canonical("::/0"), "::/0");
    }
}
