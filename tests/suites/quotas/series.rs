//! Which series there are of the rows that Envoys share.

use super::support::{TestServer, eventually, source};
use super::{POLICY, Stream, Told, usage};

/// The series of a metric, with their values.
fn series(server: &TestServer, metric: &str) -> Vec<String> {
    let metrics = server.get("/metrics");
    let begin = format!("{metric}{{domain=\"d\",table=\"tenants\",");
    metrics.lines().filter_map(|line| line.strip_prefix(&begin)).map(str::to_owned).collect()
}

#[test]
fn rows_have_series_from_the_first_stream_on_and_not_before() {
    let server = TestServer::of(&source(POLICY));
    let requests = || {
        let mut found = series(&server, "tollgate_quota_requests_total");
        found.sort_unstable();
        found
    };
    assert_eq!(requests(), [""; 0]);
    let mut stream = Stream::open(server.grpc);
    stream.report_as("other", vec![usage(&[("tenant", "acme")], 0, [1, 0])]);
    assert_eq!(stream.one(), Told::All);
    assert_eq!(requests(), [""; 0]);
    let mut stream = Stream::open(server.grpc);
    stream.report(vec![usage(&[("plan", "unknown"), ("tenant", "acme")], 0, [1, 0])]);
    assert_eq!(stream.one(), Told::All);
    let both =
        |row: &str| ["allowed", "denied"].map(|of| format!("row=\"{row}\",outcome=\"{of}\"}} 0"));
    assert_eq!(requests(), [both("free"), both("tried")].concat());
    let inexpressible = series(&server, "tollgate_quota_inexpressible_total");
    assert_eq!(inexpressible, ["row=\"jobs\",what=\"concurrent\"} 0"]);
    // Rows that a reload adds have theirs, and those that it removes have none.
    server.parts.replace(&source(&POLICY.replace("      tried:", "      tested:")));
    eventually("the policy is in force", || requests() == [both("free"), both("tested")].concat());
}
