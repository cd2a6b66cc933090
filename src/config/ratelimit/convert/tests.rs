//! A converted policy is valid, and limits what the tree limits.

mod comments;
mod requests;

use super::{Converted, convert, write};
use crate::clock::Timestamp;
use crate::config::ratelimit::{Settings, compile_texts};
use crate::config::{self, Source};
use crate::descriptor::{Hits, Query};
use crate::limit::Bucket;
use crate::policy::Policies;
use crate::policy::descriptor_tree::support::KEY;
use crate::policy::fingerprint::Fingerprint;

fn source(text: &str) -> Source {
    Source { name: "test.yaml".into(), text: text.into() }
}

/// What a converted text compiles to.
fn policies(converted: &Converted) -> Policies {
    let compiled = config::compile(&[source(&converted.text)], KEY);
    compiled.unwrap_or_else(|problems| panic!("{problems}\n{}", converted.text))
}

/// A limit that a request meets.
#[derive(Debug, PartialEq, Eq)]
struct Met {
    requests: u32,
    seconds: u64,
    is_shadow: bool,
}

/// The limits that a descriptor meets in the only domain, and the names of their buckets.
fn met(policies: &Policies, entries: &[(&str, &str)]) -> (Vec<Met>, Vec<Fingerprint>) {
    let policy = policies.iter().next().unwrap();
    let mut query = Query::default();
    query.begin(policy.domain(), 1).unwrap();
    entries.iter().for_each(|(key, value)| query.entry(*key, value.as_bytes()));
    query.close(Hits::ONE, None).unwrap();
    let plan = policy.resolve(&query, Timestamp::default());
    let limit = |bucket: &Bucket| match bucket {
        Bucket::Window(window) if window.requests() == 0 => (0, 0),
        Bucket::Window(window) => (window.requests(), window.unit().seconds().into()),
        Bucket::Tokens(tokens) => {
            let rate = tokens.rate();
            assert_eq!(tokens.size(), rate.tokens());
            (rate.tokens().get(), rate.period().length().get() / 1_000_000_000)
        }
        Bucket::Blocked(_) => (0, 0),
        Bucket::Concurrency(_) => panic!("no tree has slots"),
    };
    let met = plan.matched.iter().map(|matched| {
        let (requests, seconds) = limit(matched.bucket);
        (Met { requests, seconds, is_shadow: matched.row.is_shadow() }, matched.fingerprint)
    });
    met.unzip()
}

/// A valid configuration of a domain `d`, converted.
fn converted(descriptors: &str) -> Converted {
    let text = format!("domain: d\ndescriptors:\n{descriptors}");
    convert(&[source(&text)], &Settings::default()).unwrap().pop().unwrap()
}

/// The tree of the same configuration.
fn tree(descriptors: &str) -> Policies {
    let text = format!("domain: d\ndescriptors:\n{descriptors}");
    compile_texts(&[source(&text)], KEY, &Settings::default()).unwrap().policies
}

#[test]
fn the_tables_are_plain() {
    let found = converted(
        "- { key: plan, value: free, rate_limit: { unit: minute, requests_per_unit: 10 } }
- { key: plan, value: trial, shadow_mode: true, rate_limit: { unit: hour, requests_per_unit: 20 } }
- { key: plan, value: staff, rate_limit: { unlimited: true } }
- { key: plan, value: none, rate_limit: { unit: second } }
- key: plan
  rate_limit: { unit: day, requests_per_unit: 30 }
  descriptors:
  - { key: user, value: 'a*', rate_limit: { unit: month, requests_per_unit: 40 } }
  - { key: user, rate_limit: { unit: year, requests_per_unit: 50 } }",
    );
    let tables = found.text.split_once("tables:\n").unwrap().1;
    assert_eq!(
        tables,
        "  - name: plan
    when:
      user: { absent: true }
    select: plan
    key: [plan]
    rows:
      free: [{ per_minute: 10 }]
      trial: { shadow: true, buckets: [{ per_hour: 20 }] }
      staff: unlimited
      # differs: 0 each second is `blocked`, which denies calls of 0 hits as well
      none: blocked
      default: [{ per_day: 30 }]
  - name: \"plan.user_a*\"
    when:
      plan: { not: [free, trial, staff, none] }
      user: \"a*\"
    key: [plan, user]
    rows: { all: [{ per_month: 40 }] }
  - name: plan.user
    when:
      plan: { not: [free, trial, staff, none] }
      user: { not: \"a*\" }
    key: [plan, user]
    rows: { all: [{ per_year: 50 }] }
"
    );
    assert_eq!((found.limits, found.left_out), (6, 0));
    policies(&found);
}

#[test]
fn several_domains_are_several_policies() {
    let texts = ["domain: b\ndescriptors: [{ key: k }]", "domain: a"].map(source);
    let found = convert(&texts, &Settings::default()).unwrap();
    let domains: Vec<_> = found.iter().map(|converted| &*converted.domain).collect();
    assert_eq!(domains, ["b", "a"]);
    for converted in &found {
        assert_eq!(policies(converted).iter().next().unwrap().domain(), converted.domain);
    }
    let twice = [source("domain: a"), source("domain: a")];
    let problems = convert(&twice, &Settings::default()).unwrap_err().to_string();
    assert!(problems.contains("domain `a` is already defined"), "{problems}");
}
