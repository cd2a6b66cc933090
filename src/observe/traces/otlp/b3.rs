//! Trace contexts in B3, the format of Zipkin: the header `b3`, or several that begin with `x-b3-`.
//!
//! # Source
//! <https://github.com/openzipkin/b3-propagation>; what is refused is what envoyproxy/ratelimit refuses. A context that
//! leaves the decision to its receiver is taken as not sampled, as there.

use http::HeaderMap;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The context of a call; `None` if it has none that is valid. The single header counts, if it is valid.
pub(super) fn context(headers: &HeaderMap) -> Option<SpanContext> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    text("b3").and_then(single).or_else(|| {
        let decided = sampled(text("x-b3-sampled"))?;
        let is_sampled = decided || text("x-b3-flags") == Some("1");
        of(text("x-b3-traceid")?, text("x-b3-spanid")?, is_sampled)
    })
}

/// The context of `TRACE-SPAN`, `TRACE-SPAN-DECISION` or `TRACE-SPAN-DECISION-PARENT`.
fn single(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (trace, span) = (parts.next()?, parts.next()?);
    let is_sampled = match parts.next() {
        None | Some("0") => false,
        Some("1" | "d") => true,
        Some(_) => return None,
    };
    if let Some(parent) = parts.next() {
        span_id(parent)?;
    }
    if parts.next().is_some() { None } else { of(trace, span, is_sampled) }
}

/// What `x-b3-sampled` decides; `None` if it is neither yes nor no.
fn sampled(text: Option<&str>) -> Option<bool> {
    let is = |text: &str, word: &str| text.eq_ignore_ascii_case(word);
    match text {
        None | Some("0") => Some(false),
        Some("1") => Some(true),
        Some(text) if is(text, "false") => Some(false),
        Some(text) if is(text, "true") => Some(true),
        Some(_) => None,
    }
}

fn of(trace: &str, span: &str, is_sampled: bool) -> Option<SpanContext> {
    let flags = if is_sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let context =
        SpanContext::new(trace_id(trace)?, span_id(span)?, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

/// 64 or 128 bits.
fn trace_id(text: &str) -> Option<TraceId> {
    let is_id = matches!(text.len(), 16 | 32) && is_hex(text);
    is_id.then(|| TraceId::from_hex(text).ok()).flatten()
}

fn span_id(text: &str) -> Option<SpanId> {
    let is_id = text.len() == 16 && is_hex(text);
    is_id.then(|| SpanId::from_hex(text).ok()).flatten()
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    /// The trace, the span, and whether it is sampled.
    fn read(headers: &[(&'static str, &str)]) -> Option<(String, String, bool)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let context = context(&map)?;
        assert!(context.is_remote());
        let (trace, span) = (context.trace_id().to_string(), context.span_id().to_string());
        Some((trace, span, context.is_sampled()))
    }

    fn expected(trace: &str, is_sampled: bool) -> Option<(String, String, bool)> {
        Some((trace.to_owned(), SPAN.to_owned(), is_sampled))
    }

    #[test]
    fn one_header_has_trace_span_decision_and_parent() {
        let of = |rest: &str| read(&[("b3", &format!("{TRACE}-{SPAN}{rest}"))]);
        for (rest, is_sampled) in [("", false), ("-0", false), ("-1", true), ("-d", true)] {
            assert_eq!(of(rest), expected(TRACE, is_sampled), "{rest}");
        }
        assert_eq!(of("-1-05e3ac9a4f6e3b90"), expected(TRACE, true));
        let short = format!("a3ce929d0e0e4736-{SPAN}-1");
        assert_eq!(read(&[("b3", &short)]), expected("0000000000000000a3ce929d0e0e4736", true));
        for rest in ["-", "-2", "-1-", "-1-05e3", "-1-05e3ac9a4f6e3b90-1", "-05e3ac9a4f6e3b90"] {
            assert_eq!(of(rest), None, "{rest}");
        }
    }

    #[test]
    fn several_headers_have_a_part_each() {
        let of = |more: &[(&'static str, &str)]| {
            read(&[&[("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)][..], more].concat())
        };
        assert_eq!(of(&[]), expected(TRACE, false));
        for (value, is_sampled) in [("1", true), ("True", true), ("0", false), ("false", false)] {
            assert_eq!(of(&[("x-b3-sampled", value)]), expected(TRACE, is_sampled), "{value}");
        }
        assert_eq!(of(&[("x-b3-flags", "1")]), expected(TRACE, true));
        assert_eq!(of(&[("x-b3-sampled", "maybe")]), None);
        assert_eq!(read(&[("x-b3-traceid", TRACE)]), None);
    }

    #[test]
    fn what_is_no_id_is_no_context() {
        let no_ids =
            ["", "0", "+bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32), "4BF92F3577B34DA6"];
        for id in no_ids {
            assert_eq!(read(&[("b3", &format!("{id}-{SPAN}-1"))]), None, "{id}");
            assert_eq!(read(&[("b3", &format!("{TRACE}-{id}-1"))]), None, "{id}");
        }
        for text in ["0", "1", "d", TRACE] {
            assert_eq!(read(&[("b3", text)]), None, "{text}");
        }
    }

    #[test]
    fn an_invalid_single_header_gives_way_to_several() {
        let several = [("b3", "0"), ("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)];
        assert_eq!(read(&several), expected(TRACE, false));
    }
}
