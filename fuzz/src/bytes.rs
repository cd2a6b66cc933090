//! A RateLimitRequest written by hand, so that an entry may be of bytes that are no text.

/// An entry: its key and its value.
pub type Entry<'a> = (&'a [u8], &'a [u8]);

/// A request of these descriptors.
pub fn request(domain: &[u8], descriptors: &[Vec<u8>]) -> Vec<u8> {
    let mut message = field(1, domain);
    descriptors.iter().for_each(|descriptor| message.extend(field(2, descriptor)));
    message
}

/// A descriptor of these entries, which charges one hit.
pub fn descriptor(entries: &[Entry<'_>]) -> Vec<u8> {
    let entry = |(key, value): &Entry<'_>| field(1, &[field(1, key), field(2, value)].concat());
    entries.iter().flat_map(entry).collect()
}

/// A descriptor that brings a limit along: so many a minute.
pub fn limited(entries: &[Entry<'_>], per_minute: u32) -> Vec<u8> {
    let limit = [&[8][..], &varint(per_minute as usize), &[16, 2]].concat();
    [descriptor(entries), field(2, &limit)].concat()
}

/// A descriptor that gives a lease back.
pub fn release(lease: &[u8]) -> Vec<u8> {
    [descriptor(&[(b"lease", lease)]), vec![0x1a, 2, 8, 1, 0x20, 1]].concat()
}

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    field.extend(varint(content.len()));
    field.extend(content);
    field
}

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 127 {
        bytes.push(number as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
