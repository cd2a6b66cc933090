//! Parts of a value: of a request line, of an address with a port, of a list.

use memchr::{memchr, memrchr};

use crate::find::near;

/// Which part of a value a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// The method of a request line such as `GET /x HTTP/1.1`.
    Method,
    /// The path and query of a request line.
    Path,
    /// The protocol of a request line.
    Protocol,
    /// The host and port of the URL in a request line, if it has one.
    Authority,
    /// The path and query of a URL, or of a path.
    Target,
    /// The address of `address:port`; an IPv6 address without its brackets.
    Address,
    /// The last element of a list with commas, such as `X-Forwarded-For`.
    Last,
}

impl Part {
    /// The part of this value. `None` if it has none, or if it is empty or `-`, which stand for an absent value.
    #[inline]
    pub(crate) fn of(self, value: &[u8]) -> Option<&[u8]> {
        let part = match self {
            Self::Whole => value,
            Self::Method => cut_at_first_space(value)?.0,
            Self::Path => target(request_target(value)?.0),
            Self::Protocol => request_target(value)?.1,
            Self::Authority => url(request_target(value)?.0)?.0,
            Self::Target => target(value),
            Self::Address => address(value),
            Self::Last => last(value),
        };
        (!is_absent(part)).then_some(part)
    }
}

/// Whether the value stands for none.
pub(crate) const fn is_absent(value: &[u8]) -> bool {
    matches!(value, b"" | b"-")
}

/// The target and the protocol of a request line. The protocol is empty where there is none (HTTP/0.9); the target may
/// have spaces, which some clients send.
fn request_target(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_method, rest) = cut_at_first_space(line)?;
    let split = memrchr(b' ', rest).and_then(|at| cut(rest, at));
    match split {
        Some((target, protocol)) if is_protocol(protocol) => Some((target, protocol)),
        _ => Some((rest, b"")),
    }
}

/// What is before the first space, and behind it.
fn cut_at_first_space(text: &[u8]) -> Option<(&[u8], &[u8])> {
    cut(text, near(b' ', text)?)
}

fn is_protocol(text: &[u8]) -> bool {
    text.starts_with(b"HTTP/") || is_absent(text)
}

/// What is before this byte, and behind it.
fn cut(text: &[u8], at: usize) -> Option<(&[u8], &[u8])> {
    Some((text.get(..at)?, text.get(at.checked_add(1)?..)?))
}

/// The path and query of a URL, since a log may have either; Envoy's `:path` has no host.
fn target(text: &[u8]) -> &[u8] {
    if text.first() == Some(&b'/') {
        return text;
    }
    url(text).map_or(text, |(_, path)| if path.is_empty() { b"/" } else { path })
}

/// The authority and the rest of a URL of HTTP or a WebSocket.
fn url(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let schemes: [&[u8]; 4] = [b"http://", b"https://", b"ws://", b"wss://"];
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(*scheme))?;
    Some(rest.split_at(memchr(b'/', rest).unwrap_or(rest.len())))
}

fn address(text: &[u8]) -> &[u8] {
    let is_port = |port: &[u8]| !port.is_empty() && port.iter().all(u8::is_ascii_digit);
    if let Some(rest) = text.strip_prefix(b"[") {
        return memchr(b']', rest).and_then(|end| rest.get(..end)).unwrap_or(text);
    }
    match memrchr(b':', text).and_then(|at| cut(text, at)) {
        Some((host, port)) if is_port(port) && memchr(b':', host).is_none() => host,
        _ => text,
    }
}

fn last(list: &[u8]) -> &[u8] {
    let last = memrchr(b',', list).and_then(|at| cut(list, at)).map_or(list, |(_, last)| last);
    last.trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(part: Part, value: &str) -> Option<&str> {
        part.of(value.as_bytes()).map(|part| std::str::from_utf8(part).unwrap())
    }

    fn request(line: &str) -> [Option<&str>; 4] {
        [Part::Method, Part::Path, Part::Protocol, Part::Authority].map(|of| part(of, line))
    }

    #[test]
    fn a_request_line_has_three_parts() {
        let (get, http) = (Some("GET"), Some("HTTP/1.1"));
        assert_eq!(request("GET /x?y=1 HTTP/1.1"), [get, Some("/x?y=1"), http, None]);
        assert_eq!(request("GET /a b HTTP/1.1"), [get, Some("/a b"), http, None]);
        assert_eq!(request("GET /old"), [get, Some("/old"), None, None]);
        let url = "GET https://shop.example:443/a?b HTTP/1.1";
        assert_eq!(request(url), [get, Some("/a?b"), http, Some("shop.example:443")]);
        assert_eq!(request("GET http://a HTTP/1.1"), [get, Some("/"), http, Some("a")]);
        assert_eq!(request("GET - HTTP/1.1"), [get, None, http, None]);
        assert_eq!(request("- - -"), [None; 4]);
        assert_eq!(request("GET /x -"), [get, Some("/x"), None, None]);
        assert_eq!(request("\x16\x03\x01"), [None; 4]);
        assert_eq!(request("CONNECT a:443 HTTP/1.1")[1], Some("a:443"));
    }

    #[test]
    fn an_address_loses_its_port() {
        for (value, address) in [
            ("192.0.2.1:80", "192.0.2.1"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("host:80", "host"),
            ("[broken", "[broken"),
        ] {
            assert_eq!(part(Part::Address, value), Some(address));
        }
        assert_eq!(part(Part::Address, "-"), None);
    }

    #[test]
    fn the_last_address_is_the_one_that_was_appended() {
        assert_eq!(part(Part::Last, "198.51.100.7, 192.0.2.1"), Some("192.0.2.1"));
        assert_eq!(part(Part::Last, "192.0.2.1"), Some("192.0.2.1"));
        assert_eq!(part(Part::Last, "192.0.2.1,"), None);
    }
}
