//! The values of variables, as Go's standard library and envoyproxy/ratelimit read them. An error says what is wrong and
//! what to write.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crate::listener::Address;

/// The longest duration: a clock may not be able to represent the end of a longer one. What is longer is cut to it.
pub(super) const MAX_DURATION: Duration = Duration::from_secs(366 * 86_400);

/// `strconv.ParseBool`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("not a boolean; write true or false".to_owned()),
    }
}

/// `time.ParseDuration`, without a sign: numbers with units, such as `1m30s` or `1.5h`, or `0`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const FORM: &str = "not a duration; write one such as 500ms, 10s or 1m30s";
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return Err(FORM.to_owned());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(FORM)?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit = match unit {
            "ns" => 1e-9,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(FORM.to_owned()),
        };
        // A dot alone is no number; one at either end is.
        let number: f64 = number.parse().map_err(|_| FORM)?;
        let part = Duration::try_from_secs_f64(number * unit).unwrap_or(MAX_DURATION);
        total = total.saturating_add(part).min(MAX_DURATION);
        rest = after;
    }
    Ok(total)
}

/// A duration of which 0 means that there is no end.
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration(text)?;
    Ok(if timeout.is_zero() { MAX_DURATION } else { timeout })
}

/// `strconv.ParseInt` with base 0: decimal, or with `0x`, `0o`, `0b` or `0` in front, and with `_` between digits.
pub(super) fn whole(text: &str) -> Result<i64, String> {
    const FORM: &str = "not a whole number; write digits only";
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, lower.trim_start_matches("0x")),
        [b'0', b'o', ..] => (8, lower.trim_start_matches("0o")),
        [b'0', b'b', ..] => (2, lower.trim_start_matches("0b")),
        [b'0', _, ..] => (8, lower.as_str()),
        _ => (10, lower.as_str()),
    };
    let digits = digits.replace('_', "");
    let is_digits = digits.chars().all(|c| c.is_digit(base));
    let number = if is_digits { i64::from_str_radix(&digits, base).ok() } else { None };
    let number = number.ok_or(FORM)?;
    Ok(if is_negative { -number } else { number })
}

/// A port; 0 picks a free one.
pub(super) fn port(text: &str) -> Result<u16, String> {
    u16::try_from(whole(text)?).map_err(|_| "not a port; write a number up to 65535".to_owned())
}

/// A number of things.
pub(super) fn count(text: &str) -> Result<usize, String> {
    usize::try_from(whole(text)?).map_err(|_| "negative; write 0 or more".to_owned())
}

/// `strconv.ParseFloat`, without what is no number.
pub(super) fn number(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| "not a number; write one such as 0.5".to_owned())
}

/// Pairs: `key:value,key:value`. The error does not repeat a pair, which may hold a secret.
pub(super) fn map(text: &str) -> Result<Vec<(String, String)>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let pair = |(at, pair): (usize, &str)| match pair.split_once(':') {
        Some((key, value)) if !value.contains(':') => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("pair {} does not have one colon; write key:value,key:value", at + 1)),
    };
    text.split(',').enumerate().map(pair).collect()
}

/// Pairs: `key=value,key=value`. What is no pair is skipped, as envoyproxy/ratelimit does.
pub(super) fn metadata(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// A host to listen on: an IP address, or a name of this machine. No host, `0.0.0.0` and `::` mean all addresses, of
/// both families, as in Go.
///
/// # Errors
/// If the name has no address.
pub(super) fn listen_address(host: &str, port: u16) -> Result<Address, String> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Ok(Address::AllInterfaces(port));
    }
    match host.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => Ok(Address::AllInterfaces(port)),
        Ok(ip) => Ok(Address::Tcp((ip, port).into())),
        Err(_) => {
            let found = (host, port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
            let found = found.unwrap_or_default();
            let first = found.iter().find(|address| address.is_ipv4()).or_else(|| found.first());
            let first: Option<SocketAddr> = first.copied();
            first.map(Address::Tcp).ok_or_else(|| {
                "no address of this machine; write an IP address, such as 0.0.0.0".to_owned()
            })
        }
    }
}

