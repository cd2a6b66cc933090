//! OpenTelemetry's logs in JSON: a line is an export request, with records of several resources and scopes.
//!
//! The attributes of a record are fields under their keys, those of its resource and scope under `resource.KEY` and
//! `scope.KEY`, and its body is `body`, or `body.KEY` for a body of keys and values.

mod tree;

use self::tree::{Export, KeyValue, LogRecord, Value};
use crate::error::LineError;
use crate::named::Names;
use crate::record::{Asked, Record};
use crate::unescape::Raw;

/// Reads lines of OpenTelemetry.
#[derive(Debug, Clone)]
pub(crate) struct OtlpReader {
    names: Names,
    /// The name of the field at hand.
    name: String,
}

impl OtlpReader {
    pub(crate) fn new(asked: &Asked) -> Self {
        Self { names: Names::new(asked), name: String::new() }
    }

    pub(crate) fn read(
        &mut self,
        line: &[u8],
        scratch: &mut Vec<u8>,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<(), LineError> {
        let export = parse(line)?;
        let Self { names, name } = self;
        export.each_record(&mut |around, record| {
            let mut gathered = names.gather();
            visit(around, record, name, &mut |name, value| {
                gathered.put(names.uses(name.as_bytes()), Raw::plain(value.as_bytes()));
            });
            names.finish(&gathered, scratch, each)
        })
    }

    /// Every field of every record by its name.
    pub(crate) fn fields(
        &mut self,
        line: &[u8],
        each: &mut dyn FnMut(&str, &[u8]),
    ) -> Result<(), LineError> {
        let export = parse(line)?;
        export.each_record(&mut |around, record| {
            visit(around, record, &mut self.name, &mut |name, value: &str| {
                each(name, value.as_bytes());
            });
            Ok(())
        })
    }
}

fn parse(line: &[u8]) -> Result<Export<'_>, LineError> {
    serde_json::from_slice(line).map_err(|error| {
        let at = error.column().saturating_sub(1);
        LineError::new(at, "JSON with `resourceLogs`, as OTLP file exporters write it")
    })
}

/// Attributes of what a record belongs to, and what their names begin with.
type Around<'a, 't> = [(&'static str, &'a [KeyValue<'t>]); 2];

impl<'t> Export<'t> {
    fn each_record<'a>(
        &'a self,
        each: &mut dyn FnMut(Around<'a, 't>, &'a LogRecord<'t>) -> Result<(), LineError>,
    ) -> Result<(), LineError> {
        for of_resource in &self.resource_logs {
            for of_scope in &of_resource.scope_logs {
                let resource = ("resource", &*of_resource.resource.attributes);
                let around = [resource, ("scope", &*of_scope.scope.attributes)];
                of_scope.log_records.iter().try_for_each(|record| each(around, record))?;
            }
        }
        Ok(())
    }
}

/// Hands over the fields of a record. `name` is for their names.
fn visit<'a>(
    around: Around<'a, '_>,
    record: &'a LogRecord<'_>,
    name: &mut String,
    each: &mut dyn FnMut(&str, &'a str),
) {
    for (prefix, attributes) in around {
        name.clear();
        name.push_str(prefix);
        visit_all(attributes, name, each);
    }
    for (key, value) in record.scalars() {
        each(key, value);
    }
    name.clear();
    name.push_str("body");
    visit_value(&record.body, name, each);
    name.clear();
    visit_all(&record.attributes, name, each);
}

/// The depth is bounded by that of the JSON, of which serde_json reads 127 brackets in each other at most.
fn visit_all<'a>(
    attributes: &'a [KeyValue<'_>],
    name: &mut String,
    each: &mut dyn FnMut(&str, &'a str),
) {
    let outer = name.len();
    for attribute in attributes {
        if outer > 0 {
            name.push('.');
        }
        name.push_str(&attribute.key.0);
        visit_value(&attribute.value, name, each);
        name.truncate(outer);
    }
}

fn visit_value<'a>(value: &'a Value<'_>, name: &mut String, each: &mut dyn FnMut(&str, &'a str)) {
    match value {
        Value::Absent => {}
        Value::Scalar(value) => each(name, value),
        Value::List(values) => visit_all(values, name, each),
    }
}
