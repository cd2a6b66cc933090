//! Configurations of envoyproxy/ratelimit: what it takes is taken, and what it refuses is refused. Each verdict here was
//! seen of the reference. `tests/config/bad/ratelimit_*` has what is told of those that are refused.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code: a failure is a panic")]

use tollgate::config::ratelimit::schema::{Descriptor, Place, RateLimit, RateLimitConfig};
use tollgate::config::ratelimit::{self, Settings};
use tollgate::config::{self, Compiled, Problems, Source};
use tollgate::limit::Counting;
use tollgate::policy::fingerprint::FingerprintKey;

const KEY: FingerprintKey = FingerprintKey::fixed(0);

fn source(name: &str, text: &str) -> Source {
    Source { name: name.into(), text: text.into() }
}

fn compile_all(texts: &[&str], merges_domains: bool) -> Result<Compiled, Problems> {
    let named = texts.iter().enumerate();
    let sources: Vec<_> = named.map(|(at, text)| source(&format!("{at}.yaml"), text)).collect();
    let settings = Settings { merges_domains, ..Settings::default() };
    ratelimit::compile_texts(&sources, KEY, &settings)
}

fn compile(text: &str) -> Result<Compiled, Problems> {
    compile_all(&[text], false)
}

fn told(result: Result<Compiled, Problems>) -> String {
    result.unwrap_err().to_string()
}

/// A configuration of one descriptor with these fields.
fn descriptor(fields: &str) -> String {
    format!("domain: d\ndescriptors:\n- {{ key: a, {fields} }}\n")
}

fn limit(fields: &str) -> String {
    descriptor(&format!("rate_limit: {{ {fields} }}"))
}

#[test]
fn what_the_reference_takes_is_taken() {
    for text in [
        // Nothing in it.
        "domain: d",
        "domain: d\ndescriptors:",
        "domain: d\ndescriptors: ~",
        "domain: d\ndescriptors: []",
        &descriptor("rate_limit: ~, metadata: ~, shadow_mode: ~, value: ~, descriptors: ~"),
        &descriptor("metadata: {}, value: ''"),
        &limit("unit: day"),
        // Units.
        &limit("unit: mInUtE, requests_per_unit: 0"),
        &limit("unlimited: yes"),
        &limit("unlimited: yes, unit: fortnight, requests_per_unit: 5"),
        &limit("unlimited: yes, unit: UNKNOWN"),
        // Scalars of YAML 1.1.
        &limit("unit: day, requests_per_unit: 010"),
        &limit("unit: day, requests_per_unit: 0x10"),
        &limit("unit: day, requests_per_unit: 4_294_967_295"),
        &limit("unit: day, requests_per_unit: !!int '5'"),
        &descriptor("shadow_mode: y, quota_mode: Off, detailed_metric: ON, value_to_metric: N"),
        &descriptor("value: yes"),
        &descriptor("value: 010"),
        &descriptor("value: 2020-01-01"),
        &descriptor("value: 1e400"),
        &descriptor("value: 9223372036854775807"),
        &descriptor("value: !mine x"),
        &descriptor("value: !!binary aGVsbG8=, metadata: { a: !!binary aGVsbG8= }"),
        "domain: 5",
        // Names.
        &limit("unit: day, replaces: [{ name: nobody }, { name: nobody }]"),
        "domain: d\ndescriptors:\n- { key: a, rate_limit: { unit: day, name: n } }\n- { key: b, rate_limit: { unit: day, name: n } }",
        &descriptor("value: 'b*', share_threshold: true"),
        "domain: d\ndescriptors: [{ key: 'a*', share_threshold: true }]",
        // Keys of other levels.
        "domain: d\nunit: second\nkey: { value: 5 }",
        "domain: d\nmetadata: 1.5",
        &descriptor("name: x, replaces: 5"),
        &descriptor("metadata: { 1: [a, { ~: 1.5 }], .inf: !x y }"),
        // Keys that stand twice.
        &descriptor("key: b, value: c, value: ~"),
        &descriptor("rate_limit: { unit: day }, rate_limit: { requests_per_unit: 5 }"),
        // Anchors and merge keys.
        "domain: &d d\ndescriptors: [{ key: *d }]",
        "domain: d\ndescriptors:\n- &a { key: a, value: x }\n- { <<: *a, value: y }\n- { <<: [*a], key: b }",
        // One document.
        "\u{feff}domain: d",
        "--- # first\ndomain: d\n--- # second\n5",
        "domain: d\n...\n{{{",
        "%YAML 1.1\n%TAG !y! tag:yaml.org,2002:\n---\ndomain: !y!str d",
        "domain: d\n...\n%YAML 1.2\n---\n",
    ] {
        compile(text).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
    }
    assert_eq!(compile_all(&[], false).unwrap().policies.iter().count(), 0);
}

