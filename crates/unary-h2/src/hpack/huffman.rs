//! The Huffman code of header strings (RFC 7541, Section 5.2 and Appendix B).
//!
//! The code is canonical: codes of one length are consecutive, in the order of their symbols, and each length goes
//! on where the one before it ended. So the lengths are the whole code, and the rest is computed when the crate is
//! compiled: the codes, and from these a machine that reads four bits at a time.

use super::HpackError;

/// The end of string, which pads the last byte and must not occur otherwise.
const EOS: usize = 256;

/// The length of each symbol's code in bits (RFC 7541, Appendix B).
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// The longest code, in bits.
const MAX_LENGTH: u8 = 30;

/// The code of each symbol, in its lowest bits.
const CODES: [u32; 257] = codes();

/// A code of 257 symbols is a tree with as many inner nodes less one. Each is a state of the decoder.
const STATES: usize = 256;

/// What four bits do in each state.
static STEPS: [[Step; 16]; STATES] = steps();

/// One step of the decoder.
#[derive(Clone, Copy)]
struct Step {
    /// The next state.
    next: u8,
    /// The symbol that ended within the four bits: at most one, since the shortest code has five.
    symbol: u8,
    /// Whether one did.
    is_symbol: bool,
    /// Whether a string may end here: what has come of the next symbol is padding.
    is_end: bool,
    /// Whether the four bits contain the end of string.
    is_error: bool,
}

/// Appends the string that `coded` stands for.
///
/// # Errors
/// If `coded` contains the end of string, or ends with eight or more bits of padding, or with padding that is not
/// the beginning of the end of string: all of these are decoding errors (RFC 7541, Section 5.2).
pub(super) fn decode(coded: &[u8], text: &mut Vec<u8>) -> Result<(), HpackError> {
    let mut state = 0;
    let mut is_end = true;
    for byte in coded {
        for bits in [byte >> 4, byte & 15] {
            let step = STEPS
                .get(usize::from(state))
                .and_then(|steps| steps.get(usize::from(bits)))
                .filter(|step| !step.is_error)
                .ok_or(HpackError::Huffman)?;
            if step.is_symbol {
                text.push(step.symbol);
            }
            state = step.next;
            is_end = step.is_end;
        }
    }
    if is_end { Ok(()) } else { Err(HpackError::Huffman) }
}

/// Appends the code of a string.
pub(super) fn encode(text: &[u8], coded: &mut Vec<u8>) {
    let (mut bits, mut count) = (0_u64, 0_u32);
    for byte in text {
        let symbol = usize::from(*byte);
        let code = CODES.get(symbol).copied().unwrap_or_default();
        let length = u32::from(LENGTHS.get(symbol).copied().unwrap_or_default());
        bits = bits << length | u64::from(code);
        count += length;
        while count >= 8 {
            count -= 8;
            coded.push(low_byte(bits >> count));
        }
    }
    if count > 0 {
        let padding = 8 - count;
        coded.push(low_byte(bits << padding | ((1 << padding) - 1)));
    }
}

