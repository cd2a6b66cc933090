//! Endpoints that miss another spelling of their path.

use hashbrown::HashSet;

use super::super::document::Document;
use super::super::path::shown;
use super::super::schema::Group;

/// Characters that a client may send as they are or as an escape, and that no rule of `paths` makes the same. RFC 3986,
/// 2.2 and 3.3: what a segment may have, but not `*`, which is no literal in an endpoint, nor `;`, which has a rule.
const PLAIN_OR_ESCAPED: &str = "!$&'()+,=:@";

/// Characters that no path should have unescaped: browsers send their escapes, other clients may send either.
const USUALLY_ESCAPED: &str = "\"<>\\^`|";

/// Warns of endpoints whose path has another spelling, unless that is listed as well.
pub(super) fn warn(groups: &[Group], document: &Document<'_>) {
    let endpoints = || groups.iter().flat_map(|group| &group.endpoints);
    let listed: HashSet<&str> = endpoints().map(|endpoint| &*endpoint.value).collect();
    for endpoint in endpoints() {
        if let Some(other) = other_spelling(&endpoint.value)
            && !listed.contains(&*other)
        {
            let what = format!(
                "clients can spell this path in another way, which is not in the group; list `{}` as well",
                shown(&other)
            );
            document.warn(&endpoint.path, what);
        }
    }
}

/// The endpoint with each escape that may be a plain character as that character, and the other way round.
fn other_spelling(endpoint: &str) -> Option<String> {
    let mut other = String::with_capacity(endpoint.len());
    let mut rest = endpoint;
    while let Some(c) = rest.chars().next() {
        if let Some(plain) = plain(rest) {
            other.push(plain);
            rest = rest.get(3..).unwrap_or_default();
            continue;
        }
        if USUALLY_ESCAPED.contains(c) {
            other += &format!("%{:02X}", u32::from(c));
        } else {
            other.push(c);
        }
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    (other != endpoint).then_some(other)
}

/// The character whose escape the text begins with, if it may be sent as it is.
fn plain(text: &str) -> Option<char> {
    let digits = text.strip_prefix('%')?.get(..2)?;
    let plain = char::from(u8::from_str_radix(digits, 16).ok()?);
    PLAIN_OR_ESCAPED.contains(plain).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_character_with_two_spellings_is_exchanged() {
        for (endpoint, other) in [
            ("POST /users%3abatch", Some("POST /users:batch")),
            ("GET /a%40b/{x}%2C", Some("GET /a@b/{x},")),
            ("GET /a|b", Some("GET /a%7Cb")),
            ("GET /a\\b%3A", Some("GET /a%5Cb:")),
            ("GET /users:batch", None),
            ("GET /a%2Fb", None),
            ("GET /a%7Cb", None),
            ("GET /caf%C3%A9", None),
            ("GET /50%", None),
            ("GET /50%3", None),
            ("GET /%é:", None),
        ] {
            assert_eq!(other_spelling(endpoint).as_deref(), other, "{endpoint}");
        }
    }
}
