//! What fields are called: the general names of this crate, and those that they have in logs.
//!
//! Sources: the documentation of Envoy's access log and of Istio's defaults, of NGINX's log variables, Caddy's and
//! Traefik's access logs, AWS's load balancers, CloudFront and API Gateway, and OpenTelemetry's semantic conventions
//! for HTTP, the older ones included.

use std::borrow::Cow;

use crate::duration::Unit;
use crate::request::Part::{self, Address, Authority, Last, Method, Path, Protocol, Target, Whole};

/// The general names, which every format has for what it knows.
pub const GENERAL: [&str; 14] = [
    "method",
    "path",
    "protocol",
    "authority",
    "status",
    "remote_address",
    "x_forwarded_for",
    "user_agent",
    "referer",
    "request_id",
    "user",
    "duration",
    "bytes_sent",
    "bytes_received",
];

/// A name that a field may have in a log, and which part of the value is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alias {
    pub(crate) name: Cow<'static, str>,
    pub(crate) part: Part,
}

/// Where to look for a field, the best first: under its own name, and for a general name under those that logs have.
pub(crate) fn aliases(field: &str) -> Vec<Alias> {
    let own_part = if field == "path" { Target } else { Whole };
    let own = Alias { name: field.to_owned().into(), part: own_part };
    let others = others(field).iter();
    let others = others.map(|(name, part)| Alias { name: (*name).into(), part: *part });
    std::iter::once(own).chain(others).collect()
}

fn others(field: &str) -> &'static [(&'static str, Part)] {
    match field {
        "method" => &[
            ("request_method", Whole),
            (":method", Whole),
            ("request.method", Whole),
            ("RequestMethod", Whole),
            ("http.request.method", Whole),
            ("http.method", Whole),
            ("http_method", Whole),
            ("httpMethod", Whole),
            ("cs-method", Whole),
            ("request", Method),
        ],
        "path" => &[
            (":path", Target),
            ("request_uri", Target),
            ("request.uri", Target),
            ("RequestPath", Target),
            ("http.target", Target),
            ("url.path", Target),
            ("http.url", Target),
            ("url.full", Target),
            ("cs-uri-stem", Target),
            ("request", Path),
            // NGINX's is without the query, and may be rewritten.
            ("uri", Target),
            ("url", Target),
        ],
        "protocol" => &[
            ("server_protocol", Whole),
            ("request.proto", Whole),
            ("RequestProtocol", Whole),
            ("cs-protocol-version", Whole),
            ("request", Protocol),
            ("network.protocol.version", Whole),
            ("http.flavor", Whole),
        ],
        "authority" => &[
            (":authority", Whole),
            ("http_host", Whole),
            ("request.host", Whole),
            ("RequestHost", Whole),
            ("x-host-header", Whole),
            ("request", Authority),
            ("domain_name", Whole),
            ("host", Whole),
            ("server.address", Whole),
            ("http.host", Whole),
            ("cs(Host)", Whole),
        ],
        "status" => &[
            ("response_code", Whole),
            ("elb_status_code", Whole),
            ("DownstreamStatus", Whole),
            ("http.response.status_code", Whole),
            ("http.status_code", Whole),
            ("status_code", Whole),
            ("sc-status", Whole),
        ],
        "remote_address" => &[
            ("remote_addr", Whole),
            ("downstream_remote_address", Address),
            ("request.client_ip", Whole),
            ("request.remote_ip", Whole),
            ("ClientHost", Whole),
            ("client:port", Address),
            ("c-ip", Whole),
            ("client.address", Whole),
            ("source.address", Whole),
            ("net.peer.ip", Whole),
            ("client_ip", Whole),
            ("remote_ip", Whole),
            ("clientip", Whole),
            ("sourceIp", Whole),
            ("client", Address),
            // Envoy appends the address of its peer there, and its default format has it nowhere else.
            ("x_forwarded_for", Last),
        ],
        "x_forwarded_for" => &[
            ("http_x_forwarded_for", Whole),
            ("x-forwarded-for", Whole),
            ("request.headers.X-Forwarded-For", Whole),
            ("request_X-Forwarded-For", Whole),
            ("http.request.header.x-forwarded-for", Whole),
        ],
        "user_agent" => &[
            ("http_user_agent", Whole),
            ("user-agent", Whole),
            ("request.headers.User-Agent", Whole),
            ("request_User-Agent", Whole),
            ("user_agent.original", Whole),
            ("http.user_agent", Whole),
            ("cs(User-Agent)", Whole),
            ("agent", Whole),
        ],
        "referer" => &[
            ("http_referer", Whole),
            ("request.headers.Referer", Whole),
            ("request_Referer", Whole),
            ("http.request.header.referer", Whole),
            ("cs(Referer)", Whole),
        ],
        "request_id" => &[
            ("x_request_id", Whole),
            ("http_x_request_id", Whole),
            ("x-request-id", Whole),
            ("request.headers.X-Request-Id", Whole),
            ("request_X-Request-Id", Whole),
            ("x-edge-request-id", Whole),
            ("trace_id", Whole),
            ("requestId", Whole),
        ],
        "user" => &[
            ("remote_user", Whole),
            ("user_id", Whole),
            ("ClientUsername", Whole),
            ("user.id", Whole),
            ("enduser.id", Whole),
        ],
        "duration" => &[
            ("duration_ms", Whole),
            ("request_time", Whole),
            ("Duration", Whole),
            ("time-taken", Whole),
        ],
        "bytes_sent" => &[
            ("body_bytes_sent", Whole),
            ("sent_bytes", Whole),
            ("size", Whole),
            ("DownstreamContentSize", Whole),
            ("http.response.body.size", Whole),
            ("sc-bytes", Whole),
        ],
        "bytes_received" => &[
            ("request_length", Whole),
            ("received_bytes", Whole),
            ("bytes_read", Whole),
            ("RequestContentSize", Whole),
            ("http.request.body.size", Whole),
            ("cs-bytes", Whole),
        ],
        _ => &[],
    }
}

