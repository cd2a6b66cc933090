//! Header compression (RFC 7541).
//!
//! A peer sends nearly all fields of nearly all calls as an index into a table that both ends keep. So what a field
//! means, to be worked out by comparing its name and its value with those that the server knows, is worked out once,
//! when the table takes the field in: the entry carries a meaning `M`, and an index costs a call a look into the
//! table. What meanings there are is not known here; a [`Dictionary`] gives them.

mod huffman;
mod integer;
mod static_table;

use std::collections::VecDeque;

use self::static_table::FIELDS;

/// What an entry of the table counts for beside its name and its value (RFC 7541, Section 4.1).
const OVERHEAD: usize = 32;

/// The size of a table until another one is agreed (RFC 9113, Section 6.5.2).
pub(crate) const DEFAULT_TABLE_SIZE: usize = 4096;

/// Why a header block cannot be read. The state of the table is unknown then, so that the connection has to end
/// with `COMPRESSION_ERROR` (RFC 9113, Section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HpackError {
    /// The block ends within a field.
    Truncated,
    /// An integer has more than 28 bits.
    Integer,
    /// A string is no Huffman code, or ends with wrong padding.
    Huffman,
    /// No entry of the tables has this index.
    Index,
    /// A change of the table's size behind a field, or to more than this end allows.
    TableSize,
    /// The fields have far more bytes than the header list may have: a few bytes name long entries again and again.
    TooLong,
}

impl std::fmt::Display for HpackError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the header block ends within a field",
            Self::Integer => "the header block has an integer of more than 28 bits",
            Self::Huffman => "the header block has a string that is no Huffman code",
            Self::Index => "the header block has an index without an entry",
            Self::TableSize => {
                "the header block changes the table's size where or to what it may not"
            }
            Self::TooLong => "the header block has fields of far too many bytes",
        })
    }
}

impl std::error::Error for HpackError {}

/// What fields mean.
pub(crate) trait Dictionary {
    /// What one field means.
    type Meaning: Copy;

    /// The meaning of a field.
    fn meaning(&self, name: &[u8], value: &[u8]) -> Self::Meaning;

    /// The meaning of the entry of the static table at `at`, counted from 0, as [`meanings_of_static_fields`] gave it.
    fn static_meaning(&self, at: usize) -> Option<Self::Meaning>;
}

/// The meanings of the static table, for [`Dictionary::static_meaning`].
pub(crate) fn meanings_of_static_fields<M>(
    meaning: impl Fn(&[u8], &[u8]) -> M,
) -> [M; FIELDS.len()] {
    FIELDS.map(|(name, value)| meaning(name.as_bytes(), value.as_bytes()))
}

/// One field of a header block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a, M> {
    pub(crate) name: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) meaning: M,
}

impl<M> Field<'_, M> {
    /// What the field counts for, in a table and in a header list (RFC 9113, Section 6.5.2).
    pub(crate) fn size(&self) -> usize {
        self.name.len() + self.value.len() + OVERHEAD
    }
}

/// A field in the table. Name and value lie behind each other.
#[derive(Debug)]
struct Entry<M> {
    text: Box<[u8]>,
    name: usize,
    meaning: M,
}

impl<M: Copy> Entry<M> {
    fn field(&self) -> Field<'_, M> {
        let (name, value) = self.text.split_at_checked(self.name).unwrap_or_default();
        Field { name, value, meaning: self.meaning }
    }

    fn size(&self) -> usize {
        self.text.len() + OVERHEAD
    }
}

/// Reads the header blocks of one connection.
#[derive(Debug)]
pub(crate) struct Decoder<M> {
    /// The newest first (RFC 7541, Section 2.3.2).
    entries: VecDeque<Entry<M>>,
    size: usize,
    /// How large the peer lets the table become, at most [`DEFAULT_TABLE_SIZE`], which this crate never changes.
    max_size: usize,
    /// How many bytes the fields of a block may have, and those of the last one have.
    max_list: usize,
    list: usize,
    /// A name and a value that are not in the table, nor in the block as they are.
    name: Vec<u8>,
    value: Vec<u8>,
}