/// A host and a port: `HOST:PORT`, `[HOST]:PORT`, or `:PORT`.
pub(super) fn host_and_port(text: &str) -> Result<(String, u16), String> {
    const FORM: &str = "write HOST:PORT";
    let (host, of_port) = text.rsplit_once(':').ok_or(FORM)?;
    let is_bare_ipv6 = host.contains(':') && !host.starts_with('[');
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match of_port.parse() {
        Ok(number) if !is_bare_ipv6 => Ok((host.to_owned(), number)),
        _ => Err(FORM.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_those_of_go() {
        for yes in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(boolean(yes), Ok(true), "{yes}");
        }
        for no in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(boolean(no), Ok(false), "{no}");
        }
        for wrong in ["", "yes", "tRUE", " true", "on"] {
            assert!(boolean(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn durations_are_those_of_go() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("500ms", 500),
            (".5s", 500),
            ("1.s", 1000),
            ("2000us", 2),
            ("2000\u{b5}s", 2),
            ("1000000ns", 1),
            ("+3s", 3000),
            ("1h1m1s1ms", 3_661_001),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(duration("2562047h"), Ok(MAX_DURATION));
        for wrong in ["", "10", "1d", "s", "-1s", "1m 30s", "1 s", ".s", "1..5s", "+"] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(timeout("0"), Ok(MAX_DURATION));
    }

    #[test]
    fn whole_numbers_are_those_of_go() {
        for (text, number) in
            [("0", 0), ("8080", 8080), ("010", 8), ("0x1F", 31), ("0o17", 15), ("0b11", 3)]
        {
            assert_eq!(whole(text), Ok(number), "{text}");
        }
        assert_eq!((whole("1_000"), whole("-5"), whole("+5")), (Ok(1000), Ok(-5), Ok(5)));
        for wrong in ["", "-", "08", "1.0", "0x", "ten", "1e3", "9223372036854775808"] {
            assert!(whole(wrong).is_err(), "{wrong:?}");
        }
        assert!(port("65536").is_err() && port("-1").is_err() && count("-1").is_err());
    }

    #[test]
    fn pairs_are_separated_by_commas() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(map("a:b,c:"), Ok(vec![pair("a", "b"), pair("c", "")]));
        assert_eq!(map("  "), Ok(Vec::new()));
        assert!(map("a:b,secret").unwrap_err().starts_with("pair 2 "));
        assert!(map("a:b:c").is_err() && map("a:b,").is_err());
        assert_eq!(metadata("a=b=c,d=,e"), [pair("a", "b=c"), pair("d", "")]);
        assert_eq!(metadata(""), []);
    }

    #[test]
    fn no_host_and_the_unspecified_ones_are_all_addresses() {
        for all in ["", "0.0.0.0", "::", "[::]"] {
            assert_eq!(listen_address(all, 1), Ok(Address::AllInterfaces(1)), "{all}");
        }
        let of = |host: &str| listen_address(host, 1).unwrap().to_string();
        assert_eq!((of("127.0.0.1"), of("::1")), ("127.0.0.1:1".into(), "[::1]:1".into()));
        assert_eq!(of("localhost"), "127.0.0.1:1");
        assert!(listen_address("no such host", 1).is_err());
    }

    #[test]
    fn a_port_follows_the_last_colon() {
        for (text, host, port) in [
            (":9090", "", 9090),
            ("0.0.0.0:1", "0.0.0.0", 1),
            ("[::1]:2", "::1", 2),
            ("a:3", "a", 3),
        ] {
            assert_eq!(host_and_port(text), Ok((host.to_owned(), port)), "{text}");
        }
        for wrong in ["", "9090", "a", "a:", "::1", "a:b", "a:65536", "/run/redis.sock"] {
            assert!(host_and_port(wrong).is_err(), "{wrong}");
        }
    }
}
