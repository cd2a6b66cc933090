//! A policy's text: it is refused with a reason that says where, or it compiles and answers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate::config::{self, Problems, Source};
use tollgate::policy::fingerprint::FingerprintKey;
use tollgate::policy::table::Rows;
use tollgate::policy::{Policies, Policy};
use tollgate::wire;
use tollgate_fuzz::bytes::{self, Entry};
use tollgate_fuzz::parts::{NOW, Parts, source};
use tollgate_fuzz::told;

const FILE: &str = "policy.yaml";

/// How many rows of a table are asked for by their name.
const MAX_ROWS: usize = 4;

/// A mark that editors put at the beginning, which says nothing.
const MARK: &str = "\u{feff}";

fuzz_target!(|text: &str| {
    let sources = [source(FILE, text)];
    let compiled = compile(&sources);
    let marked = compile(&[source(FILE, &format!("{MARK}{text}"))]);
    match (compiled, marked) {
        (Ok(policies), Ok(_)) => answer(&sources, &policies),
        (Err(problems), Err(again)) => {
            told::check(&problems, FILE);
            if !text.starts_with(MARK) {
                assert_eq!(problems.to_string(), again.to_string());
            }
        }
        (Ok(_), Err(problems)) | (Err(problems), Ok(_)) => {
            assert!(text.starts_with(MARK), "a mark at the beginning changes it: {problems}");
        }
    }
});

fn compile(sources: &[Source]) -> Result<Policies, Problems> {
    config::compile(sources, FingerprintKey::fixed(0))
}

fn answer(sources: &[Source], policies: &Policies) {
    let parts = Parts::new(sources, FingerprintKey::fixed(0)).expect("it compiled before");
    let program = parts.begin();
    for policy in policies.iter() {
        for descriptor in descriptors(policy) {
            let message = bytes::request(policy.domain().as_bytes(), &[descriptor]);
            explain(policy, &message);
            program.ask_twice(&message);
        }
    }
    let metrics = parts.telemetry.encode().expect("metrics");
    for line in metrics.lines() {
        let is_told = ["# ", "tollgate_", "process_", "ratelimit_service_"]
            .iter()
            .any(|begin| line.starts_with(begin));
        assert!(is_told, "a label breaks the line: {line:?}");
    }
}

/// Questions that name the keys and rows of a policy, and some that do not.
fn descriptors(policy: &Policy) -> Vec<Vec<u8>> {
    let keys: Vec<_> = policy.keys().names().map(str::as_bytes).collect();
    let all = |value: &dyn Fn(&[u8]) -> Vec<u8>| {
        let values: Vec<_> = keys.iter().map(|key| (*key, value(key))).collect();
        let entries: Vec<Entry<'_>> = values.iter().map(|(key, value)| (*key, &**value)).collect();
        (bytes::descriptor(&entries), bytes::limited(&entries, 2))
    };
    let mut descriptors = vec![bytes::descriptor(&[(b"unheard of", b"")])];
    let (usual, limited) = all(&|key| match key {
        b"remote_address" => b"192.0.2.1".to_vec(),
        b"method" => b"GET".to_vec(),
        b"path" => b"/a/b".to_vec(),
        _ => b"a".to_vec(),
    });
    descriptors.extend([usual, limited]);
    for table in policy.tables() {
        let Rows::Selected { by, .. } = table.rows() else { continue };
        let selecting = policy.keys().name(*by).as_bytes();
        for row in table.rows().iter().take(MAX_ROWS) {
            let named = |key: &[u8]| if key == selecting { row.name().into() } else { vec![b'a'] };
            descriptors.push(all(&named).0);
        }
    }
    descriptors
}

/// What is told of a question is text.
fn explain(policy: &Policy, message: &[u8]) {
    let Ok(query) = wire::decode(message) else { return };
    for descriptor in query.descriptors() {
        let explained = policy.explain(descriptor, NOW);
        assert!(!explained.outcome().is_empty());
        policy.describe_bypass(&explained);
        for (table, matched) in &explained.tables {
            assert!(!policy.scope_description(table).is_empty());
            match matched {
                Ok((row, rules)) => {
                    assert!(
                        !row.label().is_empty()
                            && rules.iter().all(|rule| !rule.bucket().to_string().is_empty())
                    );
                    policy.bucket_key(descriptor, row);
                }
                Err(miss) => assert!(!policy.miss_reason(*miss).is_empty()),
            }
        }
    }
}
