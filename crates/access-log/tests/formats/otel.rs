//! OpenTelemetry.

use access_log::Format;

use super::{MS, SECOND, error, fields, only, read};

/// Envoy's OpenTelemetry access log: a body of text, attributes, and the start.
const ENVOY: &str = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"node_name","value":{"stringValue":"edge-1"}}]},"scopeLogs":[{"scope":{"name":"envoy"},"logRecords":[{"timeUnixNano":"1715940303250000000","body":{"stringValue":"GET \"/a\""},"attributes":[{"key":"method","value":{"stringValue":"GET"}},{"key":"path","value":{"stringValue":"/a"}},{"key":"duration","value":{"stringValue":"250"}},{"key":"x_tenant","value":{"stringValue":"acme"}}]},{"timeUnixNano":1715940304000000000,"attributes":[{"key":"method","value":{"stringValue":"PUT"}}]}]}]}]}"#;

#[test]
fn a_line_may_have_many_records() {
    let wanted = ["method", "path", "x_tenant", "resource.node_name", "body"];
    let told = read(Format::OtelJson, &wanted, &[ENVOY]);
    assert_eq!(told.len(), 2);
    assert_eq!((told[0].start, told[0].duration), (SECOND + 250 * MS, Some(250 * MS)));
    assert_eq!(told[0].values(), ["GET", "/a", "acme", "edge-1", "GET \"/a\""]);
    assert_eq!((told[1].start, told[1].duration), (SECOND + 1000 * MS, None));
    assert_eq!(told[1].values(), ["PUT", "-", "-", "edge-1", "-"]);
}

/// A collector's file exporter, with values of every kind and the semantic conventions.
#[test]
fn values_of_every_kind_are_texts() {
    let line = r#"{"resourceLogs":[{"resource":{},"scopeLogs":[{"scope":{"attributes":[{"key":"s","value":{"stringValue":"v"}}]},"logRecords":[{"observedTimeUnixNano":"1715940303000000000","timeUnixNano":"0","severityText":"INFO","body":{"kvlistValue":{"values":[{"key":"a","value":{"kvlistValue":{"values":[{"key":"b","value":{"boolValue":true}}]}}}]}},"attributes":[{"key":"http.request.method","value":{"stringValue":"GET"}},{"key":"http.response.status_code","value":{"intValue":"200"}},{"key":"n","value":{"intValue":-7}},{"key":"d","value":{"doubleValue":0.5}},{"key":"list","value":{"arrayValue":{"values":[{"stringValue":"x"},{"intValue":"2"}]}}},{"key":"none","value":{}}],"traceId":"","spanId":""}]}]}]}"#;
    let wanted =
        ["method", "status", "n", "d", "list", "none", "body.a.b", "scope.s", "severityText"];
    let told = only(Format::OtelJson, &wanted, &[line]);
    assert_eq!(told.values(), ["GET", "200", "-7", "0.5", "x, 2", "-", "true", "v", "INFO"]);
    assert_eq!(told.start, SECOND);
    let fields = fields(Format::OtelJson, &[line]);
    for field in
        ["scope.s=v", "http.request.method=GET", "body.a.b=true", "list=x, 2", "method=GET"]
    {
        assert!(fields.contains(&field.to_owned()), "{field}: {fields:?}");
    }
}

#[test]
fn what_is_no_export_is_refused() {
    let text = error(Format::OtelJson, &[r#"{"resourceSpans":[]}"#]);
    assert_eq!(text, "byte 20: expected JSON with `resourceLogs`, as OTLP file exporters write it");
    assert!(read(Format::OtelJson, &[], &[r#"{"resourceLogs":[]}"#]).is_empty());
    let line = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]}"#;
    assert!(error(Format::OtelJson, &[line]).contains("a field with the time"));
}
