//! The keys that the descriptors of a tree have. A table applies to every descriptor that has the entries it names, a node
//! only to those that have no others: so the table says which entries must be absent.

use hashbrown::{HashMap, HashSet};

use crate::policy::descriptor_tree::NewNode;
use crate::policy::entry_name::{EntryName, MAX_SAME};
use crate::policy::values::is_built_in;

/// The keys of a descriptor, in the order of its entries.
pub(super) type Keys<'t> = Vec<&'t str>;

/// The keys of all descriptors that lead to a node of a tree.
pub(super) struct Shapes<'t> {
    all: Vec<Keys<'t>>,
    /// The indexes of the shapes that have a key.
    by_key: HashMap<&'t str, Vec<usize>>,
}

/// What a table must say of the entries beyond those of its node.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Others {
    /// The names of the entries that must be absent.
    pub(super) absent: Vec<String>,
    /// Keys of which an entry should be absent that no policy can name.
    pub(super) unnamed: Vec<String>,
    /// Whether other descriptors have the same entries in another order.
    pub(super) has_other_order: bool,
}

impl<'t> Shapes<'t> {
    pub(super) fn of(nodes: &'t [NewNode]) -> Self {
        let mut found = HashSet::new();
        collect(nodes, &mut Vec::new(), &mut found);
        let mut all: Vec<Keys<'t>> = found.into_iter().collect();
        all.sort_unstable();
        let mut by_key: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, shape) in all.iter().enumerate() {
            for (at, key) in shape.iter().enumerate() {
                if !shape.iter().take(at).any(|before| before == key) {
                    by_key.entry(key).or_default().push(index);
                }
            }
        }
        Self { all, by_key }
    }

    /// What tells the descriptors with these keys from those that have further entries, or another order.
    pub(super) fn others(&self, keys: &[&str]) -> Others {
        let mut others = Others::default();
        let with = |key: &&str| self.by_key.get(*key).map(Vec::as_slice).unwrap_or_default();
        let fewest = keys.iter().map(with).min_by_key(|indexes| indexes.len()).unwrap_or_default();
        for shape in fewest.iter().filter_map(|index| self.all.get(*index)) {
            if keys.iter().any(|key| count(shape, key) < count(keys, key)) {
                continue;
            }
            if shape.len() == keys.len() {
                others.has_other_order |= shape != keys;
                continue;
            }
            for key in shape.iter().filter(|key| count(shape, key) > count(keys, key)) {
                let (list, name) = match name(key, count(keys, key)) {
                    Some(name) => (&mut others.absent, name),
                    None => (&mut others.unnamed, (*key).to_owned()),
                };
                if !list.contains(&name) {
                    list.push(name);
                }
            }
        }
        others
    }
}

fn collect<'t>(nodes: &'t [NewNode], keys: &mut Keys<'t>, found: &mut HashSet<Keys<'t>>) {
    for node in nodes {
        keys.push(&node.key);
        if !found.contains(keys) {
            found.insert(keys.clone());
        }
        collect(&node.children, keys, found);
        keys.pop();
    }
}

fn count(keys: &[&str], key: &str) -> usize {
    keys.iter().filter(|other| **other == key).count()
}

/// How a policy names an entry with a key that this number of others come before; none if it cannot.
pub(super) fn name(key: &str, before: usize) -> Option<String> {
    let is_plain = EntryName::parse(key).is_ok_and(|name| name.key == key && name.number == 0);
    match u8::try_from(before).ok()? {
        _ if !is_plain || key.is_empty() => None,
        0 => Some(key.to_owned()),
        number if number < MAX_SAME && !is_built_in(key) => Some(format!("{key}[{number}]")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::descriptor_tree::support::node;

    #[test]
    fn entries_of_longer_descriptors_must_be_absent() {
        let nodes = [
            node("a", "").with([node("b", "1").with([node("a", ""), node("c", "")])]),
            node("b", "").with([node("a", "")]),
            node("d", ""),
        ];
        let shapes = Shapes::of(&nodes);
        let others = |keys: &[&str]| {
            let Others { absent, unnamed, has_other_order } = shapes.others(keys);
            assert_eq!(unnamed, [""; 0]);
            (absent, has_other_order)
        };
        let absent = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(others(&["a"]), (absent(&["b", "a[1]", "c"]), false));
        assert_eq!(others(&["a", "b"]), (absent(&["a[1]", "c"]), true));
        assert_eq!(others(&["d"]), (absent(&[]), false));
    }

    #[test]
    fn some_entries_have_no_name() {
        assert_eq!(name("a", 0).as_deref(), Some("a"));
        assert_eq!(name("a", 15).as_deref(), Some("a[15]"));
        assert_eq!(name("a[x]", 0).as_deref(), Some("a[x]"));
        for (key, before) in
            [("a", 16), ("a[3]", 0), ("a[99]", 0), ("remote_address", 1), ("a", 300)]
        {
            assert_eq!(name(key, before), None, "{key} {before}");
        }
    }
}