#[test]
fn what_the_reference_refuses_is_refused() {
    for text in [
        "",
        "~",
        "5",
        "text",
        "[]",
        "- domain: d",
        "# only a comment",
        "{",
        "domain: d\n\tx",
        "domain: ''",
        "domain: ~",
        "descriptors: []",
        "domain: [d]",
        "domain: 1.5",
        "domain: d\nDomain: e",
        "domain: d\nother: 1",
        "domain: d\nyes: 1",
        "domain: d\n~: 1",
        "domain: d\n? [a]\n: 1",
        "domain: d\nunit: [1]",
        "domain: d\nunit: { other: 1 }",
        "domain: d\nname: 1e3",
        "domain: d\ndescriptors: {}",
        "domain: d\ndescriptors: [~]",
        "domain: d\ndescriptors: [a]",
        "domain: d\ndescriptors: [[{ key: a }]]",
        "domain: d\ndescriptors: [{ value: a }]",
        "domain: d\ndescriptors: [{ key: '' }]",
        "domain: d\ndescriptors: [{ key: a }, { key: a }]",
        "domain: d\ndescriptors: [{ key: a, value: b }, { key: a_b }]",
        "domain: d\ndescriptors: [{ key: a, descriptors: [{ key: b }, { key: b }] }]",
        "domain: d\ndescriptors: &d [{ key: a, descriptors: *d }]",
        "domain: d\ndescriptors: [{ key: a, <<: [x] }]",
        "domain: d\ndescriptors: [{ key: a, '<<': { value: b } }]",
        "domain: d\ntables: []",
        &limit(""),
        &limit("unit: ~"),
        &limit("unit: UNKNOWN"),
        &limit("unit: seconds"),
        &limit("unit: day, unlimited: true"),
        &limit("unit: day, requests_per_unit: -1"),
        &limit("unit: day, requests_per_unit: 1.0"),
        &limit("unit: day, requests_per_unit: 08"),
        &limit("unit: day, requests_per_unit: 4294967296"),
        &limit("unit: day, requests_per_unit: '5'"),
        &limit("unit: day, unit_multiplier: 2"),
        &limit("unit: day, replaces: [{}]"),
        &limit("unit: day, replaces: [{ name: '' }]"),
        &limit("unit: day, replaces: [a]"),
        &limit("unit: day, name: n, replaces: [{ name: n }]"),
        &descriptor("rate_limit: 5"),
        &descriptor("rate_limit: []"),
        &descriptor("shadow_mode: 1"),
        &descriptor("shadow_mode: 'true'"),
        &descriptor("shadow_mode: ''"),
        &descriptor("value: 1.5"),
        &descriptor("value: 08"),
        &descriptor("value: .inf"),
        &descriptor("value: 9223372036854775808"),
        &descriptor("value: {}"),
        &descriptor("share_threshold: true"),
        &descriptor("value: b, share_threshold: true"),
        &descriptor("metadata: []"),
        &descriptor("metadata: text"),
        &descriptor("metadata: { [a]: b }"),
        &descriptor("value: !!int x"),
        &descriptor("value: !!binary aGVsbG8"),
        &limit("unit: day, requests_per_unit: !!binary NQ=="),
        "%YAML 1.2\n---\ndomain: d",
        "%YAML 1.0\n---\ndomain: d",
        "%MINE\n---\ndomain: d",
    ] {
        assert!(compile(text).is_err(), "{text}");
    }
}

