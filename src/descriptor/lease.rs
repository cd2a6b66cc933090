//! The id of a lease.

use std::fmt;

/// The id of the slots that a call holds in concurrency buckets: 128 random bits, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseId([u8; 16]);

impl LeaseId {
    /// An id that is never issued: of 128 random bits, at least one is set. Releasing it has no effect.
    pub const NEVER_ISSUED: Self = Self([0; 16]);

    /// The id with these bits, which must not be guessable.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// An id with the number of a partition, below 2^14, in 14 of its bits; the other 114 are those of `bytes`.
    pub const fn in_partition(bytes: [u8; 16], partition: u16) -> Self {
        let [first, second] = partition.to_be_bytes();
        let [a, _, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Self([a & 0xc0 | first & 0x3f, second, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }

    /// The partition given to [`Self::in_partition`].
    pub const fn partition(self) -> u16 {
        let [first, second, ..] = self.0;
        u16::from_be_bytes([first & 0x3f, second])
    }

    /// The inverse of [`Self::from_bytes`].
    pub(crate) const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// A hash: the first 64 bits, which are random.
    pub fn hash64(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// Parses 32 hexadecimal digits; `None` for anything else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let is_valid = text.len() == 32 && text.iter().all(u8::is_ascii_hexdigit);
        let text = std::str::from_utf8(text).ok().filter(|_| is_valid)?;
        let bits = u128::from_str_radix(text, 16).ok()?;
        Some(Self(bits.to_be_bytes()))
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Shows the first 8 bits only: an id in a log could be used to release the lease.
impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LeaseId({:02x}..)", u128::from_be_bytes(self.0) >> 120)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_survives_being_written_and_read() {
        let lease = LeaseId::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(lease.to_string(), "000102030405060708090a0b0c0d0e0f");
        assert_eq!(LeaseId::parse(lease.to_string().as_bytes()), Some(lease));
        for not_ours in
            ["", "00", "+00102030405060708090a0b0c0d0e0f", "zz0102030405060708090a0b0c0d0e0f"]
        {
            assert_eq!(LeaseId::parse(not_ours.as_bytes()), None, "{not_ours}");
        }
        assert_eq!(LeaseId::parse(&[0xff; 32]), None);
    }
}
