//! A map from names to values.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// The most names that are compared one by one; more are hashed.
const MAX_LINEAR: usize = 16;

/// Values by name, in the order in which they were added. Few names are compared one by one, which takes less time than
/// hashing the name that is looked for.
#[derive(Debug, Clone)]
pub struct NameMap<T> {
    /// The [`brief`] of each name.
    briefs: Vec<u64>,
    names: Vec<Box<[u8]>>,
    values: Vec<T>,
    /// The positions of the names, once they are more than [`MAX_LINEAR`].
    positions: HashTable<usize>,
    hasher: DefaultHashBuilder,
}

impl<T> Default for NameMap<T> {
    fn default() -> Self {
        let (positions, hasher) = (HashTable::new(), DefaultHashBuilder::default());
        Self { briefs: Vec::new(), names: Vec::new(), values: Vec::new(), positions, hasher }
    }
}

impl<T> NameMap<T> {
    /// Adds a value, or replaces the value of its name.
    pub(crate) fn insert(&mut self, name: Box<[u8]>, value: T) {
        if let Some(at) = self.position(&name) {
            if let Some(old) = self.values.get_mut(at) {
                *old = value;
            }
            return;
        }
        self.briefs.push(brief(&name));
        self.names.push(name);
        self.values.push(value);
        let Self { names, positions, hasher, .. } = self;
        let hash = |at: &usize| hasher.hash_one(names.get(*at).map(|name| &**name));
        let first = if names.len() > MAX_LINEAR { positions.len() } else { names.len() };
        for at in first..names.len() {
            positions.insert_unique(hash(&at), at, hash);
        }
    }

    /// The value of a name.
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<&T> {
        self.values.get(self.position(name)?)
    }

    /// As [`Self::get`], to be changed.
    pub(crate) fn get_mut(&mut self, name: &[u8]) -> Option<&mut T> {
        let at = self.position(name)?;
        self.values.get_mut(at)
    }

    #[inline]
    fn position(&self, name: &[u8]) -> Option<usize> {
        if self.names.len() > MAX_LINEAR {
            return self.hashed_position(name);
        }
        let wanted = brief(name);
        let mut from = 0;
        loop {
            let at = from + self.briefs.get(from..)?.iter().position(|known| *known == wanted)?;
            if self.is_at(at, name) {
                return Some(at);
            }
            from = at + 1;
        }
    }

    #[inline(never)]
    fn hashed_position(&self, name: &[u8]) -> Option<usize> {
        let hash = self.hasher.hash_one(Some(name));
        self.positions.find(hash, |at| self.is_at(*at, name)).copied()
    }

    fn is_at(&self, at: usize, name: &[u8]) -> bool {
        self.names.get(at).is_some_and(|known| is_same(known, name))
    }

    /// Every name.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.names.iter().map(|name| &**name)
    }

    /// Every value.
    pub fn values(&self) -> std::slice::Iter<'_, T> {
        self.values.iter()
    }

    /// As [`Self::values`], to be changed.
    pub(crate) fn values_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.values.iter_mut()
    }
}

/// Eight bytes that tell most names apart, to be compared before the names themselves: of a long name, its first and its
/// last eight.
#[inline]
fn brief(name: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(32)
    } else if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
    } else {
        name.iter().fold(0, |brief, byte| brief << 8 | u64::from(*byte))
    }
}

/// Whether two texts are the same. Names and the values that conditions list are short: those of up to 32 bytes are compared
/// in place, by their first and their last bytes, which takes a third of the time of a call of `memcmp`.
#[inline]
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    fn ends<const N: usize>(text: &[u8]) -> Option<[[u8; N]; 2]> {
        Some([*text.first_chunk()?, *text.last_chunk()?])
    }
    if one.len() != other.len() {
        false
    } else if one.len() > 32 {
        one == other
    } else if let (Some(one), Some(other)) = (ends::<16>(one), ends::<16>(other)) {
        one == other
    } else if let (Some(one), Some(other)) = (ends::<8>(one), ends::<8>(other)) {
        one == other
    } else if let (Some(one), Some(other)) = (ends::<4>(one), ends::<4>(other)) {
        one == other
    } else if let (Some(one), Some(other)) = (ends::<2>(one), ends::<2>(other)) {
        one == other
    } else {
        one.first() == other.first()
    }
}

impl<T> FromIterator<(Box<[u8]>, T)> for NameMap<T> {
    fn from_iter<I: IntoIterator<Item = (Box<[u8]>, T)>>(named: I) -> Self {
        let mut map = Self::default();
        named.into_iter().for_each(|(name, value)| map.insert(name, value));
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> Box<[u8]> {
        number.to_string().into_bytes().into()
    }

    #[test]
    fn names_with_the_same_brief_are_told_apart() {
        let names: Vec<Box<[u8]>> =
            (0..4).map(|at| format!("of-a-row-{at}-of-a-table").into_bytes().into()).collect();
        assert!(names.iter().all(|name| brief(name) == brief(&names[0])));
        let map: NameMap<_> = names.iter().cloned().zip(0..3).collect();
        let found: Vec<_> = names.iter().map(|name| map.get(name)).collect();
        assert_eq!(found, [Some(&0), Some(&1), Some(&2), None]);
    }

    #[test]
    fn few_and_many_names_have_their_values() {
        for count in [0, 1, MAX_LINEAR, MAX_LINEAR + 1, 1000] {
            let mut map: NameMap<_> = (0..count).map(|number| (name(number), number)).collect();
            for number in 0..count {
                assert_eq!(map.get(&name(number)), Some(&number), "of {count}");
            }
            assert_eq!((map.get(&name(count)), map.get(b"")), (None, None), "of {count}");
            map.insert(name(7), 70);
            assert_eq!(map.get(b"7"), Some(&70), "of {count}");
            assert_eq!(map.values().len(), count.max(if count > 7 { count } else { count + 1 }));
            assert_eq!(map.names().count(), map.values().len());
        }
    }

    #[test]
    fn texts_are_the_same_if_every_byte_is() {
        for length in 0..40 {
            let text: Vec<u8> = (0..length).collect();
            assert!(is_same(&text, &text.clone()));
            assert!(!is_same(&text, &[&text[..], b"x"].concat()));
            for at in 0..text.len() {
                let mut other = text.clone();
                other[at] ^= 0x80;
                assert!(!is_same(&text, &other), "{at} of {length}");
            }
        }
    }
}
