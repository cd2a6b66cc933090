//! Which fields have the time and the duration, as the file has it.

use super::derived::field_name;
use crate::config::read::Node;
use crate::config::schema::one_of;
use crate::mapping::{At, DurationUnit};

pub(in crate::config::mapping) struct Time {
    pub(in crate::config::mapping) field: Option<String>,
    pub(in crate::config::mapping) at: Option<At>,
}

pub(in crate::config::mapping) struct Duration {
    pub(in crate::config::mapping) field: String,
    pub(in crate::config::mapping) unit: DurationUnit,
}

const AT: [(&str, At); 2] = [("start", At::Start), ("end", At::End)];

const UNITS: [(&str, DurationUnit); 4] = [
    ("s", DurationUnit::Seconds),
    ("ms", DurationUnit::Milliseconds),
    ("us", DurationUnit::Microseconds),
    ("ns", DurationUnit::Nanoseconds),
];

pub(super) fn time(node: &Node<'_>) -> Option<Time> {
    if !node.value.is_mapping() {
        return Some(Time { field: Some(field_name(node)?), at: None });
    }
    let mut fields = node.fields("a time")?;
    let (from, at) = (fields.take("from"), fields.take("at"));
    fields.finish();
    if from.is_none() && at.is_none() {
        node.report("write which field has the time, as in `{ from: $ts, at: start }`");
    }
    let field = from.and_then(|node| field_name(&node));
    Some(Time { field, at: at.and_then(|node| one_of(&node, "time", &AT)) })
}

pub(super) fn duration(node: &Node<'_>) -> Option<Duration> {
    let mut fields = node.fields("a duration, as in `{ from: $took, unit: ms }`")?;
    let (from, unit) = (fields.take("from"), fields.take("unit"));
    fields.finish();
    if from.is_none() || unit.is_none() {
        node.report("a duration needs `from` and `unit`, as in `{ from: $took, unit: ms }`");
    }
    let field = from.and_then(|node| field_name(&node));
    let unit = unit.and_then(|node| one_of(&node, "unit", &UNITS));
    Some(Duration { field: field?, unit: unit? })
}