fn low_byte(bits: u64) -> u8 {
    let [byte, ..] = bits.to_le_bytes();
    byte
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks the bounds")]
const fn codes() -> [u32; 257] {
    let mut codes = [0; 257];
    let (mut code, mut length) = (0, 1);
    while length <= MAX_LENGTH {
        let mut symbol = 0;
        while symbol <= EOS {
            if LENGTHS[symbol] == length {
                codes[symbol] = code;
                code += 1;
            }
            symbol += 1;
        }
        code <<= 1;
        length += 1;
    }
    codes
}

/// A child of an inner node: another, or the leaf of a symbol, which is numbered from [`LEAF`].
type Node = u16;

const LEAF: Node = 1 << 10;

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks the bounds")]
#[expect(clippy::cast_possible_truncation, reason = "symbols are at most 256, and bits 0 or 1")]
const fn tree() -> [[Node; 2]; STATES] {
    let mut tree = [[0; 2]; STATES];
    let mut nodes: Node = 1;
    let mut symbol = 0;
    while symbol <= EOS {
        let mut node: Node = 0;
        let mut bit = LENGTHS[symbol];
        while bit > 0 {
            bit -= 1;
            let side = (CODES[symbol] >> bit & 1) as usize;
            if bit == 0 {
                tree[node as usize][side] = LEAF + symbol as Node;
            } else {
                if tree[node as usize][side] == 0 {
                    tree[node as usize][side] = nodes;
                    nodes += 1;
                }
                node = tree[node as usize][side];
            }
        }
        symbol += 1;
    }
    tree
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks the bounds")]
#[expect(clippy::cast_possible_truncation, reason = "states and symbols of a byte fit a byte")]
const fn steps() -> [[Step; 16]; STATES] {
    const NONE: Step =
        Step { next: 0, symbol: 0, is_symbol: false, is_end: false, is_error: false };
    let tree = tree();
    let paddings = paddings(&tree);
    let mut steps = [[NONE; 16]; STATES];
    let mut state = 0;
    while state < STATES {
        let mut bits = 0;
        while bits < 16 {
            let mut step = NONE;
            let mut node = state as Node;
            let mut bit = 4;
            while bit > 0 {
                bit -= 1;
                node = tree[node as usize][bits >> bit & 1];
                if node >= LEAF {
                    if node - LEAF == EOS as Node {
                        step.is_error = true;
                    }
                    step.symbol = (node - LEAF) as u8;
                    step.is_symbol = true;
                    node = 0;
                }
            }
            step.next = node as u8;
            step.is_end = paddings[node as usize];
            steps[state][bits] = step;
            bits += 1;
        }
        state += 1;
    }
    steps
}

/// The states in which a string may end: at the root, and after up to seven bits of the end of string.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks the bounds")]
const fn paddings(tree: &[[Node; 2]; STATES]) -> [bool; STATES] {
    let mut paddings = [false; STATES];
    let mut node: Node = 0;
    let mut bits = 0;
    while bits <= 7 {
        paddings[node as usize] = true;
        // The end of string is all ones.
        node = tree[node as usize][1];
        bits += 1;
    }
    paddings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, HpackError> {
        let mut text = Vec::new();
        decode(coded, &mut text).map(|()| text)
    }

    /// RFC 7541, Appendix C.4 and C.6.
    #[test]
    fn the_examples_of_the_rfc_are_read_and_written() {
        for (text, coded) in [
            ("www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"),
            ("no-cache", "a8eb10649cbf"),
            ("custom-key", "25a849e95ba97d7f"),
            ("custom-value", "25a849e95bb8e8b4bf"),
            ("302", "6402"),
            ("private", "aec3771a4b"),
            ("Mon, 21 Oct 2013 20:13:21 GMT", "d07abe941054d444a8200595040b8166e082a62d1bff"),
            ("https://www.example.com", "9d29ad171863c78f0b97c8e9ae82ae43d3"),
        ] {
            let bytes: Vec<u8> = (0..coded.len() / 2)
                .map(|at| u8::from_str_radix(&coded[2 * at..2 * at + 2], 16).unwrap())
                .collect();
            assert_eq!(decoded(&bytes).unwrap(), text.as_bytes());
            let mut written = Vec::new();
            encode(text.as_bytes(), &mut written);
            assert_eq!(written, bytes, "{text}");
        }
    }

    #[test]
    fn every_symbol_is_read_as_it_was_written() {
        let text: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
        let mut coded = Vec::new();
        encode(&text, &mut coded);
        assert_eq!(decoded(&coded).unwrap(), text);
        for byte in 0..=255 {
            let mut coded = Vec::new();
            encode(&[byte], &mut coded);
            assert_eq!(decoded(&coded).unwrap(), [byte]);
        }
    }

    /// RFC 7541, Section 5.2.
    #[test]
    fn wrong_padding_and_an_end_of_string_are_errors() {
        // 'a' is 00011: padded with ones, with zeros, and with a byte too many.
        assert_eq!(decoded(&[0b0001_1111]).unwrap(), b"a");
        assert!(decoded(&[0b0001_1000]).is_err());
        assert!(decoded(&[0b0001_1111, 0xff]).is_err());
        assert!(decoded(&[0xff]).is_err());
        assert!(decoded(&[0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(decoded(&[]).unwrap().is_empty());
    }
}
