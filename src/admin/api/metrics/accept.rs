//! The text format of metrics that an `Accept` header prefers.

use axum::http::{HeaderMap, header};

use crate::observe::telemetry::TextFormat;

/// The format to answer in. OpenMetrics if the caller names it, with at least the same preference as the classic
/// format; the classic one otherwise, since every scraper reads it, and those that read OpenMetrics say so. So `*/*`,
/// which curl sends, is the classic format, which a terminal and a browser show as text.
pub(super) fn preferred(headers: &HeaderMap) -> TextFormat {
    let (mut open, mut classic) = (Preference::default(), Preference::default());
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in values.flat_map(|value| value.split(',')).filter_map(Range::parse) {
        match &*range.media_type {
            "application/openmetrics-text" if range.has_version(&["1.0.0", "0.0.1"]) => {
                open.raise(3, range.quality);
            }
            "application/*" => open.raise(2, range.quality),
            "text/plain" if range.has_version(&["0.0.4", "1.0.0"]) => {
                classic.raise(3, range.quality);
            }
            "text/*" => classic.raise(2, range.quality),
            "*/*" => classic.raise(1, range.quality),
            _ => {}
        }
    }
    match open.quality > 0.0 && open.quality >= classic.quality {
        true => TextFormat::OpenMetrics,
        false => TextFormat::Classic,
    }
}

/// How much a format is preferred: by the most specific range that covers it, and by the best of those.
#[derive(Default)]
struct Preference {
    specificity: u8,
    quality: f32,
}

impl Preference {
    fn raise(&mut self, specificity: u8, quality: f32) {
        if (specificity, quality) > (self.specificity, self.quality) {
            *self = Self { specificity, quality };
        }
    }
}

/// One range of media types, in lower case; its version if it asks for one; and its quality, from 0 to 1.
struct Range<'a> {
    media_type: String,
    version: Option<&'a str>,
    quality: f32,
}

impl<'a> Range<'a> {
    /// `None` if its quality is invalid.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next()?.to_ascii_lowercase();
        let mut range = Self { media_type, version: None, quality: 1.0 };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim_end() {
                name if name.eq_ignore_ascii_case("q") => range.quality = quality(value.trim())?,
                name if name.eq_ignore_ascii_case("version") => {
                    range.version = Some(value.trim().trim_matches('"'));
                }
                _ => {}
            }
        }
        Some(range)
    }

    /// Whether it asks for one of these versions, or for any.
    fn has_version(&self, known: &[&str]) -> bool {
        self.version.is_none_or(|version| known.contains(&version))
    }
}

/// A quality, from 0 to 1.
fn quality(text: &str) -> Option<f32> {
    text.parse().ok().filter(|quality| (0.0..=1.0).contains(quality))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferred_by(values: &[&str]) -> TextFormat {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT, value.parse().unwrap());
        }
        preferred(&headers)
    }

    #[test]
    fn openmetrics_is_for_those_that_name_it_and_prefer_nothing_else() {
        for accept in [
            "application/openmetrics-text",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            "application/openmetrics-text;version=\"0.0.1\", text/plain;q=0.5",
            // Of equal preference.
            "text/plain;version=0.0.4, application/openmetrics-text;version=1.0.0",
            "application/*",
            "Application/OpenMetrics-Text;VERSION=1.0.0",
            "application/openmetrics-text;q=0.3,text/plain;q=0",
            // The range that names the format counts, not the wider one.
            "text/*;q=1, text/plain;q=0.1, application/openmetrics-text;q=0.2",
            // As Prometheus 2 and 3 ask.
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;\
             escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        ] {
            assert_eq!(preferred_by(&[accept]), TextFormat::OpenMetrics, "{accept}");
        }
        let apart = ["text/plain;q=0.5", "application/openmetrics-text;q=0.6"];
        assert_eq!(preferred_by(&apart), TextFormat::OpenMetrics);
    }

    #[test]
    fn the_classic_format_is_for_all_others() {
        for accept in [
            "text/plain",
            "text/plain;version=0.0.4",
            "text/plain; version=0.0.4; q=0.5, application/openmetrics-text; Q=0.499",
            "*/*",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/*",
            "application/json",
            "application/openmetrics-text;q=0",
            "application/*, application/openmetrics-text;q=0",
            "application/openmetrics-text;version=2.0.0, text/plain;q=0.1",
            "application/openmetrics-text;q=2, application/openmetrics-text;q=-1",
            "application/openmetrics-text;q=NaN",
            "",
            ";;,,=,q=1",
        ] {
            assert_eq!(preferred_by(&[accept]), TextFormat::Classic, "{accept}");
        }
        assert_eq!(preferred_by(&[]), TextFormat::Classic);
    }
}
