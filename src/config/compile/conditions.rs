//! Conditions.

use hashbrown::HashSet;
use ipnet::IpNet;

use super::super::read::{At, Document};
use super::super::schema;
use crate::policy::condition::{Condition, Conditions, Test};
use crate::policy::values::{Keys, Slot};

/// Reads conditions, gives the entries they ask about a slot, and collects the endpoint groups they name.
pub(super) struct Reader<'a> {
    pub(super) document: &'a Document<'a>,
    pub(super) keys: &'a mut Keys,
    pub(super) groups: Vec<At<String>>,
}

impl Reader<'_> {
    pub(super) fn read(&mut self, when: &schema::When) -> Conditions {
        let conditions = when.tests.iter().map(|(key, test)| {
            let slot = self.keys.slot(&key.value);
            if slot == Slot::ENDPOINT_GROUP {
                self.collect_groups(test);
            }
            Condition { slot, test: self.test(test) }
        });
        Conditions(conditions.collect())
    }

    fn collect_groups(&mut self, test: &schema::Test) {
        match test {
            schema::Test::Equal(group) => self.groups.push(group.clone()),
            schema::Test::Any(tests) => tests.iter().for_each(|test| self.collect_groups(test)),
            _ => {}
        }
    }

    fn test(&self, test: &schema::Test) -> Test {
        match test {
            schema::Test::Equal(text) => Test::Equal((*text.value).into()),
            schema::Test::Prefix(text) => Test::Prefix((**text).into()),
            schema::Test::Present => Test::Present,
            schema::Test::Absent => Test::Absent,
            schema::Test::Cidr(networks) => {
                Test::Cidr(networks.iter().filter_map(|text| self.network(text)).collect())
            }
            schema::Test::Any(tests) => self.any(tests),
        }
    }

    /// Whole values go into one set, whatever their number; only prefixes are tried one by one.
    fn any(&self, tests: &[schema::Test]) -> Test {
        let whole: HashSet<Box<str>> = tests.iter().filter_map(whole_value).collect();
        let rest = tests.iter().filter(|test| whole_value(test).is_none());
        let mut rest: Vec<Test> = rest.map(|test| self.test(test)).collect();
        if rest.is_empty() {
            return Test::OneOf(whole);
        }
        if !whole.is_empty() {
            rest.push(Test::OneOf(whole));
        }
        Test::Any(rest.into())
    }

    fn network(&self, text: &At<String>) -> Option<IpNet> {
        let network = text.value.parse::<IpNet>().ok();
        let one = || text.value.parse::<std::net::IpAddr>().ok().map(IpNet::from);
        let network = network.or_else(one).map(|network| network.trunc());
        if network.is_none() {
            let what = "a network is written as `10.0.0.0/8` or `2001:db8::/32`, one address as `10.0.0.1`";
            self.document.complain(&text.place, what);
        }
        network
    }
}

fn whole_value(test: &schema::Test) -> Option<Box<str>> {
    match test {
        schema::Test::Equal(text) => Some((*text.value).into()),
        _ => None,
    }
}
