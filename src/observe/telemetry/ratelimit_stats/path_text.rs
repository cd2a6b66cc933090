//! Paths as texts for statistics: without what has a meaning there, and cut to a maximum length.

use smallvec::SmallVec;

/// The maximum length of a path that depends on a request, in bytes.
pub(super) const MAX_LENGTH: usize = 512;

/// A path that is put together from a request, without allocation.
#[derive(Debug, Default)]
pub(super) struct PathText {
    bytes: SmallVec<[u8; MAX_LENGTH]>,
}

impl PathText {
    /// Adds what fits of a part.
    pub(super) fn push(&mut self, part: &[u8]) {
        let room = MAX_LENGTH.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(part.get(..room).unwrap_or(part));
    }

    /// The path as [`clean`] makes it.
    pub(super) fn finish(&mut self) -> &[u8] {
        clean(&mut self.bytes);
        &self.bytes
    }
}

/// A path of the configuration, of any length.
pub(super) fn cleaned(path: &str) -> String {
    let mut bytes = path.as_bytes().to_vec();
    clean(&mut bytes);
    String::from_utf8(bytes).unwrap_or_default()
}

/// Replaces `:` and `|`, which end a name in statsd, and the dots of IPv4 addresses, as envoyproxy/ratelimit does; and
/// control characters and bytes that are not UTF-8, which it lets through. Each such byte becomes `_`.
fn clean(bytes: &mut [u8]) {
    if bytes.is_ascii() {
        let is_bad = |byte: u8| byte == b':' || byte == b'|' || byte.is_ascii_control();
        bytes.iter_mut().filter(|byte| is_bad(**byte)).for_each(|byte| *byte = b'_');
    } else {
        clean_unicode(bytes);
    }
    clean_addresses(bytes);
}

fn clean_unicode(bytes: &mut [u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (valid, invalid) = match std::str::from_utf8(rest) {
            Ok(_) => (rest.len(), 0),
            Err(error) => {
                let valid = error.valid_up_to();
                (valid, error.error_len().unwrap_or(rest.len() - valid))
            }
        };
        let Some((chunk, after)) = rest.split_at_mut_checked(valid + invalid) else { return };
        let Some((text, bad)) = chunk.split_at_mut_checked(valid) else { return };
        clean_text(text);
        bad.fill(b'_');
        rest = after;
    }
}

/// Cleans bytes that are UTF-8.
fn clean_text(text: &mut [u8]) {
    let bad: SmallVec<[(usize, usize); 8]> = std::str::from_utf8(text)
        .unwrap_or_default()
        .char_indices()
        .filter(|(_, c)| *c == ':' || *c == '|' || c.is_control())
        .map(|(at, c)| (at, at + c.len_utf8()))
        .collect();
    for (begin, end) in bad {
        if let Some(bytes) = text.get_mut(begin..end) {
            bytes.fill(b'_');
        }
    }
}

/// Replaces the dots between four numbers of one to three digits, wherever they stand.
fn clean_addresses(bytes: &mut [u8]) {
    let mut rest = bytes;
    while let Some(found) = rest.iter().position(u8::is_ascii_digit) {
        let Some(begun) = rest.get_mut(found..) else { return };
        let length = address_length(begun).unwrap_or(0);
        let (address, _) = begun.split_at_mut(length.min(begun.len()));
        address.iter_mut().filter(|byte| **byte == b'.').for_each(|byte| *byte = b'_');
        rest = begun.get_mut(length.max(1)..).unwrap_or_default();
    }
}

/// The length of the address at the beginning of the bytes.
fn address_length(bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    for part in 0..4 {
        if part > 0 {
            bytes.get(length).filter(|byte| **byte == b'.')?;
            length += 1;
        }
        let digits = bytes.get(length..)?.iter().take(3).take_while(|byte| byte.is_ascii_digit());
        let digits = digits.count();
        if digits == 0 {
            return None;
        }
        length += digits;
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_request(parts: &[&[u8]]) -> String {
        let mut path = PathText::default();
        parts.iter().for_each(|part| path.push(part));
        std::str::from_utf8(path.finish()).unwrap().to_owned()
    }

    #[test]
    fn what_statsd_reads_is_replaced() {
        assert_eq!(cleaned("d.a_x:y|z@1#2"), "d.a_x_y_z@1#2");
        assert_eq!(of_request(&[b"d", b".a_", b"1:2\n3\t|c"]), "d.a_1_2_3__c");
    }

    #[test]
    fn the_dots_of_addresses_are_replaced_and_no_others() {
        for (path, expected) in [
            ("d.ip_1.2.3.4", "d.ip_1_2_3_4"),
            ("d.ip_10.20.30.40.user_1.5", "d.ip_10_20_30_40.user_1.5"),
            ("d.masked_remote_address_0.0.0.0/0", "d.masked_remote_address_0_0_0_0/0"),
            ("d.v_1.2.3", "d.v_1.2.3"),
            ("d.v_1.2.3.", "d.v_1.2.3."),
            // The last three digits of a longer number begin an address, the first three end one.
            ("1234.1.1.1.5", "1234_1_1_1.5"),
            ("1.2.3.4567.8", "1_2_3_4567.8"),
            ("1.1234.1.1.1", "1.1234_1_1_1"),
            ("1.2.3.4.5.6.7.8", "1_2_3_4.5_6_7_8"),
            ("999.999.999.999", "999_999_999_999"),
            ("1..2.3.4", "1..2.3.4"),
        ] {
            assert_eq!(cleaned(path), expected);
            assert_eq!(of_request(&[path.as_bytes()]), expected);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_one_by_one() {
        assert_eq!(of_request(&[b"d.a_\xff\xfe1"]), "d.a___1");
        assert_eq!(of_request(&["d.a_é:ü\u{85}".as_bytes()]), "d.a_é_ü__");
        assert_eq!(of_request(&["d.é".as_bytes(), b"\xe2\x82", b"\n"]), "d.é___");
    }

    #[test]
    fn a_long_path_of_a_request_is_cut_and_one_of_the_configuration_is_not() {
        let long = "x".repeat(MAX_LENGTH);
        assert_eq!(of_request(&[b"d.", long.as_bytes()]), format!("d.{}", &long[2..]));
        assert_eq!(cleaned(&format!("d.{long}")), format!("d.{long}"));
        let path = of_request(&[b"d.a", "é".repeat(MAX_LENGTH).as_bytes(), b"more"]);
        assert!(path.len() == MAX_LENGTH && path.ends_with("é_"), "{path}");
    }
}
