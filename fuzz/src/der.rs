//! A certificate around names that may be anything. Nothing in it is signed: names are looked at once a
//! certificate was verified.

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OCTETS: u8 = 0x04;

/// `1.2.840.113549.1.1.11`, which is RSA with SHA-256, and no parameters.
const ALGORITHM: [u8; 15] =
    [0x30, 13, 0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11, 0x05, 0];

/// `2.5.29.17`, alternative names.
const ALTERNATIVE_NAMES: [u8; 5] = [0x06, 3, 0x55, 0x1d, 17];

/// The tag of a DNS name and of a URI among the alternative names.
pub const DNS: u8 = 0x82;
/// See [`DNS`].
pub const URI: u8 = 0x86;

/// A certificate whose alternative names are these bytes, each name of them with its tag.
pub fn certificate(names: &[u8]) -> Vec<u8> {
    let names = tlv(OCTETS, &tlv(SEQUENCE, names));
    let extension = tlv(SEQUENCE, &[&ALTERNATIVE_NAMES[..], &names].concat());
    let common_name = tlv(SEQUENCE, &[&[0x06, 3, 0x55, 4, 3][..], &tlv(0x0c, b"a")].concat());
    let name = tlv(SEQUENCE, &tlv(SET, &common_name));
    let validity = [tlv(0x17, b"200101000000Z"), tlv(0x17, b"490101000000Z")].concat();
    let key = [&ALGORITHM[..], &tlv(0x03, &[0, 1])].concat();
    let to_sign = [
        tlv(0xa0, &[0x02, 1, 2]),
        vec![0x02, 1, 1],
        ALGORITHM.to_vec(),
        name.clone(),
        tlv(SEQUENCE, &validity),
        name,
        tlv(SEQUENCE, &key),
        tlv(0xa3, &tlv(SEQUENCE, &extension)),
    ];
    let signed = [tlv(SEQUENCE, &to_sign.concat()), ALGORITHM.to_vec(), tlv(0x03, &[0, 1])];
    tlv(SEQUENCE, &signed.concat())
}

/// A tag, the length and the content.
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match content.len() {
        short @ ..128 => bytes.push(short as u8),
        long @ ..256 => bytes.extend([0x81, long as u8]),
        long => bytes.extend([0x82, (long >> 8) as u8, long as u8]),
    }
    bytes.extend(content);
    bytes
}

/// A name's tag and what it says.
pub type Shown<'a> = (u8, &'a [u8]);

/// The names that alternative names are made of, where all of them are whole and short.
pub fn names(mut der: &[u8]) -> Option<Vec<Shown<'_>>> {
    let mut names = Vec::new();
    while let [tag, length, rest @ ..] = der {
        let (name, rest) = rest.split_at_checked(usize::from(*length)).filter(|_| *length < 128)?;
        names.push((*tag, name));
        der = rest;
    }
    der.is_empty().then_some(names)
}
