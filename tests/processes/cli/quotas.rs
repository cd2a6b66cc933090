//! What the quotas of Envoys cannot say: `check --quota`, and the log of a server.

use serde_json::Value;
use tokio_stream::StreamExt;
use tollgate::wire::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_usage_reports::BucketQuotaUsage;
use tollgate::wire::quota::{RateLimitQuotaServiceClient, RateLimitQuotaUsageReports};

use super::reload::get;
use super::serve::{QUIET, Served};
use super::{Ended, SHIPPED, run};
use crate::support::{eventually, runtime};

/// A table for each that a quota cannot say, beside rows that it can.
const POLICY: &str = "domain: d
denial_body: { text: '{message}' }
tables:
  - name: tenants
    select: plan
    key: [tenant]
    message: no more for {row}
    rows:
      free: [{ per_second: 5 }, { per_minute: 60 }]
      plus: [{ per_second: 10 }]
      none: blocked
      large: [{ per_second: 100 }]
      jobs: [{ concurrent: 2, ttl: 1h }]
      default: unlimited
  - { name: tokens, charge: always, key: [user], rows: { all: [{ per_hour: 1000 }] } }
  - { name: tried, shadow: true, key: [tenant], message: never read, rows: { all: [{ per_day: 1 }] } }
overrides:
  - { table: tenants, row: plus, when: { tenant: acme }, buckets: [{ concurrent: 1, ttl: 1h }] }
";

/// The entries of a bucket id.
type Entries = [(&'static str, &'static str)];

/// Opens a stream, as an Envoy that has let so many requests of each bucket id through; it ends when it is dropped.
pub(super) fn report_to(
    server: &Served,
    domain: &str,
    allowed: u64,
    ids: &[&Entries],
) -> impl Drop + use<> {
    let usage = |id: &&Entries| BucketQuotaUsage {
        bucket_id: Some(
            id.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
        ),
        num_requests_allowed: allowed,
        ..BucketQuotaUsage::default()
    };
    let report = RateLimitQuotaUsageReports {
        domain: domain.to_owned(),
        bucket_quota_usages: ids.iter().map(usage).collect(),
    };
    let runtime = runtime();
    let address = format!("http://{}", server.grpc);
    runtime.block_on(async {
        let mut client = RateLimitQuotaServiceClient::connect(address).await.unwrap();
        let reports = tokio_stream::iter([report]).chain(tokio_stream::pending());
        let told = client.stream_rate_limit_quotas(reports).await.unwrap();
        assert!(told.into_inner().message().await.unwrap().is_some());
    });
    runtime
}

/// What `check --quota` warns of, without the path before it.
fn warned(path: &str, ended: &Ended) -> Vec<String> {
    let begin = format!("warning: {path}: ");
    let lines = ended.out.lines().filter_map(|line| line.strip_prefix(&begin));
    lines.map(str::to_owned).collect()
}

#[test]
fn check_warns_of_what_quotas_cannot_say_if_it_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, POLICY).unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(warned(path, &run(&["check", path])), [""; 0]);
    let ended = run(&["check", "--quota", path]);
    let expected = [
        "domain d: responses to requests of a quota lack the headers with the limit; `headers: off` says that it is meant",
        "domain d: no client of a quota reads the denial_body: Envoy denies with its own deny_response_settings",
        "domain d, table tenants, rows plus, jobs: a limit of requests at a time cannot be divided between Envoys, whose \
         quotas go without it",
        "domain d, table tenants, rows free, plus, none and 1 other: no client of a quota reads the message: Envoy denies \
         with its own deny_response_settings",
        "domain d, table tokens, row all: charge: always is for hits that are known afterwards, and each request of a quota \
         is one hit",
    ];
    assert_eq!(warned(path, &ended), expected);
    assert_eq!(ended.code, Some(0));
    assert!(ended.out.ends_with("\n5 warnings\n"), "{ended:?}");
    assert_eq!(run(&["check", "--quota", "--strict", path]).code, Some(1));
}

#[test]
fn check_says_little_of_the_shipped_policy_and_nothing_of_one_that_quotas_can_say() {
    let ended = run(&["check", "--quota", SHIPPED]);
    let found = warned(SHIPPED, &ended);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[1].contains(", table import users jobs, row all: a limit of requests at a time ")
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    let plain =
        "domain: d\nheaders: off\ntables: [{ name: t, key: [k], rows: { all: [{ per_day: 1 }] } }]";
    std::fs::write(&path, plain).unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(run(&["check", "--quota", "--strict", path]).code, Some(0));
}

#[test]
fn a_server_logs_once_for_each_row_what_no_quota_can_say() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, POLICY).unwrap();
    let config = ["--config", path.to_str().unwrap()];
    let server = Served::start(&[&QUIET[..], &config].concat(), &[]);
    let ids: [&Entries; 4] = [
        &[("plan", "free"), ("tenant", "acme"), ("user", "ann")],
        &[("plan", "free"), ("tenant", "globex")],
        &[("plan", "jobs"), ("tenant", "acme")],
        &[("plan", "none"), ("tenant", "acme")],
    ];
    let stream = report_to(&server, "d", 1, &ids);
    let metrics = || get(&server, "/metrics");
    for series in [
        "table=\"tenants\",row=\"free\",what=\"message\"} 2",
        "table=\"tenants\",row=\"none\",what=\"message\"} 1",
        "table=\"tenants\",row=\"jobs\",what=\"concurrent\"} 1",
        "table=\"tokens\",row=\"all\",what=\"charge\"} 1",
    ] {
        let series = format!("tollgate_quota_inexpressible_total{{domain=\"d\",{series}");
        eventually(&series, || metrics().contains(&series));
    }
    let is_met = |line: &&str| {
        line.starts_with("tollgate_quota_inexpressible_total{") && !line.ends_with(" 0")
    };
    assert_eq!(metrics().lines().filter(is_met).count(), 4);
    drop(stream);
    let (_, log) = server.stop();
    let lines = log.iter().map(|line| serde_json::from_str::<Value>(line).expect(line));
    let warnings = lines.filter(|line| line["fields"]["row"].is_string());
    let mut told: Vec<_> = warnings
        .map(|line| {
            let field = |name: &str| line["fields"][name].as_str().unwrap().to_owned();
            assert_eq!((line["level"].as_str(), &*field("domain")), (Some("WARN"), "d"));
            let what = field("message").split(' ').take(5).collect::<Vec<_>>().join(" ");
            [field("table"), field("row"), what]
        })
        .collect();
    told.sort_unstable();
    let expected = [
        ["tenants", "free", "no client of a quota"],
        ["tenants", "jobs", "a limit of requests at"],
        ["tenants", "none", "no client of a quota"],
        ["tokens", "all", "charge: always is for hits"],
    ];
    assert_eq!(told, expected);
}
