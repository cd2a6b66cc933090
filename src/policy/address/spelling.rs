//! The spellings of one address: with a port, in brackets, with a zone, in quotes, with blanks around it.
//!
//! Envoy's `remote_address` action sends a plain address. A header, sent as an entry by `request_headers`, has what a
//! load balancer or a client wrote into it.

use std::net::{IpAddr, Ipv6Addr};

/// Reads an address that is not plain:
///
/// | spelling | source |
/// |---|---|
/// | `192.0.2.1:443`, `::ffff:192.0.2.1:443` | load balancers that add the port |
/// | `[2001:db8::1]`, `[2001:db8::1]:443`, `[192.0.2.1]:443` | RFC 3986, section 3.2.2; RFC 5952, section 6 |
/// | `fe80::1%eth0`, `[fe80::1%25eth0]:443` | RFC 4007, section 11; RFC 6874 |
/// | `"[2001:db8::1]:443"` | RFC 7239, section 6 |
///
/// An IPv6 address has a port only after brackets or after a dotted end: the last group of `2001:db8::1:443` is part of
/// the address. A port or zone that is announced but missing (`192.0.2.1:`, `fe80::1%`) belongs to no address: nothing
/// known writes it, so the text is probably cut.
///
/// Out of line, so that a plain address costs no more.
#[cold]
pub(super) fn decorated(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches([' ', '\t']);
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let text = quoted.unwrap_or(text);
    if let Some((inner, after)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        let has_end = after.is_empty() || after.strip_prefix(':').is_some_and(is_port);
        return has_end.then(|| without_port(inner))?;
    }
    match text.rsplit_once(':') {
        Some((dotted, port)) if dotted.contains('.') => {
            is_port(port).then(|| dotted.parse().ok())?
        }
        _ => without_port(text),
    }
}

fn without_port(text: &str) -> Option<IpAddr> {
    match text.split_once('%') {
        Some((address, zone)) if is_zone(zone) => address.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        Some(_) => None,
        None => text.parse().ok(),
    }
}

/// Whether it is a port of 1 to 5 digits, at most 65535. Port 0 is one: it stands for a port that is unknown.
fn is_port(text: &str) -> bool {
    text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Whether it is a zone: unreserved characters, or encoded ones, by RFC 6874.
fn is_zone(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parse;

    fn read(text: &str) -> Option<String> {
        parse(text.as_bytes()).map(|address| address.to_string())
    }

    #[test]
    fn an_address_is_read_in_every_spelling() {
        for (spelling, address) in [
            ("192.0.2.1:443", "192.0.2.1"),
            ("192.0.2.1:0", "192.0.2.1"),
            ("192.0.2.1:65535", "192.0.2.1"),
            ("[192.0.2.1]:443", "192.0.2.1"),
            ("::ffff:192.0.2.1:443", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:443", "192.0.2.1"),
            ("[::FFFF:C000:201]", "192.0.2.1"),
            (" \t192.0.2.1 ", "192.0.2.1"),
            (" 192.0.2.1:443\t", "192.0.2.1"),
            ("\"192.0.2.1:443\"", "192.0.2.1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:DB8:0::1]:00443", "2001:db8::1"),
            (" \"[2001:db8::1]:443\" ", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("fe80::1%25eth0", "fe80::1"),
            ("fe80::1%br-lan.100", "fe80::1"),
            ("fe80::1%en%201", "fe80::1"),
            ("[fe80::1%3]:443", "fe80::1"),
            ("::ffff:192.0.2.1%3", "192.0.2.1"),
            // Without brackets, what looks like a port is the last group.
            ("2001:db8::1:443", "2001:db8::1:443"),
        ] {
            assert_eq!(read(spelling).as_deref(), Some(address), "{spelling}");
        }
    }

    #[test]
    fn what_is_no_address_stays_none() {
        for text in [
            "",
            " ",
            ":443",
            "[]",
            "[]:443",
            "\"\"",
            "localhost:443",
            "192.0.2.1:",
            "192.0.2.1:notaport",
            "192.0.2.1:+443",
            "192.0.2.1:-1",
            "192.0.2.1: 443",
            "192.0.2.1:65536",
            "192.0.2.1:000443",
            "192.0.2.1:443:443",
            "192.0.2.1.5",
            "192.0.2.1.5:443",
            "192.0.2:443",
            "192.0.2.01",
            "192.0.2.256:443",
            "192.0.2.1/32",
            "192.0.2.1%eth0",
            "192.0.2.1%eth0:443",
            "192.0.2.1 192.0.2.2",
            "192.0.2.1, 192.0.2.2",
            "192.0.2.1,",
            "192.0.2.1\n",
            "192.0.2.1\u{a0}",
            "::1:99999999",
            "2001:db8:1:2:3:4:5:6:443",
            "2001:db8::1%",
            "fe80::1%eth0:443",
            "fe80::1%et/h0",
            "fe80::1%et h0",
            "fe80::1%eth0%é",
            "[2001:db8::1",
            "2001:db8::1]",
            "[2001:db8::1]443",
            "[2001:db8::1]:",
            "[2001:db8::1]:https",
            "[2001:db8::1]:99999",
            "[2001:db8::1]%eth0",
            "[ 2001:db8::1]",
            "[[2001:db8::1]]",
            "[2001:db8::1]]",
            "[192.0.2.1:443]",
            "\"2001:db8::1",
            "\"\"2001:db8::1\"\"",
            "\" 2001:db8::1\"",
            "for=192.0.2.1",
            "http://192.0.2.1:443",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(parse(b"192.0.2.1:443\xff"), None);
    }

    proptest! {
        #[test]
        fn any_decoration_of_an_address_is_the_address(
            address in any::<std::net::IpAddr>(),
            port in proptest::option::of("[0-9]{1,4}"),
            zone in proptest::option::of("[a-zA-Z0-9._~-]{1,15}"),
            is_bracketed in any::<bool>(),
            is_quoted in any::<bool>(),
            [before, after] in ["[ \t]{0,3}", "[ \t]{0,3}"],
        ) {
            let zone = zone.filter(|_| address.is_ipv6());
            let zone = zone.map_or_else(String::new, |zone| format!("%{zone}"));
            let port = port.map_or_else(String::new, |port| format!(":{port}"));
            let has_brackets = is_bracketed || address.is_ipv6() && !port.is_empty();
            let bare = if has_brackets {
                format!("[{address}{zone}]{port}")
            } else {
                format!("{address}{zone}{port}")
            };
            let quote = if is_quoted { "\"" } else { "" };
            let spelling = format!("{before}{quote}{bare}{quote}{after}");
            prop_assert_eq!(parse(spelling.as_bytes()), Some(address.to_canonical()), "{}", spelling);
        }

        #[test]
        fn any_text_is_an_address_or_none(text in "[0-9a-f:.%\\[\\]\" ,/]{0,24}") {
            if let Some(address) = parse(text.as_bytes()) {
                prop_assert_eq!(parse(address.to_string().as_bytes()), Some(address), "{}", text);
            }
        }
    }
}
