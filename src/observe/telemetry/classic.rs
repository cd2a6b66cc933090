//! The older text format of Prometheus, version 0.0.4, from the text of OpenMetrics, which is all that
//! `prometheus_client` writes.
//!
//! Both formats have the same samples. They differ in the comments: the older one declares a counter under the name of
//! its samples, has neither units nor an end, and no quotes are escaped in a help. And it has no exemplars.

/// Converts the metrics that `prometheus_client` writes. A gauge histogram, which has no equal, becomes untyped.
pub(super) fn from_openmetrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // The help comes before the type, which decides the name in both.
    let mut help = None;
    for line in text.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            push_line(&mut out, &[without_exemplar(line)]);
            continue;
        };
        match comment.split_once(' ') {
            Some(("HELP", of_name)) => help = of_name.split_once(' ').or(Some((of_name, ""))),
            Some(("TYPE", of_name)) => {
                let (name, kind) = of_name.split_once(' ').unwrap_or((of_name, ""));
                let (suffix, kind) = declared(kind);
                if let Some((_, help)) = help.take().filter(|(of, _)| *of == name) {
                    push_line(&mut out, &["# HELP ", name, suffix, " ", &escaped(help)]);
                }
                push_line(&mut out, &["# TYPE ", name, suffix, " ", kind]);
            }
            // A unit, or the end.
            _ => {}
        }
    }
    out
}

/// What the samples of a type add to the name of their metric, and the word for the type.
fn declared(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        "gauge" | "stateset" => ("", "gauge"),
        "histogram" => ("", "histogram"),
        "summary" => ("", "summary"),
        _ => ("", "untyped"),
    }
}

/// A sample without the exemplar after it. A `#` in the value of a label begins none.
fn without_exemplar(sample: &str) -> &str {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let begins = |byte| {
        let begins = byte == b'#' && !is_quoted;
        is_quoted ^= byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        begins
    };
    match sample.bytes().position(begins) {
        Some(at) => sample.get(..at).unwrap_or(sample).trim_end(),
        None => sample,
    }
}

/// A help: only backslashes and ends of lines are escaped.
fn escaped(help: &str) -> String {
    let mut out = String::with_capacity(help.len());
    let mut rest = help.chars();
    while let Some(char) = rest.next() {
        match (char, char == '\\') {
            (char, false) => out.push(char),
            (_, true) => match rest.next() {
                Some('"') => out.push('"'),
                Some(escape @ ('\\' | 'n')) => out.extend(['\\', escape]),
                // It escapes nothing.
                other => {
                    out.push_str("\\\\");
                    out.extend(other);
                }
            },
        }
    }
    out
}

fn push_line(out: &mut String, parts: &[&str]) {
    out.extend(parts.iter().copied());
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::exemplar::{CounterWithExemplar, HistogramWithExemplars};
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::info::Info;
    use prometheus_client::registry::{Registry, Unit};

    use super::*;

    type Labels = Vec<(String, String)>;

    fn labels(value: &str) -> Labels {
        vec![("name".to_owned(), value.to_owned())]
    }

    #[test]
    fn each_type_is_declared_under_the_name_that_its_samples_have() {
        let mut registry = Registry::with_prefix("t");
        let counts = Family::<Labels, Counter>::default();
        counts.get_or_create(&labels("a")).inc_by(3);
        registry.register("counts", "Counts", counts);
        let gauge = Gauge::<i64>::default();
        gauge.set(-2);
        registry.register_with_unit("age", "An age", Unit::Seconds, gauge);
        registry.register("build", "A build", Info::new(labels("x")));
        let histogram = HistogramWithExemplars::<Labels>::new([0.5].into_iter());
        histogram.observe(0.25, Some(labels("trace")), None);
        histogram.observe(2.0, None, None);
        registry.register_with_unit("took", "A time", Unit::Seconds, histogram);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        assert!(text.contains(" # {") && text.contains("# UNIT"), "{text}");
        let expected = r##"# HELP t_counts_total Counts.
# TYPE t_counts_total counter
t_counts_total{name="a"} 3
# HELP t_age_seconds An age.
# TYPE t_age_seconds gauge
t_age_seconds -2
# HELP t_build_info A build.
# TYPE t_build_info gauge
t_build_info{name="x"} 1
# HELP t_took_seconds A time.
# TYPE t_took_seconds histogram
t_took_seconds_sum 2.25
t_took_seconds_count 2
t_took_seconds_bucket{le="0.5"} 1
t_took_seconds_bucket{le="+Inf"} 2
"##;
        assert_eq!(from_openmetrics(&text), expected);
    }

    #[test]
    fn an_exemplar_is_cut_and_a_label_is_not() {
        let mut registry = Registry::default();
        let counts = Family::<Labels, CounterWithExemplar<Labels>>::default();
        for value in ["a # {b} 1", "a\\", "\"#\"", "\\\" # \\", "line\n# EOF"] {
            counts.get_or_create(&labels(value)).inc_by(1, Some(labels(value)), None);
        }
        registry.register("counts", "Counts", counts);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let converted = from_openmetrics(&text);
        let mut samples: Vec<_> =
            converted.lines().filter(|line| !line.starts_with("# ")).collect();
        samples.sort_unstable();
        let mut expected = [
            r##"counts_total{name="a # {b} 1"} 1"##,
            r#"counts_total{name="a\\"} 1"#,
            r##"counts_total{name="\"#\""} 1"##,
            r##"counts_total{name="\\\" # \\"} 1"##,
            r##"counts_total{name="line\n# EOF"} 1"##,
        ];
        expected.sort_unstable();
        assert_eq!(samples, expected);
    }

    #[test]
    fn a_help_has_the_escapes_of_the_older_format() {
        for (help, expected) in [
            (r#"a \"word\""#, r#"a "word""#),
            (r"a\\b\nc", r"a\\b\nc"),
            (r"a\d", r"a\\d"),
            (r"a\", r"a\\"),
            ("", ""),
        ] {
            let text = format!("# HELP a {help}\n# TYPE a unknown\na 1\n# EOF\n");
            let expected = format!("# HELP a {expected}\n# TYPE a untyped\na 1\n");
            assert_eq!(from_openmetrics(&text), expected);
        }
    }
}
