//! Envoy's default text format, and Istio's. Both have the start of a request, and durations in milliseconds. Texts are
//! not escaped.

use super::Kind::{Bracketed, Number, Quoted, Word};
use super::Layout;
use crate::format::Format;

pub(crate) static ENVOY: Layout = Layout {
    format: Format::Envoy,
    columns: &[
        ("start_time", Bracketed),
        ("request", Quoted),
        ("response_code", Number),
        ("response_flags", Word),
        ("bytes_received", Number),
        ("bytes_sent", Number),
        ("duration", Number),
        ("upstream_service_time", Number),
        ("x_forwarded_for", Quoted),
        ("user_agent", Quoted),
        ("request_id", Quoted),
        ("authority", Quoted),
        ("upstream_host", Quoted),
    ],
    required: 13,
    has_escapes: false,
    is_end: false,
    may_have_prefix: false,
};

pub(crate) static ISTIO: Layout = Layout {
    format: Format::Istio,
    columns: &[
        ("start_time", Bracketed),
        ("request", Quoted),
        ("response_code", Number),
        ("response_flags", Word),
        ("response_code_details", Word),
        ("connection_termination_details", Word),
        ("upstream_transport_failure_reason", Quoted),
        ("bytes_received", Number),
        ("bytes_sent", Number),
        ("duration", Number),
        ("upstream_service_time", Number),
        ("x_forwarded_for", Quoted),
        ("user_agent", Quoted),
        ("request_id", Quoted),
        ("authority", Quoted),
        ("upstream_host", Quoted),
        ("upstream_cluster", Word),
        ("upstream_local_address", Word),
        ("downstream_local_address", Word),
        ("downstream_remote_address", Word),
        ("requested_server_name", Word),
        ("route_name", Word),
    ],
    required: 22,
    has_escapes: false,
    is_end: false,
    may_have_prefix: false,
};
