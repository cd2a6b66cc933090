//! Finding a byte that is near.

use memchr::memchr;

/// The position of a byte that mostly is among the first eight. Faster for such than a call of `memchr`, and without a
/// branch that depends on where it is.
#[inline]
pub(crate) fn near(byte: u8, text: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let Some((first, rest)) = text.split_first_chunk::<8>() else {
        return text.iter().position(|of| *of == byte);
    };
    // A byte of it is 0 where the byte is. Of those, the lowest gets its high bit; one above it may get it, too.
    let differences = u64::from_le_bytes(*first) ^ (ONES * u64::from(byte));
    let found = differences.wrapping_sub(ONES) & !differences & HIGH;
    if found == 0 {
        return memchr(byte, rest).map(|at| at.saturating_add(8));
    }
    usize::try_from(found.trailing_zeros() / 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_is_found_wherever_it_is() {
        for length in 0..40 {
            for at in 0..=length {
                for filling in [b' ' - 1, b' ' + 1, 0, 0x7f, 0x80, 0xa0, 0xff] {
                    let mut text = vec![filling; length];
                    text.get_mut(at..).unwrap().fill(b' ');
                    assert_eq!(near(b' ', &text), (at < length).then_some(at), "{text:?}");
                }
            }
        }
    }
}
