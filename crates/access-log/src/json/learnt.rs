//! The keys that lines had so far, and which of them followed which.
//!
//! A log has the same keys in nearly the same order in every line. So a key is compared with the one that came there
//! last, and looked up only if it differs.

use std::collections::HashMap;

use super::scan::Cursor;
use super::walk::Visitor;
use crate::error::LineError;
use crate::named::{Gathered, Names, Use};
use crate::unescape::Raw;

/// How many keys are remembered that are of no use, and how long each may be.
const MAX_USELESS: usize = 1024;
const MAX_LENGTH: usize = 256;

/// The position of a key among those learnt; 0 is the line itself.
type Id = usize;

/// The keys.
#[derive(Debug, Clone)]
pub(super) struct Learnt {
    keys: Vec<Key>,
    useless: usize,
    /// The objects that a walk is in, and the key before each. Empty between lines.
    outer: Vec<Id>,
}

#[derive(Debug, Clone, Default)]
struct Key {
    /// As it stands in a line, with quotes and colon.
    text: Box<[u8]>,
    /// The names of the objects it is in, and its own, with dots.
    name: Box<[u8]>,
    uses: Box<[Use]>,
    has_below: bool,
    /// By what stands between the quotes.
    members: HashMap<Box<[u8]>, Id>,
    /// The key that came first in this object last time, and the one that came behind it. 0 if none did.
    first: Id,
    next: Id,
}

impl Default for Learnt {
    fn default() -> Self {
        let line = Key { has_below: true, ..Key::default() };
        Self { keys: vec![line], useless: 0, outer: vec![] }
    }
}

impl Learnt {
    /// The key of this text in an object. `None` for one of no use, if there are too many.
    fn find(&mut self, object: Id, key: Raw<'_>, names: &Names) -> Option<Id> {
        let outer = self.keys.get(object)?;
        if let Some(known) = outer.members.get(key.bytes) {
            return Some(*known);
        }
        let mut name = outer.name.to_vec();
        if object > 0 {
            name.push(b'.');
        }
        key.append_to(&mut name);
        let (uses, has_below) = (names.uses(&name), names.has_below(&name));
        if uses.is_empty() && !has_below {
            if self.useless >= MAX_USELESS || key.bytes.len() > MAX_LENGTH {
                return None;
            }
            self.useless += 1;
        }
        let text = [b"\"", key.bytes, b"\":"].concat().into();
        let id = self.keys.len();
        let (name, uses) = (name.into(), uses.into());
        self.keys.push(Key { text, name, uses, has_below, ..Key::default() });
        self.keys.get_mut(object)?.members.insert(key.bytes.into(), id);
        Some(id)
    }
}

/// Puts the values of a line where they are of use.
pub(super) struct Put<'a, 'l> {
    names: &'a Names,
    learnt: &'a mut Learnt,
    gathered: &'a mut Gathered<'l>,
    object: Id,
    /// The key before this one in the object; 0 before the first.
    before: Id,
    /// `None` if it is of no use and was not learnt.
    key: Option<Id>,
}

impl<'a, 'l> Put<'a, 'l> {
    pub(super) fn new(
        names: &'a Names,
        learnt: &'a mut Learnt,
        gathered: &'a mut Gathered<'l>,
    ) -> Self {
        learnt.outer.clear();
        Self { names, learnt, gathered, object: 0, before: 0, key: None }
    }

    fn current(&self) -> Option<&Key> {
        self.learnt.keys.get(self.key?)
    }
}

impl<'l> Visitor<'l> for Put<'_, 'l> {
    #[inline]
    fn key(&mut self, cursor: &mut Cursor<'l>) -> Result<(), LineError> {
        let keys = &self.learnt.keys;
        let expected = if self.before == 0 {
            keys.get(self.object).map_or(0, |object| object.first)
        } else {
            keys.get(self.before).map_or(0, |before| before.next)
        };
        if let Some(key) = keys.get(expected)
            && expected > 0
            && cursor.rest().starts_with(&key.text)
        {
            cursor.skip(key.text.len());
            self.key = Some(expected);
            self.before = expected;
            return Ok(());
        }
        let key = cursor.key()?;
        self.key = self.learnt.find(self.object, key, self.names);
        if let Some(id) = self.key {
            let keys = &mut self.learnt.keys;
            if self.before == 0 {
                keys.get_mut(self.object).into_iter().for_each(|object| object.first = id);
            } else {
                keys.get_mut(self.before).into_iter().for_each(|before| before.next = id);
            }
            self.before = id;
        }
        Ok(())
    }

    fn is_of_use(&self) -> bool {
        self.current().is_some_and(|key| key.has_below)
    }

    fn enter(&mut self) {
        self.learnt.outer.push(self.object);
        self.object = self.key.unwrap_or(0);
        self.before = 0;
    }

    fn leave(&mut self) {
        self.before = self.object;
        self.object = self.learnt.outer.pop().unwrap_or(0);
    }

    #[inline]
    fn value(&mut self, raw: Raw<'l>) {
        if let Some(key) = self.key.and_then(|key| self.learnt.keys.get(key))
            && !key.uses.is_empty()
        {
            self.gathered.put(&key.uses, raw);
        }
    }
}
