//! Warnings about a valid ratelimit configuration that limits less than it seems to.

use super::schema::{Descriptor, RateLimitConfig};
use crate::config::document::Document;
use crate::config::path::shown;

/// Reports what the configuration says that its author may not mean. It has no problems.
pub(super) fn warn(config: &RateLimitConfig, document: &Document<'_>) {
    warn_level(&config.descriptors, document);
}

fn warn_level(level: &[Descriptor], document: &Document<'_>) {
    warn_hidden(level, document);
    for descriptor in level {
        warn_key(descriptor, document);
        warn_limit(descriptor, document);
        warn_level(&descriptor.descriptors, document);
    }
}

/// Patterns that are compared with those after them.
const MAX_COMPARED: usize = 100;

/// Warns of descriptors that no entry reaches, since another of the level takes all of their values: patterns are tried
/// in the order in which they are written, and before a descriptor without a value.
fn warn_hidden(level: &[Descriptor], document: &Document<'_>) {
    let mut patterns: Vec<&Descriptor> = Vec::new();
    for descriptor in level.iter().filter(|descriptor| descriptor.value.contains('*')) {
        let takes_all = |other: &&&Descriptor| {
            other.key == descriptor.key && matches(&other.value, &descriptor.value)
        };
        if let Some(earlier) = patterns.iter().find(takes_all) {
            let what = format!(
                "no value reaches this descriptor, since `{}` before it takes them all; put the more \
                 specific pattern first",
                shown(&earlier.value)
            );
            document.warn(&descriptor.place.field("value"), what);
        } else if patterns.len() < MAX_COMPARED {
            patterns.push(descriptor);
        }
    }
    for descriptor in level.iter().filter(|descriptor| descriptor.value.is_empty()) {
        let takes_all = |other: &&&Descriptor| {
            other.key == descriptor.key && other.value.bytes().all(|b| b == b'*')
        };
        if let Some(pattern) = patterns.iter().find(takes_all) {
            let what = format!(
                "no value reaches this descriptor, since `{}` takes them all; remove one of the two",
                shown(&pattern.value)
            );
            document.warn(&descriptor.place.field("key"), what);
        }
    }
}

/// Whether a pattern matches a text. One that matches another pattern as a text takes everything that the other does:
/// whatever stands for a `*` of the other, a `*` of its own takes.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let (Some(first), last) = (parts.next(), parts.next_back()) else { return false };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = last else { return rest.is_empty() };
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

/// Warns of a `*` in a key. The reference makes a pattern of it, by accident: it joins key and value.
fn warn_key(descriptor: &Descriptor, document: &Document<'_>) {
    if descriptor.key.contains('*') {
        let what =
            "`*` has no meaning in a key, which is compared as a whole; write it into `value`";
        document.warn(&descriptor.place.field("key"), what);
    }
}

/// Warns of a limit that denies everything, and of what has no effect without a limit.
fn warn_limit(descriptor: &Descriptor, document: &Document<'_>) {
    let Some(limit) = &descriptor.rate_limit else {
        for (field, is_set) in [
            ("shadow_mode", descriptor.shadow_mode),
            ("quota_mode", descriptor.quota_mode),
            ("detailed_metric", descriptor.detailed_metric),
            ("metadata", descriptor.metadata.is_some()),
        ] {
            if is_set {
                let what = format!(
                    "`{field}` has no effect on a descriptor without `rate_limit`; write it to each of \
                     those below that have one"
                );
                document.warn(&descriptor.place.field(field), what);
            }
        }
        return;
    };
    if !limit.unlimited && !descriptor.place.has("requests_per_unit") {
        let what = "`requests_per_unit` is missing, so that every hit is denied; write 0 if that is \
                    meant";
        document.warn(&descriptor.place.field("rate_limit"), what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_takes_another_if_it_matches_it_as_a_text() {
        for (pattern, other) in
            [("*", "*"), ("*", "a*b"), ("a*", "ab*"), ("a*c", "a*b*c"), ("*b*", "a*b"), ("**", "*")]
        {
            assert!(matches(pattern, other), "{pattern} {other}");
        }
        for (pattern, other) in [
            ("a*", "*"),
            ("ab*", "a*"),
            ("*b*", "a*"),
            ("a*a", "a*"),
            ("/a/*/z", "/a/z"),
            ("a*a", "a"),
        ] {
            assert!(!matches(pattern, other), "{pattern} {other}");
        }
    }
}