impl<M: Copy> Decoder<M> {
    /// With an empty table, for blocks whose fields have `max_list` bytes together, counted as
    /// `SETTINGS_MAX_HEADER_LIST_SIZE` does.
    pub(crate) fn new(max_list: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            max_size: DEFAULT_TABLE_SIZE,
            max_list,
            list: 0,
            name: Vec::new(),
            value: Vec::new(),
        }
    }

    /// How many bytes the fields of the last block have.
    pub(crate) const fn list(&self) -> usize {
        self.list
    }

    /// Counts a field. It may take its name, or all of it, from the table, and so be far longer than the block.
    fn count(&mut self, size: usize) -> Result<(), HpackError> {
        self.list += size;
        if self.list > self.max_list { Err(HpackError::TooLong) } else { Ok(()) }
    }

    /// Reads a block and hands each of its fields to `each`.
    ///
    /// # Errors
    /// If the block cannot be read. Fields up to there have been handed over.
    pub(crate) fn decode(
        &mut self,
        mut block: &[u8],
        dictionary: &impl Dictionary<Meaning = M>,
        mut each: impl FnMut(Field<'_, M>),
    ) -> Result<(), HpackError> {
        let mut may_resize = true;
        self.list = 0;
        while let Some(first) = block.first() {
            // Section 6.1: an indexed field.
            if first & 0x80 != 0 {
                let index = integer::take(&mut block, 7)?;
                let field = self.indexed(index, dictionary)?;
                let size = field.size();
                each(field);
                self.count(size)?;
            } else if first & 0x40 != 0 {
                // Section 6.2.1: a field that the table takes in.
                self.literal(&mut block, 6, dictionary)?;
                let meaning = dictionary.meaning(&self.name, &self.value);
                each(Field { name: &self.name, value: &self.value, meaning });
                self.insert(meaning);
            } else if first & 0x20 != 0 {
                // Sections 6.3 and 4.2: the table's size, before the first field only.
                let size = integer::take(&mut block, 5)?;
                if !may_resize || size > DEFAULT_TABLE_SIZE {
                    return Err(HpackError::TableSize);
                }
                self.max_size = size;
                self.evict(0);
                continue;
            } else {
                // Sections 6.2.2 and 6.2.3: a field that no table takes in, or that none ever may.
                self.literal(&mut block, 4, dictionary)?;
                let meaning = dictionary.meaning(&self.name, &self.value);
                each(Field { name: &self.name, value: &self.value, meaning });
            }
            may_resize = false;
        }
        Ok(())
    }

    fn indexed(
        &self,
        index: usize,
        dictionary: &impl Dictionary<Meaning = M>,
    ) -> Result<Field<'_, M>, HpackError> {
        let at = index.checked_sub(1).ok_or(HpackError::Index)?;
        if let Some((name, value)) = FIELDS.get(at) {
            let meaning = dictionary.static_meaning(at).ok_or(HpackError::Index)?;
            return Ok(Field { name: name.as_bytes(), value: value.as_bytes(), meaning });
        }
        self.entries.get(at - FIELDS.len()).map(Entry::field).ok_or(HpackError::Index)
    }

    /// Reads a field that is written out, its name perhaps as an index.
    fn literal(
        &mut self,
        block: &mut &[u8],
        prefix: u8,
        dictionary: &impl Dictionary<Meaning = M>,
    ) -> Result<(), HpackError> {
        let mut name = std::mem::take(&mut self.name);
        name.clear();
        match integer::take(block, prefix)? {
            0 => string(block, &mut name)?,
            index => name.extend_from_slice(self.indexed(index, dictionary)?.name),
        }
        self.name = name;
        self.value.clear();
        string(block, &mut self.value)?;
        self.count(self.name.len() + self.value.len() + OVERHEAD)
    }

    /// Takes in the field that has been read last (Section 4.4).
    fn insert(&mut self, meaning: M) {
        let size = self.name.len() + self.value.len() + OVERHEAD;
        self.evict(size);
        if size <= self.max_size {
            let text = [&*self.name, &*self.value].concat().into_boxed_slice();
            self.entries.push_front(Entry { text, name: self.name.len(), meaning });
            self.size += size;
        }
    }

    /// Drops the oldest entries until there is room for `size` bytes, or no entry is left (Section 4.3).
    fn evict(&mut self, size: usize) {
        while self.size + size > self.max_size
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.size();
        }
    }
}

/// Takes a string off the front of a block (Section 5.2) and appends it to `text`.
fn string(block: &mut &[u8], text: &mut Vec<u8>) -> Result<(), HpackError> {
    let is_coded = block.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer::take(block, 7)?;
    let (string, rest) = block.split_at_checked(length).ok_or(HpackError::Truncated)?;
    *block = rest;
    if is_coded {
        huffman::decode(string, text)
    } else {
        text.extend_from_slice(string);
        Ok(())
    }
}

/// Appends a field that the peer's table does not take in (Section 6.2.2). A name must be in lowercase.
pub(crate) fn put_literal(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    put_field(0, 4, name, value, out);
}

/// Appends a field that the peer's table takes in (Section 6.2.1).
pub(crate) fn put_inserted(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    put_field(0x40, 6, name, value, out);
}

/// Appends a new size of the peer's table (Section 6.3).
pub(crate) fn put_table_size(size: usize, out: &mut Vec<u8>) {
    integer::put(size, 5, 0x20, out);
}

/// The index of the entry that the peer's table took in as the last but `newer`.
pub(crate) const fn dynamic_index(newer: u8) -> u8 {
    const STATIC: u8 = 61;
    const { assert!(FIELDS.len() == STATIC as usize) };
    STATIC + 1 + newer
}

/// Appends an index (Section 6.1).
pub(crate) fn put_index(index: usize, out: &mut Vec<u8>) {
    integer::put(index, 7, 0x80, out);
}

/// Appends the status of an answer.
pub(crate) fn put_status(status: u16, out: &mut Vec<u8>) {
    let digits = [status / 100 % 10, status / 10 % 10, status % 10]
        .map(|digit| b'0' + u8::try_from(digit).unwrap_or_default());
    let known = FIELDS
        .iter()
        .position(|(name, value)| *name == ":status" && value.as_bytes() == digits.as_slice());
    match known {
        Some(at) => put_index(at + 1, out),
        None => put_literal(b":status", &digits, out),
    }
}

fn put_field(first: u8, prefix: u8, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    match FIELDS.iter().position(|(known, _)| known.as_bytes() == name) {
        Some(at) => integer::put(at + 1, prefix, first, out),
        None => {
            out.push(first);
            put_string(name, out);
        }
    }
    put_string(value, out);
}

/// Appends a string, coded where that is shorter.
fn put_string(text: &[u8], out: &mut Vec<u8>) {
    let mut coded = Vec::new();
    huffman::encode(text, &mut coded);
    if coded.len() < text.len() {
        integer::put(coded.len(), 7, 0x80, out);
        out.extend_from_slice(&coded);
    } else {
        integer::put(text.len(), 7, 0, out);
        out.extend_from_slice(text);
    }
}

#[cfg(test)]
mod tests;
