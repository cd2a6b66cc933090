//! The common and the combined log format of Apache and NGINX, with `X-Forwarded-For` behind as in NGINX's packages.
//! The time is that of the end in NGINX, and of the start in Apache; neither has the duration, with which that would
//! matter, unless it is a further column.

use super::Kind::{Bracketed, Name, Number, Quoted, Word};
use super::Layout;
use crate::format::Format;

pub(crate) static COMBINED: Layout = Layout {
    format: Format::Combined,
    columns: &[
        ("remote_addr", Word),
        ("remote_ident", Word),
        ("remote_user", Name),
        ("time_local", Bracketed),
        ("request", Quoted),
        ("status", Number),
        ("body_bytes_sent", Number),
        ("http_referer", Quoted),
        ("http_user_agent", Quoted),
        ("http_x_forwarded_for", Quoted),
    ],
    required: 7,
    has_escapes: true,
    is_end: true,
    may_have_prefix: true,
};
