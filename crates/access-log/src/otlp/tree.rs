//! The tree of an export request: `ExportLogsServiceRequest` in OTLP's mapping to JSON, where 64-bit numbers may be
//! strings.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Export<'t> {
    #[serde(borrow)]
    pub(super) resource_logs: Vec<ResourceLogs<'t>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ResourceLogs<'t> {
    #[serde(borrow)]
    pub(super) resource: Attributes<'t>,
    #[serde(borrow)]
    pub(super) scope_logs: Vec<ScopeLogs<'t>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ScopeLogs<'t> {
    #[serde(borrow)]
    pub(super) scope: Attributes<'t>,
    #[serde(borrow)]
    pub(super) log_records: Vec<LogRecord<'t>>,
}

/// A resource, or a scope.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Attributes<'t> {
    #[serde(borrow)]
    pub(super) attributes: Vec<KeyValue<'t>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LogRecord<'t> {
    #[serde(borrow)]
    time_unix_nano: Option<Scalar<'t>>,
    #[serde(borrow)]
    observed_time_unix_nano: Option<Scalar<'t>>,
    #[serde(borrow)]
    severity_text: Option<Scalar<'t>>,
    #[serde(borrow)]
    trace_id: Option<Scalar<'t>>,
    #[serde(borrow)]
    span_id: Option<Scalar<'t>>,
    #[serde(borrow)]
    pub(super) body: Value<'t>,
    #[serde(borrow)]
    pub(super) attributes: Vec<KeyValue<'t>>,
}

impl LogRecord<'_> {
    /// The fields that have fixed names. A time of 0 is unknown, as OTLP has it.
    pub(super) fn scalars(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let times = [
            ("timeUnixNano", &self.time_unix_nano),
            ("observedTimeUnixNano", &self.observed_time_unix_nano),
        ];
        let known = |(_, value): &(_, &str)| *value != "0";
        let times = times.into_iter().filter_map(present).filter(known);
        let others = [
            ("severityText", &self.severity_text),
            ("traceId", &self.trace_id),
            ("spanId", &self.span_id),
        ];
        times.chain(others.into_iter().filter_map(present))
    }
}

fn present<'a>(
    (name, value): (&'static str, &'a Option<Scalar<'_>>),
) -> Option<(&'static str, &'a str)> {
    value.as_ref().map(|value| (name, &*value.0))
}

#[derive(Deserialize)]
pub(super) struct KeyValue<'t> {
    #[serde(borrow)]
    pub(super) key: Scalar<'t>,
    #[serde(borrow, default)]
    pub(super) value: Value<'t>,
}

/// A value. An array is the text of its elements with `, ` between them.
#[derive(Default)]
pub(super) enum Value<'t> {
    #[default]
    Absent,
    Scalar(Cow<'t, str>),
    List(Vec<KeyValue<'t>>),
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct AnyValue<'t> {
    #[serde(
        borrow,
        alias = "intValue",
        alias = "doubleValue",
        alias = "boolValue",
        alias = "bytesValue"
    )]
    string_value: Option<Scalar<'t>>,
    #[serde(borrow)]
    array_value: Option<Values<Value<'t>>>,
    #[serde(borrow)]
    kvlist_value: Option<Values<KeyValue<'t>>>,
}

#[derive(Deserialize)]
struct Values<T> {
    #[serde(default = "Vec::new")]
    values: Vec<T>,
}

impl<'de: 't, 't> Deserialize<'de> for Value<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        AnyValue::deserialize(deserializer).map(Self::from)
    }
}

impl<'t> From<AnyValue<'t>> for Value<'t> {
    fn from(value: AnyValue<'t>) -> Self {
        if let Some(Scalar(text)) = value.string_value {
            Self::Scalar(text)
        } else if let Some(list) = value.kvlist_value {
            Self::List(list.values)
        } else if let Some(array) = value.array_value {
            let texts = array.values.iter().filter_map(|value| match value {
                Self::Scalar(text) => Some(&**text),
                Self::Absent | Self::List(_) => None,
            });
            Self::Scalar(texts.collect::<Vec<_>>().join(", ").into())
        } else {
            Self::Absent
        }
    }
}

/// A text, number or boolean as text.
pub(super) struct Scalar<'t>(pub(super) Cow<'t, str>);

impl<'de: 't, 't> Deserialize<'de> for Scalar<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number or a boolean")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar(text.into()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar(text.to_owned().into()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar(number.to_string().into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Scalar<'de>, E> {
        Ok(Scalar(number.to_string().into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar(number.to_string().into()))
    }

    fn visit_bool<E: Error>(self, is_true: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar(is_true.to_string().into()))
    }
}
