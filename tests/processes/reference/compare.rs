//! When two services have said the same, and what an answer is in one line.

use std::fmt::Write as _;

use prost_types::value::Kind;
use prost_types::{Duration, Struct, Value};
use tollgate::wire::RateLimitResponse;
use tollgate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::DescriptorStatus;
use tollgate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;
use tonic::Code;

use super::sides::Said;
use super::windows;

/// The whole seconds within which a question was answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) before: u64,
    pub(super) after: u64,
}

/// Panics unless all say the same. What they say, once.
pub(super) fn same(
    said: Vec<(&'static str, Said)>,
    times: Times,
    context: &dyn Fn() -> String,
) -> Said {
    let mut said = said.into_iter().map(|(name, said)| (name, known(name, said, times, context)));
    let (first, one) = said.next().unwrap();
    for (name, other) in said {
        let same = match (&one, &other) {
            (Ok(one), Ok(other)) => one.timeless(times) == other.timeless(times),
            (Err(one), Err(other)) => failed_alike(one.code(), other.code()),
            _ => false,
        };
        assert!(
            same,
            "they differ\n{first}: {}\n{name}: {}\n{}",
            described(&one),
            described(&other),
            context()
        );
    }
    one
}

/// [`super::Difference::BadRequest`].
fn failed_alike(one: Code, other: Code) -> bool {
    let fails = |code| matches!(code, Code::Unknown | Code::InvalidArgument);
    one == other || fails(one) && fails(other)
}

fn described(said: &Said) -> String {
    match said {
        Ok(answer) => format!("{}\n{answer:?}", line(answer)),
        Err(status) => format!("{:?}: {}", status.code(), status.message()),
    }
}

/// With what is true of every answer checked, and without what only the pinned reference says.
fn known(name: &str, said: Said, times: Times, context: &dyn Fn() -> String) -> Said {
    let mut answer = said?;
    for status in &answer.statuses {
        let holds = reset_is_due(status, times);
        assert!(holds, "{name}: not the reset of {times:?}: {status:?}\n{}", context());
    }
    if let Some(metadata) = &mut answer.dynamic_metadata {
        metadata.fields.remove("quotaModeEnabled");
        metadata.fields.remove("quotaModeViolations");
        spaced_once(metadata);
    }
    Ok(answer)
}

/// A status with a limit says when its window ends, and one without does not.
fn reset_is_due(status: &DescriptorStatus, times: Times) -> bool {
    match (&status.current_limit, &status.duration_until_reset) {
        (None, None) => true,
        (Some(limit), Some(Duration { seconds, nanos: 0 })) => {
            let length = windows::length(limit.unit());
            let due = |now: u64| length - now % length;
            [times.before, times.after].map(due).contains(&u64::try_from(*seconds).unwrap())
        }
        _ => false,
    }
}

/// Protobuf's text has one space or two between fields, by chance of the build.
fn spaced_once(metadata: &mut Struct) {
    for value in metadata.fields.values_mut() {
        each_text(value, &mut |text| {
            *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        });
    }
}

fn each_text(value: &mut Value, change: &mut dyn FnMut(&mut String)) {
    match &mut value.kind {
        Some(Kind::StructValue(inner)) => {
            for (name, value) in &mut inner.fields {
                if let (true, Some(Kind::StringValue(text))) = (name == "limit", &mut value.kind) {
                    change(text);
                } else {
                    each_text(value, change);
                }
            }
        }
        Some(Kind::ListValue(list)) => {
            list.values.iter_mut().for_each(|value| each_text(value, change));
        }
        _ => {}
    }
}

/// What has no one answer where a second ended meanwhile.
trait Timeless {
    fn timeless(&self, times: Times) -> Self;
}

impl Timeless for RateLimitResponse {
    fn timeless(&self, times: Times) -> Self {
        let mut answer = self.clone();
        if times.before != times.after {
            answer.statuses.iter_mut().for_each(|status| status.duration_until_reset = None);
            if let [_, _, reset] = &mut answer.response_headers_to_add[..] {
                reset.value.clear();
            }
        }
        answer
    }
}

/// `OVER_LIMIT: OK 1 of 2 a MINUTE, OVER_LIMIT 0 of 3 a DAY "name", OK`: the code, then for each status its code and
/// what it says of its limit.
pub(super) fn line(answer: &RateLimitResponse) -> String {
    let mut line = answer.overall_code().as_str_name().to_owned();
    for (at, status) in answer.statuses.iter().enumerate() {
        line.push_str(if at == 0 { ": " } else { ", " });
        line.push_str(status.code().as_str_name());
        match &status.current_limit {
            None if status.limit_remaining == u32::MAX => line.push_str(" unlimited"),
            None if status.limit_remaining == 0 => {}
            None => _ = write!(line, " {}", status.limit_remaining),
            Some(limit) => {
                let (left, of) = (status.limit_remaining, limit.requests_per_unit);
                _ = write!(line, " {left} of {of} a {}", unit_name(limit.unit()));
                if !limit.name.is_empty() {
                    _ = write!(line, " {:?}", limit.name);
                }
            }
        }
    }
    line
}

fn unit_name(unit: Unit) -> &'static str {
    unit.as_str_name()
}

/// The headers for the client, `name: value` each.
pub(super) fn headers(answer: &RateLimitResponse) -> Vec<String> {
    let header = |header: &tollgate::wire::pb::envoy::config::core::v3::HeaderValue| {
        format!("{}: {}", header.key, header.value)
    };
    answer.response_headers_to_add.iter().map(header).collect()
}

/// Dynamic metadata as JSON.
pub(super) fn metadata(answer: &RateLimitResponse) -> serde_json::Value {
    answer.dynamic_metadata.as_ref().map_or(serde_json::Value::Null, json_of_struct)
}

fn json_of_struct(fields: &Struct) -> serde_json::Value {
    fields.fields.iter().map(|(name, value)| (name.clone(), json(value))).collect()
}

fn json(value: &Value) -> serde_json::Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::NumberValue(number)) => (*number).into(),
        Some(Kind::StringValue(text)) => text.clone().into(),
        Some(Kind::BoolValue(is)) => (*is).into(),
        Some(Kind::StructValue(fields)) => json_of_struct(fields),
        Some(Kind::ListValue(list)) => list.values.iter().map(json).collect(),
    }
}
