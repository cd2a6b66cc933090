//! AWS Application Load Balancer. `time` is that of the response, `request_creation_time` that of the request; three
//! times in seconds add up to the duration, and are -1 for a request without a response.

use super::Kind::{Number, Quoted, Word};
use super::Layout;
use crate::format::Format;

pub(crate) static ALB: Layout = Layout {
    format: Format::Alb,
    columns: &[
        ("type", Word),
        ("time", Word),
        ("elb", Word),
        ("client:port", Word),
        ("target:port", Word),
        ("request_processing_time", Number),
        ("target_processing_time", Number),
        ("response_processing_time", Number),
        ("elb_status_code", Number),
        ("target_status_code", Number),
        ("received_bytes", Number),
        ("sent_bytes", Number),
        ("request", Quoted),
        ("user_agent", Quoted),
        ("ssl_cipher", Word),
        ("ssl_protocol", Word),
        ("target_group_arn", Word),
        ("trace_id", Quoted),
        ("domain_name", Quoted),
        ("chosen_cert_arn", Quoted),
        ("matched_rule_priority", Number),
        ("request_creation_time", Word),
        ("actions_executed", Quoted),
        ("redirect_url", Quoted),
        ("error_reason", Quoted),
        ("target:port_list", Quoted),
        ("target_status_code_list", Quoted),
        ("classification", Quoted),
        ("classification_reason", Quoted),
        ("conn_trace_id", Word),
    ],
    required: 17,
    has_escapes: true,
    is_end: true,
    may_have_prefix: false,
};