/// A field that has the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimeName {
    pub(crate) name: Cow<'static, str>,
    /// Whether it is the end of the request. `None` leaves that to the duration's field.
    pub(crate) is_end: Option<bool>,
}

/// A field that has the duration, or several that add up to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DurationName {
    pub(crate) names: Vec<Cow<'static, str>>,
    pub(crate) unit: Unit,
    /// Whether a log with this field has the end of the request in a field whose name does not tell.
    pub(crate) is_beside_end: bool,
    /// Whether it may be Caddy's, beside its time: seconds with a fraction, where Envoy has whole milliseconds.
    pub(crate) may_be_caddys: bool,
}

/// Fields that name the time, the best first.
const TIMES: [(&str, Option<bool>); 25] = [
    // Envoy, Istio.
    ("start_time", Some(false)),
    // AWS load balancers.
    ("request_creation_time", Some(false)),
    // Traefik.
    ("StartUTC", Some(false)),
    ("StartLocal", Some(false)),
    ("startTime", Some(false)),
    ("request_start", Some(false)),
    // API Gateway.
    ("requestTimeEpoch", Some(false)),
    ("requestTime", Some(false)),
    // OTLP.
    ("timeUnixNano", None),
    // NGINX; the first is the only one with a fraction.
    ("msec", Some(true)),
    ("time_iso8601", Some(true)),
    ("time_local", Some(true)),
    ("end_time", Some(true)),
    ("endTime", Some(true)),
    // Caddy; zap, its logger, writes seconds.
    ("ts", Some(true)),
    ("@timestamp", None),
    ("timestamp", None),
    ("time", None),
    ("datetime", None),
    ("date_time", None),
    ("eventTime", None),
    ("event_time", None),
    ("EdgeStartTimestamp", Some(false)),
    ("date", None),
    ("observedTimeUnixNano", Some(true)),
];

/// The names by which a time is looked for: this one, or those of the conventions.
pub(crate) fn times(name: Option<&str>, is_end: Option<bool>) -> Vec<TimeName> {
    let by_convention =
        |name: &str| TIMES.iter().find(|(known, _)| *known == name).and_then(|it| it.1);
    match name {
        Some(name) => {
            let is_end = is_end.or_else(|| by_convention(name));
            vec![TimeName { name: name.to_owned().into(), is_end }]
        }
        None => {
            let all = TIMES.iter();
            all.map(|(name, known)| TimeName { name: (*name).into(), is_end: is_end.or(*known) })
                .collect()
        }
    }
}

/// The names by which a duration is looked for: this one, or those of the conventions.
pub(crate) fn durations(named: Option<&(String, Unit)>) -> Vec<DurationName> {
    use Unit::{Microseconds, Milliseconds, Nanoseconds, Seconds};
    let alb = ["request_processing_time", "target_processing_time", "response_processing_time"];
    let known: [(&[&'static str], Unit, bool); 14] = [
        (&["duration"], Milliseconds, false),
        (&["duration_ms"], Milliseconds, false),
        (&["durationMs"], Milliseconds, false),
        (&["duration_s"], Seconds, false),
        (&["duration_seconds"], Seconds, false),
        (&["duration_us"], Microseconds, false),
        (&["duration_ns"], Nanoseconds, false),
        (&["request_time"], Seconds, true),
        (&["Duration"], Nanoseconds, true),
        (&["time-taken"], Seconds, true),
        (&["time_taken"], Seconds, true),
        (&alb, Seconds, true),
        (&["responseLatency"], Milliseconds, false),
        (&["latency_ms"], Milliseconds, true),
    ];
    if let Some((name, unit)) = named {
        let is_beside_end = known.iter().any(|(names, _, end)| *end && **names == [name.as_str()]);
        let names = vec![name.clone().into()];
        return vec![DurationName { names, unit: *unit, is_beside_end, may_be_caddys: false }];
    }
    let known = known.into_iter().map(|(names, unit, is_beside_end)| DurationName {
        names: names.iter().map(|name| (*name).into()).collect(),
        unit,
        is_beside_end,
        may_be_caddys: *names == ["duration"],
    });
    known.collect()
}

/// Whether a time of this name may be Caddy's.
pub(crate) fn may_be_caddys(time: &str) -> bool {
    time == "ts"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_general_name_stands_for_the_names_of_logs() {
        let methods = aliases("method");
        assert_eq!(methods.first().unwrap().name, "method");
        assert!(methods.contains(&Alias { name: "request".into(), part: Method }));
        assert_eq!(aliases("x_tenant"), [Alias { name: "x_tenant".into(), part: Whole }]);
        for name in GENERAL {
            assert!(!others(name).is_empty(), "{name}");
        }
    }

    #[test]
    fn a_named_time_keeps_its_convention() {
        let is_end = |name, told| times(Some(name), told).first().unwrap().is_end;
        assert_eq!(is_end("time_local", None), Some(true));
        assert_eq!(is_end("time_local", Some(false)), Some(false));
        assert_eq!(is_end("when", None), None);
    }
}
