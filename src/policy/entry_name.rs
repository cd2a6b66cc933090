//! How a policy names an entry of a descriptor: by its key, and by its number among several entries with that key.

/// The most entries with the same key that a policy can tell apart.
pub const MAX_SAME: u8 = 16;

/// An entry as a policy names it. `generic_key` is the first entry with this key, and so is `generic_key[0]`;
/// `generic_key[1]` is the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryName<'a> {
    /// The key of the entry; may be empty.
    pub key: &'a str,
    /// Its number among the entries with this key, from 0, below [`MAX_SAME`].
    pub number: u8,
}

/// Why a text names no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryNameError {
    /// The number in brackets is out of bounds, or not written plainly.
    #[error(
        "the number in brackets is from 0 to {}, without a sign or a zero before it, as in `generic_key[1]` for the \
         second entry with the key `generic_key`",
        MAX_SAME - 1
    )]
    Number,
}

impl<'a> EntryName<'a> {
    /// Reads `key` or `key[number]`. Brackets around anything but a number belong to the key.
    ///
    /// # Errors
    /// If the number is not one of 0 to [`MAX_SAME`] - 1, written in plain digits.
    pub fn parse(text: &'a str) -> Result<Self, EntryNameError> {
        let first = Self { key: text, number: 0 };
        let Some((key, digits)) = text.strip_suffix(']').and_then(|text| text.rsplit_once('['))
        else {
            return Ok(first);
        };
        let is_number = |byte: u8| byte.is_ascii_digit() || byte == b'-' || byte == b'+';
        if digits.is_empty() || !digits.bytes().all(is_number) {
            return Ok(first);
        }
        let number = (0..MAX_SAME).find(|number| number.to_string() == digits);
        number.map(|number| Self { key, number }).ok_or(EntryNameError::Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_in_brackets_counts_the_entries_with_one_key_from_0() {
        for (text, key, number) in [
            ("a", "a", 0),
            ("a[0]", "a", 0),
            ("a[1]", "a", 1),
            ("a[15]", "a", 15),
            ("a[1][2]", "a[1]", 2),
            ("[1]", "", 1),
        ] {
            assert_eq!(EntryName::parse(text), Ok(EntryName { key, number }), "{text}");
        }
    }

    #[test]
    fn other_brackets_belong_to_the_key() {
        for text in ["", "a[]", "a[x]", "a[1", "a1]", "a[1]b", "a[1] ", "a[ 1]", "a[1.0]"] {
            assert_eq!(EntryName::parse(text), Ok(EntryName { key: text, number: 0 }), "{text}");
        }
    }

    #[test]
    fn a_number_out_of_bounds_names_no_entry() {
        for text in ["a[16]", "a[-1]", "a[+1]", "a[01]", "a[00]", "a[4294967296]", "a[-]"] {
            assert_eq!(EntryName::parse(text), Err(EntryNameError::Number), "{text}");
        }
    }
}