#[test]
fn configurations_of_one_domain_are_merged_only_if_the_deployment_says_so() {
    let files = ["domain: d\ndescriptors: [{ key: a }]", "domain: d\ndescriptors: [{ key: b }]"];
    assert_eq!(
        told(compile_all(&files, false)),
        "1.yaml:1:1: domain: domain `d` is already defined in 0.yaml; each file needs its own \
         domain, unless MERGE_DOMAIN_CONFIG=true"
    );
    assert_eq!(compile_all(&files, true).unwrap().policies.iter().count(), 1);
    let same = [
        "domain: d\ndescriptors: [{ key: a, value: b }]",
        "domain: d\ndescriptors: [{ key: a_b }]",
    ];
    assert_eq!(
        told(compile_all(&same, true)),
        "1.yaml:2:17: descriptors[0].key: key and value, joined as `a_b`, are those of a descriptor \
         before it; merge the two, or rename one"
    );
}

#[test]
fn a_folder_may_have_both_languages_and_a_merge_takes_no_policy() {
    let policy =
        source("a.yaml", "domain: d\ntables: [{ name: t, key: [], rows: { all: unlimited } }]");
    let of = |domain: &str| source("b.yaml", &format!("domain: {domain}\ndescriptors: []"));
    let settings = Settings { merges_domains: true, ..Settings::default() };
    let compile = |sources: &[Source]| config::compile_with_settings(sources, KEY, &settings);
    let both = compile(&[policy.clone(), of("e")]).unwrap();
    let domains: Vec<_> = both.policies.iter().map(|policy| policy.domain().to_owned()).collect();
    assert_eq!(domains, ["d", "e"]);
    let told = compile(&[policy, of("d")]).unwrap_err().to_string();
    assert!(
        told.ends_with("`d` is already defined in a.yaml; each file needs its own domain"),
        "{told}"
    );
}

/// Resources of a control plane have no lines.
#[test]
fn what_is_wrong_with_a_resource_is_told_with_its_path() {
    let root = Place::default();
    let limit = |unit: &str| RateLimit { unit: unit.into(), ..RateLimit::default() };
    let child = Descriptor {
        key: "path".into(),
        rate_limit: Some(RateLimit { replaces: vec!["".into()], ..limit("9") }),
        place: root.descriptor(1).descriptor(0),
        ..Descriptor::default()
    };
    let descriptors = vec![
        Descriptor {
            key: "tenant".into(),
            rate_limit: Some(limit("MINUTE")),
            place: root.descriptor(0),
            ..Descriptor::default()
        },
        Descriptor {
            key: "tenant".into(),
            descriptors: vec![child],
            place: root.descriptor(1),
            ..Descriptor::default()
        },
    ];
    let config = |source: &str, domain: &str, descriptors: &[Descriptor]| RateLimitConfig {
        source: source.into(),
        domain: domain.into(),
        descriptors: descriptors.to_vec(),
        place: root.clone(),
    };
    let compile =
        |configs: &[RateLimitConfig]| ratelimit::compile(configs, KEY, &Settings::default());
    let good = config("first", "d", descriptors.get(..1).unwrap());
    let policies = compile(std::slice::from_ref(&good)).unwrap();
    assert!(policies.get("d").is_some());
    let bad = [good, config("second", "d", &descriptors), config("third", "", &[])];
    assert_eq!(
        compile(&bad).unwrap_err().lines(),
        [
            "second: domain: domain `d` is already defined in first; each file needs its own domain, \
             unless MERGE_DOMAIN_CONFIG=true",
            "second: descriptors[1].key: key and value, joined as `tenant`, are those of a descriptor \
             before it; merge the two, or rename one",
            "second: descriptors[1].descriptors[0].rate_limit.replaces[0]: `name` is missing; write the \
             name of the limit that is replaced",
            "second: descriptors[1].descriptors[0].rate_limit.unit: unknown unit `9`; choose from second, \
             minute, hour, day, week, month, year",
            "third: domain: `domain` is missing; write the domain that Envoy's filter sends",
        ]
    );
}

