//! Integers (RFC 7541, Section 5.1).

use super::HpackError;

/// Integers have at most this many bytes after the first, which is enough for 28 bits: no index and no length that
/// this crate accepts is larger.
const MAX_BYTES: u32 = 4;

/// Takes an integer whose first byte leaves it `prefix` bits, 4 to 7, off the front of `block`.
///
/// # Errors
/// If the block ends within it, or if it has more than [`MAX_BYTES`] bytes: "Integer encodings that exceed
/// implementation limits ... MUST be treated as decoding errors".
pub(super) fn take(block: &mut &[u8], prefix: u8) -> Result<usize, HpackError> {
    let (first, mut rest) = block.split_first().ok_or(HpackError::Truncated)?;
    let max = (1_usize << prefix) - 1;
    let mut value = usize::from(*first) & max;
    if value == max {
        let mut shift = 0;
        loop {
            let (byte, more) = rest.split_first().ok_or(HpackError::Truncated)?;
            if shift == 7 * MAX_BYTES {
                return Err(HpackError::Integer);
            }
            value += usize::from(byte & 0x7f) << shift;
            shift += 7;
            rest = more;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *block = rest;
    Ok(value)
}

/// Appends an integer behind the bits that `first` has above the prefix.
pub(super) fn put(mut value: usize, prefix: u8, first: u8, out: &mut Vec<u8>) {
    let max = (1_usize << prefix) - 1;
    if value < max {
        out.push(first | low_byte(value));
        return;
    }
    out.push(first | low_byte(max));
    value -= max;
    while value >= 0x80 {
        out.push(low_byte(value & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(low_byte(value));
}

fn low_byte(value: usize) -> u8 {
    let [byte, ..] = value.to_le_bytes();
    byte
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541, Appendix C.1.
    #[test]
    fn the_examples_of_the_rfc_are_read_and_written() {
        for (value, prefix, bytes) in
            [(10, 5, &[10][..]), (1337, 5, &[31, 154, 10]), (42, 8, &[42])]
        {
            let mut block = bytes;
            assert_eq!(take(&mut block, prefix).unwrap(), value);
            assert!(block.is_empty());
            let mut out = Vec::new();
            put(value, prefix, 0, &mut out);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn an_integer_without_an_end_and_one_that_is_too_long_are_errors() {
        assert_eq!(take(&mut &[][..], 5), Err(HpackError::Truncated));
        assert_eq!(take(&mut &[31][..], 5), Err(HpackError::Truncated));
        assert_eq!(take(&mut &[31, 0x80][..], 5), Err(HpackError::Truncated));
        assert_eq!(take(&mut &[31, 0x80, 0x80, 0x80, 0x80, 0][..], 5), Err(HpackError::Integer));
        assert_eq!(take(&mut &[31, 0xff, 0xff, 0xff, 0x7f][..], 5), Ok(31 + (1 << 28) - 1));
    }
}
