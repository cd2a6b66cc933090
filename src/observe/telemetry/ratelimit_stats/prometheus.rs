//! The counters under the names that they have in Prometheus behind envoyproxy/ratelimit: its default mapping of names of
//! statsd to metrics.
//!
//! No name ends in `_total`, so in OpenMetrics, where that of a counter does, they are of no known type.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::response_time::{BOUNDS, Histogram};
use super::{CALL, METHOD, RATE_LIMIT};
use crate::observe::telemetry::TextFormat;

/// The counters of a limit that the mapping knows.
const OF_LIMITS: [&str; 5] =
    ["near_limit", "over_limit", "shadow_mode", "total_hits", "within_limit"];

const RESPONSE_TIME: &str = "ratelimit_service_response_time_seconds";

/// Labels and their values, in order.
type Labels = Vec<(&'static str, String)>;

/// Writes counters of these names, and the histogram of response times.
pub(super) fn write(
    counters: &BTreeMap<String, u64>,
    response_times: Option<&Histogram>,
    format: TextFormat,
    to: &mut String,
) -> fmt::Result {
    let mut metrics: BTreeMap<String, BTreeMap<Labels, u64>> = BTreeMap::new();
    for (name, value) in counters {
        let (metric, labels) = mapped(name);
        *metrics.entry(metric).or_default().entry(labels).or_default() += value;
    }
    let kind = match format {
        TextFormat::OpenMetrics => "unknown",
        TextFormat::Classic => "counter",
    };
    for (metric, series) in metrics {
        writeln!(to, "# HELP {metric} {}\n# TYPE {metric} {kind}", help(&metric))?;
        for (labels, value) in series {
            write_labels(&metric, &labels, to)?;
            writeln!(to, " {value}")?;
        }
    }
    response_times.map_or(Ok(()), |times| write_histogram(times, to))
}

/// The metric and the labels of a counter, by its name in statsd.
fn mapped(name: &str) -> (String, Labels) {
    let labels = |pairs: &[(&'static str, &str)]| -> Labels {
        pairs.iter().map(|(label, value)| (*label, (*value).to_owned())).collect()
    };
    if let Some((path, counter)) = name.strip_prefix(RATE_LIMIT).and_then(|of| of.rsplit_once('.'))
        && OF_LIMITS.contains(&counter)
    {
        let mut parts = path.split('.');
        let metric = || format!("ratelimit_service_rate_limit_{counter}");
        match (parts.next(), parts.next(), parts.next()) {
            (Some(domain), Some(key1), None) => {
                return (metric(), labels(&[("domain", domain), ("key1", key1)]));
            }
            (Some(domain), Some(key1), Some(key2)) => {
                let pairs = [("domain", domain), ("key1", key1), ("key2", key2)];
                return (metric(), labels(&pairs));
            }
            _ => {}
        }
    }
    if let Some(error) = name.strip_prefix(CALL) {
        let metric = "ratelimit_service_should_rate_limit_error".to_owned();
        return (metric, labels(&[("err_type", error)]));
    }
    if name.strip_prefix("ratelimit_server.").is_some() {
        let metric = "ratelimit_service_total_requests".to_owned();
        return (metric, labels(&[("grpc_method", METHOD)]));
    }
    (unmapped(name), Labels::new())
}

/// The metric of a name that the mapping does not know: itself, with `_` for all but letters and digits.
fn unmapped(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn help(metric: &str) -> &'static str {
    match metric.strip_prefix("ratelimit_service_").unwrap_or_default() {
        "rate_limit_total_hits" => "Hits on limits",
        "rate_limit_within_limit" => "Hits within their limit",
        "rate_limit_near_limit" => "Hits within their limit, but near it",
        "rate_limit_over_limit" => "Hits over their limit",
        "rate_limit_shadow_mode" => "Hits over a limit in shadow, which denied no request",
        "should_rate_limit_error" => "Requests that failed",
        "total_requests" => "Requests",
        "config_load_success" => "Loads of policies that came into force",
        "config_load_error" => "Loads of policies that were rejected",
        "global_shadow_mode" => {
            "Requests over their limits that passed, since the deployment is in shadow"
        }
        other if other.ends_with("_domain_not_found") => {
            "Descriptors of requests for a domain without a configuration"
        }
        _ => "A counter of envoyproxy/ratelimit",
    }
}

fn write_histogram(Histogram { up_to, count, sum }: &Histogram, to: &mut String) -> fmt::Result {
    let help = "Time from a request that is read to its answer";
    writeln!(to, "# HELP {RESPONSE_TIME} {help}\n# TYPE {RESPONSE_TIME} histogram")?;
    let labels = format!("grpc_method=\"{METHOD}\"");
    for (bound, count) in BOUNDS.iter().zip(up_to) {
        writeln!(to, "{RESPONSE_TIME}_bucket{{{labels},le=\"{bound}\"}} {count}")?;
    }
    writeln!(to, "{RESPONSE_TIME}_bucket{{{labels},le=\"+Inf\"}} {count}")?;
    writeln!(to, "{RESPONSE_TIME}_sum{{{labels}}} {sum:?}")?;
    writeln!(to, "{RESPONSE_TIME}_count{{{labels}}} {count}")
}

fn write_labels(metric: &str, labels: &Labels, to: &mut String) -> fmt::Result {
    to.write_str(metric)?;
    for (at, (label, value)) in labels.iter().enumerate() {
        to.write_char(if at == 0 { '{' } else { ',' })?;
        write!(to, "{label}=\"")?;
        for c in value.chars() {
            match c {
                '\\' | '"' => write!(to, "\\{c}")?,
                '\n' => to.write_str("\\n")?,
                _ => to.write_char(c)?,
            }
        }
        to.write_char('"')?;
    }
    if labels.is_empty() { Ok(()) } else { to.write_char('}') }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(counters: &[(&str, u64)], times: Option<&Histogram>, format: TextFormat) -> String {
        let counters = counters.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let mut text = String::new();
        write(&counters, times, format, &mut text).unwrap();
        text
    }

    /// The series alone.
    fn series(counters: &[(&str, u64)]) -> Vec<String> {
        let text = written(counters, None, TextFormat::Classic);
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn labels_are_the_first_parts_of_a_path_and_deeper_levels_add_up() {
        let found = series(&[
            ("ratelimit.service.rate_limit.d.a_1.total_hits", 1),
            ("ratelimit.service.rate_limit.d.a_1.b.total_hits", 2),
            ("ratelimit.service.rate_limit.d.a_1.b.c.total_hits", 4),
            ("ratelimit.service.rate_limit.d.a_1.b.c.d.e.total_hits", 8),
            ("ratelimit.service.rate_limit.d.a_1.over_limit", 16),
        ]);
        let expected = [
            r#"ratelimit_service_rate_limit_over_limit{domain="d",key1="a_1"} 16"#,
            r#"ratelimit_service_rate_limit_total_hits{domain="d",key1="a_1"} 1"#,
            r#"ratelimit_service_rate_limit_total_hits{domain="d",key1="a_1",key2="b"} 14"#,
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_domain_with_a_dot_is_spread_over_the_labels() {
        let found = series(&[("ratelimit.service.rate_limit.shop.com.user_1.path.near_limit", 3)]);
        let expected =
            r#"ratelimit_service_rate_limit_near_limit{domain="shop",key1="com",key2="user_1"} 3"#;
        assert_eq!(found, [expected]);
    }

    #[test]
    fn values_of_labels_are_escaped() {
        let found = series(&[("ratelimit.service.rate_limit.d.a_\"\\x.within_limit", 1)]);
        let expected = r#"ratelimit_service_rate_limit_within_limit{domain="d",key1="a_\"\\x"} 1"#;
        assert_eq!(found, [expected]);
    }

    #[test]
    fn a_name_without_a_mapping_is_a_metric_of_its_own() {
        let found = series(&[
            ("ratelimit.service.global_shadow_mode", 1),
            ("ratelimit.service.rate_limit.other.domain_not_found", 2),
            ("ratelimit.service.rate_limit.sh-op.com.domain_not_found", 3),
            ("ratelimit.service.rate_limit.sh.op.com.domain_not_found", 4),
            ("ratelimit.service.rate_limit.d.total_hits", 5),
        ]);
        let expected = [
            "ratelimit_service_global_shadow_mode 1",
            "ratelimit_service_rate_limit_d_total_hits 5",
            "ratelimit_service_rate_limit_other_domain_not_found 2",
            "ratelimit_service_rate_limit_sh_op_com_domain_not_found 7",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn the_text_has_every_metric_with_its_type() {
        let counters = [
            ("ratelimit.service.call.should_rate_limit.redis_error", 1),
            ("ratelimit.service.call.should_rate_limit.service_error", 2),
            ("ratelimit.service.config_load_error", 3),
            ("ratelimit.service.config_load_success", 4),
            ("ratelimit_server.ShouldRateLimit.total_requests", 5),
        ];
        let times = Histogram { up_to: [64; 11], count: 128, sum: 1280.5 };
        let text = written(&counters, Some(&times), TextFormat::Classic);
        let expected = r#"# HELP ratelimit_service_config_load_error Loads of policies that were rejected
# TYPE ratelimit_service_config_load_error counter
ratelimit_service_config_load_error 3
# HELP ratelimit_service_config_load_success Loads of policies that came into force
# TYPE ratelimit_service_config_load_success counter
ratelimit_service_config_load_success 4
# HELP ratelimit_service_should_rate_limit_error Requests that failed
# TYPE ratelimit_service_should_rate_limit_error counter
ratelimit_service_should_rate_limit_error{err_type="redis_error"} 1
ratelimit_service_should_rate_limit_error{err_type="service_error"} 2
# HELP ratelimit_service_total_requests Requests
# TYPE ratelimit_service_total_requests counter
ratelimit_service_total_requests{grpc_method="ShouldRateLimit"} 5
# HELP ratelimit_service_response_time_seconds Time from a request that is read to its answer
# TYPE ratelimit_service_response_time_seconds histogram
ratelimit_service_response_time_seconds_bucket{grpc_method="ShouldRateLimit",le="0.005"} 64
ratelimit_service_response_time_seconds_bucket{grpc_method="ShouldRateLimit",le="0.01"} 64
ratelimit_service_response_time_seconds_bucket{grpc_method="ShouldRateLimit",le="0.025"} 64
ratelimit_service_response_time_seconds_bucket{grpc_method="ShouldRateLimit",le="0.05"} 64
ratelimit_service_response_time_seconds_bucket{grpc_method="ShouldRateLimit",le="0.1"} 64
ratelimit_service_response_time_seconds_bucket{grpc_method="ShouldRateLimit",le="0.25"} 64
ratelimit_service_response_time_seconds_bucket{grpc_method="ShouldRateLimit",le="0.5"} 64
ratelimit_service_response_time_seconds_bucket{grpc_method="ShouldRateLimit",le="1"} 64
ratelimit_service_response_time_seconds_bucket{grpc_method="ShouldRateLimit",le="2.5"} 64
ratelimit_service_response_time_seconds_bucket{grpc_method="ShouldRateLimit",le="5"} 64
ratelimit_service_response_time_seconds_bucket{grpc_method="ShouldRateLimit",le="10"} 64
ratelimit_service_response_time_seconds_bucket{grpc_method="ShouldRateLimit",le="+Inf"} 128
ratelimit_service_response_time_seconds_sum{grpc_method="ShouldRateLimit"} 1280.5
ratelimit_service_response_time_seconds_count{grpc_method="ShouldRateLimit"} 128
"#;
        assert_eq!(text, expected);
        let open = written(&counters, Some(&times), TextFormat::OpenMetrics);
        assert_eq!(open, expected.replace(" counter\n", " unknown\n"));
    }
}
