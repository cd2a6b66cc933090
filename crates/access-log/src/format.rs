//! The formats, by name.

use std::fmt;
use std::str::FromStr;

/// A format of access logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Envoy's default text.
    Envoy,
    /// Istio's default text.
    Istio,
    /// Common and combined of Apache and NGINX, also with `X-Forwarded-For` and further columns behind.
    Combined,
    /// AWS Application Load Balancer.
    Alb,
    /// AWS CloudFront's standard log: `#Fields:`, tabs.
    CloudFront,
    /// One JSON object a line, whatever its fields: of Envoy, Istio, NGINX, Caddy, Traefik and others.
    Json,
    /// OpenTelemetry's logs in JSON, as OTLP file exporters write them: a line may have many records.
    OtelJson,
    /// Comma-separated values; the first line names the columns.
    Csv,
    /// Tab-separated values; the first line names the columns.
    Tsv,
    /// tollgate's log in all of its formats; only the lines about denied calls are records.
    Tollgate,
}

impl Format {
    /// Every format, in the order in which [`detect`](crate::detect()) prefers them.
    pub const ALL: [Self; 10] = [
        Self::Tollgate,
        Self::OtelJson,
        Self::Json,
        Self::CloudFront,
        Self::Alb,
        Self::Istio,
        Self::Envoy,
        Self::Combined,
        Self::Csv,
        Self::Tsv,
    ];

    /// The name, which [`FromStr`] reads.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Envoy => "envoy",
            Self::Istio => "istio",
            Self::Combined => "combined",
            Self::Alb => "alb",
            Self::CloudFront => "cloudfront",
            Self::Json => "json",
            Self::OtelJson => "otel-json",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Tollgate => "tollgate",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that no format has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no format `{}`; there are: {}", name.escape_debug(), names())]
pub struct UnknownFormat {
    name: String,
}

fn names() -> String {
    Format::ALL.map(Format::name).join(", ")
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let found = Self::ALL.into_iter().find(|format| format.name() == name);
        found.ok_or_else(|| UnknownFormat { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_the_format_that_has_it() {
        for format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(format));
        }
        let error = "apache\n".parse::<Format>().unwrap_err().to_string();
        assert!(
            error.starts_with("no format `apache\\n`; there are: tollgate, otel-json,"),
            "{error}"
        );
    }
}