/// A node is kept with its path, so that a long key counts once for each descriptor below it.
#[test]
fn what_comes_to_much_is_refused() {
    let children: String = (0..40_000).map(|at| format!("{{ key: k, value: {at} }}, ")).collect();
    let tree = |key: &str| {
        format!("domain: d\ndescriptors: [{{ key: {key}, descriptors: [{children}] }}]")
    };
    compile(&tree("k")).unwrap();
    let told = told(compile(&tree(&"k".repeat(60_000))));
    assert!(
        told.contains(
            "take more than 67108864 bytes of memory; shorten the keys and values that have many \
                       descriptors below them, which each count again"
        ),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1);
    let level = |at: usize| {
        format!(
            "- &a{at} {{ key: k, metadata: [{}] }}\n",
            vec![format!("*a{}", at - 1); 10].join(", ")
        )
    };
    let bomb: String = (1..10).map(level).collect();
    assert!(compile(&format!("domain: d\ndescriptors:\n- &a0 {{ key: a }}\n{bomb}")).is_err());
    let merges = "*a, ".repeat(300_000);
    assert!(
        compile(&format!("domain: d\ndescriptors:\n- &a {{ key: a }}\n- {{ <<: [{merges}] }}"))
            .is_err()
    );
    let deep = "{ key: k, descriptors: [".repeat(1000);
    assert!(compile(&format!("domain: d\ndescriptors: [{deep}")).is_err());
}

#[test]
fn a_text_that_ends_too_early_is_told_or_taken_but_never_a_panic() {
    let text = std::fs::read_to_string("tests/config/good/ratelimit.yaml").unwrap();
    for (end, _) in text.char_indices().step_by(3) {
        if let Err(problems) = compile(text.get(..end).unwrap()) {
            assert!(problems.to_string().starts_with("0.yaml:"), "{problems}");
        }
    }
}

#[test]
fn a_value_of_another_kind_is_told_or_taken_but_never_a_panic() {
    let text = std::fs::read_to_string("tests/config/good/ratelimit.yaml").unwrap();
    let others = [
        "~",
        "yes",
        "5",
        "-1.5",
        "'text'",
        "!x y",
        "[]",
        "[5, [x], { key: 5 }]",
        "{}",
        "{ key: 5 }",
    ];
    let mut refused = 0;
    for (at, _) in text.match_indices(": ") {
        let (before, behind) = text.split_at(at + 2);
        let end = behind.find([',', '}', ']', '\n']).unwrap();
        for other in others {
            refused += usize::from(
                compile(&format!("{before}{other}{}", behind.get(end..).unwrap())).is_err(),
            );
        }
    }
    assert!(refused > 200, "{refused}");
}

#[test]
fn a_domain_may_count_in_its_own_way() {
    let texts = ["a", "b"].map(|domain| {
        let limit = "rate_limit: { unit: day, requests_per_unit: 1 }";
        source(domain, &format!("domain: {domain}\ndescriptors: [{{ key: k, {limit} }}]"))
    });
    let mut settings = Settings::default();
    settings.tree.counting = Counting::SpareOthers;
    settings.counting.insert("b".into(), Counting::AllOrNone);
    for compiled in [
        config::compile_with_settings(&texts, KEY, &settings),
        ratelimit::compile_texts(&texts, KEY, &settings),
    ] {
        let policies = compiled.unwrap().policies;
        let counting = |domain| policies.get(domain).unwrap().rows().next().unwrap().counting();
        assert_eq!([counting("a"), counting("b")], [Counting::SpareOthers, Counting::AllOrNone]);
    }
}
