//! `llm.yaml`: what an answer cost is charged when it is complete, whatever is left, from JSON and from streams.
//!
//! The charge is made when Envoy is done with a stream, about when the client has the end of the answer: each test
//! waits for it before it looks.

use serde_json::{Value, json};

use super::http::{Client, Message};
use super::lab::{Lab, Sample};
use super::process::eventually;
use super::redis_server::Redis;
use super::support::{self, request};

const POLICY: &str = "tests/processes/envoy/usage-policy.yaml";

const PLAIN: &str = "POST /v1/chat/completions";
const PRICED: &str = "POST /priced/v1/chat/completions";
const RESERVED: &str = "POST /reserved/v1/chat/completions";

/// Tokens of the prompt of [`body`].
const PROMPT: u64 = 10;
/// What the buckets of the policy hold, and gain in a day.
const BUDGET: u64 = 1000;
/// The most completion tokens that the sample expects of an answer.
const MOST: u64 = 4096;

const ACTIVE: &str = "cluster.upstream.upstream_rq_active";

/// How an answer comes.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Json,
    Stream,
    /// A stream whose request does not ask for the usage.
    StreamWithoutUsage,
}

const BOTH: [Kind; 2] = [Kind::Json, Kind::Stream];

/// A request whose answer costs so many tokens, of which the prompt is ten.
fn body(kind: Kind, model: &str, tokens: u64) -> String {
    let content = vec!["word"; usize::try_from(PROMPT).unwrap()].join(" ");
    let mut body = json!({
        "model": model,
        "max_tokens": tokens - PROMPT,
        "messages": [{ "role": "user", "content": content }],
    });
    if !matches!(kind, Kind::Json) {
        body["stream"] = true.into();
    }
    if matches!(kind, Kind::Stream) {
        body["stream_options"] = json!({ "include_usage": true });
    }
    body.to_string()
}

fn lab(flags: &[String]) -> Lab {
    Lab::start(Sample::models().policy(POLICY).flags(flags).patient())
}

/// In memory, and over a shared store.
fn with_each_store(test: impl Fn(&Lab)) {
    test(&lab(&[]));
    let redis = Redis::start();
    let url = redis.url();
    test(&lab(&["--store", &url, "--store-timeout", "10s"].map(str::to_owned)));
}

/// A call of a user, sent and not waited for.
fn send(lab: &Lab, endpoint: &str, user: &str, body: &str, more: &[(&str, &str)]) -> Client {
    let mut client = lab.client();
    let headers = [&[("x-user", user), ("content-type", "application/json")], more].concat();
    client.send_body(endpoint, &headers, body);
    client
}

/// What a call was answered, and for how many requests tollgate was asked by the time that nothing more comes of it.
fn call(lab: &Lab, endpoint: &str, user: &str, body: &str, more: &[(&str, &str)]) -> Message {
    let before = asked(lab);
    let answer = send(lab, endpoint, user, body, more).answer();
    let calls = if answer.status() == 429 { 1 } else { 2 };
    until_asked(lab, before + calls);
    answer
}

/// How many requests tollgate has decided: Envoy makes one before each of its own, and one after those that it admits.
fn asked(lab: &Lab) -> u64 {
    lab.sum("tollgate_requests_total{")
}

fn until_asked(lab: &Lab, requests: u64) {
    eventually("the calls before and after", || (asked(lab) >= requests).then_some(()));
    assert_eq!(asked(lab), requests);
}

/// The hits that the descriptors of a table asked for.
fn hits(lab: &Lab, table: &str) -> u64 {
    lab.sum(&format!("tollgate_hits_total{{domain=\"llm\",table=\"{table}\""))
}

/// What is left for a user, by a look.
fn left(lab: &Lab, unit: &str, user: &str) -> u32 {
    let look = support::hits(0, &[("unit", unit), ("user", user), ("model", "small-1")]);
    support::Client::connect(lab.tollgate.grpc).ask(request("llm", &[look])).remaining()[0]
}

fn total_tokens(answer: &Message) -> u64 {
    let text = answer.body.lines().rfind(|line| line.contains("total_tokens"));
    let text = text.unwrap_or_else(|| panic!("no usage: {answer:?}"));
    let usage: Value = serde_json::from_str(text.trim_start_matches("data: ")).unwrap();
    usage["usage"]["total_tokens"].as_u64().unwrap()
}

/// Asserts that a user is denied until so many tokens are repaid, and one more is there.
fn assert_owes(lab: &Lab, endpoint: &str, user: &str, owed: u64) {
    for kind in BOTH {
        let denial = call(lab, endpoint, user, &body(kind, "small-1", 100), &[]);
        assert_eq!(denial.status(), 429, "{user} owes {owed}: {denial:?}");
        let wait = ((owed + 1) * 86_400).div_ceil(BUDGET);
        let told = denial.number("retry-after");
        assert!((wait - 60..=wait).contains(&told), "{wait}: {denial:?}");
    }
}

#[test]
#[ignore = "needs Envoy, Python and Redis; bash tests/run.sh"]
fn two_answers_of_half_the_budget_are_admitted_and_no_third() {
    with_each_store(|lab| {
        for (user, kind) in ["json", "stream"].into_iter().zip(BOTH) {
            for _ in 0..2 {
                let answer = call(lab, PLAIN, user, &body(kind, "small-1", 500), &[]);
                assert_eq!((answer.status(), total_tokens(&answer)), (200, 500));
            }
            assert_eq!(left(lab, "tokens", user), 0);
            assert_owes(lab, PLAIN, user, 0);
        }
        assert_eq!(hits(lab, "tokens"), 2000);
        assert_eq!(left(lab, "tokens", "another"), 1000);
    });
}

#[test]
#[ignore = "needs Envoy, Python and Redis; bash tests/run.sh"]
fn an_answer_beyond_the_budget_is_charged_in_full() {
    with_each_store(|lab| {
        for (user, kind) in ["json", "stream"].into_iter().zip(BOTH) {
            let answer = call(lab, PLAIN, user, &body(kind, "small-1", 5000), &[]);
            assert_eq!((answer.status(), total_tokens(&answer)), (200, 5000));
            assert_owes(lab, PLAIN, user, 4000);
        }
        assert_eq!(
            call(lab, PLAIN, "another", &body(Kind::Json, "small-1", 11), &[]).status(),
            200
        );
    });
}

#[test]
#[ignore = "needs Envoy, Python and Redis; bash tests/run.sh"]
fn the_answer_that_crosses_the_line_passes_and_is_owed() {
    with_each_store(|lab| {
        for tokens in [600, 399, 600] {
            let answer = call(lab, PLAIN, "u", &body(Kind::Stream, "small-1", tokens), &[]);
            assert_eq!((answer.status(), total_tokens(&answer)), (200, tokens));
        }
        assert_owes(lab, PLAIN, "u", 599);
    });
}

/// As many as have a slot.
#[test]
#[ignore = "needs Envoy, Python and Redis; bash tests/run.sh"]
fn answers_under_way_can_go_over_the_budget_together_and_are_all_charged() {
    with_each_store(|lab| {
        let under_way = [(); 2].map(|()| {
            let others = lab.stat(ACTIVE);
            let body = body(Kind::Stream, "small-1", 3000);
            let client = send(lab, PLAIN, "u", &body, &[("x-upstream", "hang")]);
            eventually("one more with the upstream", || (lab.stat(ACTIVE) > others).then_some(()));
            client
        });
        let third = call(lab, PLAIN, "u", &body(Kind::Json, "small-1", 3000), &[]);
        assert_eq!(third.status(), 429);
        assert_eq!(third.json()["message"], "There are 2 answers under way");
        let before = asked(lab);
        drop(under_way);
        until_asked(lab, before + 2);
        // The slots are free again, although the second charge met a bucket that owes.
        assert_eq!(lab.metric("tollgate_leases"), 0);
        let each = default_charge(&body(Kind::Stream, "small-1", 3000));
        assert_eq!(hits(lab, "tokens"), 2 * each);
        assert_owes(lab, PLAIN, "u", 2 * each - BUDGET);
    });
}

/// What a request is charged whose answer tells no usage: four bytes for a token, and what it says that it wants at
/// most.
fn default_charge(body: &str) -> u64 {
    let wanted: Value = serde_json::from_str(body).unwrap();
    body.len() as u64 / 4 + wanted["max_tokens"].as_u64().unwrap()
}

#[test]
#[ignore = "needs Envoy and Python; bash tests/run.sh"]
fn where_no_usage_is_told_as_much_is_charged_as_was_asked_for() {
    let lab = lab(&[]);
    let charged = |name: &str, kind: Kind, behaviour: &str, charge: u64, status: Option<u16>| {
        let (hits_before, asked_before) = (hits(&lab, "tokens"), asked(&lab));
        let body = body(kind, "small-1", 100);
        let mut client = send(&lab, PLAIN, name, &body, &[("x-upstream", behaviour)]);
        match status {
            Some(status) => assert_eq!(client.answer().status(), status, "{name}"),
            None if behaviour == "break" => client.read_to_end(),
            None if matches!(kind, Kind::Stream) => assert!(client.first_line().contains("200")),
            None => eventually("it is upstream", || (lab.stat(ACTIVE) == 1).then_some(())),
        }
        drop(client);
        until_asked(&lab, asked_before + 2);
        assert_eq!(hits(&lab, "tokens") - hits_before, charge, "{name}");
        assert_eq!(u64::from(left(&lab, "tokens", name)), BUDGET - charge, "{name}");
    };
    let most = |kind| default_charge(&body(kind, "small-1", 100));
    charged("hung up early", Kind::Json, "hang", most(Kind::Json), None);
    charged("hung up late", Kind::Stream, "hang", most(Kind::Stream), None);
    charged("stream broke", Kind::Stream, "break", most(Kind::Stream), None);
    charged("nothing told", Kind::Json, "no-usage", most(Kind::Json), Some(200));
    let silent = most(Kind::StreamWithoutUsage);
    charged("not asked for", Kind::StreamWithoutUsage, "", silent, Some(200));
    // An error costs nothing. Half an answer in JSON is one: Envoy holds it until it is whole.
    charged("error", Kind::Json, "error", 0, Some(500));
    charged("answer broke", Kind::Json, "break", 0, Some(502));
}

#[test]
#[ignore = "needs Envoy and Python; bash tests/run.sh"]
fn no_number_of_a_client_makes_its_answer_cheap() {
    let lab = lab(&[]);
    for (most, charge) in [
        (json!(-3), MOST),
        (json!(1e300), MOST),
        (json!("many"), MOST),
        (json!([7]), MOST),
        (Value::Null, MOST),
        (json!(7.9), 7),
        (json!("7"), 7),
    ] {
        for name in ["max_tokens", "max_completion_tokens"] {
            let body = json!({ "model": "small-1", name: most, "messages": [] }).to_string();
            let (hits_before, asked_before) = (hits(&lab, "tokens"), asked(&lab));
            let headers = [("x-upstream", "hang"), ("x-completion-limit", "1")];
            let client = send(&lab, PLAIN, &body, &body, &headers);
            eventually("it is with the upstream", || (lab.stat(ACTIVE) == 1).then_some(()));
            drop(client);
            until_asked(&lab, asked_before + 2);
            let expected = body.len() as u64 / 4 + charge;
            assert_eq!(hits(&lab, "tokens") - hits_before, expected, "{body}");
        }
    }
}

#[test]
#[ignore = "needs Envoy and Python; bash tests/run.sh"]
fn a_denied_request_costs_nothing_and_makes_no_second_call() {
    let lab = lab(&[]);
    for tokens in [500, 500] {
        call(&lab, PLAIN, "u", &body(Kind::Json, "small-1", tokens), &[]);
    }
    let (requests, before) = (asked(&lab), hits(&lab, "tokens"));
    for _ in 0..10 {
        let denial = call(&lab, PLAIN, "u", &body(Kind::Json, "small-1", 500), &[]);
        assert_eq!(denial.status(), 429);
    }
    assert_eq!((asked(&lab) - requests, hits(&lab, "tokens") - before), (10, 0));
    assert_eq!(left(&lab, "requests", "u"), 98);
}

#[test]
#[ignore = "needs Envoy and Python; bash tests/run.sh"]
fn the_model_and_the_usage_are_found_whatever_the_headers_say() {
    let lab = lab(&[]);
    let large = "tokens/large-1 admitted";
    for (user, headers) in [("plain", vec![]), ("gzip", vec![("accept-encoding", "gzip")])] {
        let ask = || call(&lab, PLAIN, user, &body(Kind::Json, "large-1", 500), &headers);
        let (answer, rows) = lab.rows(ask);
        assert_eq!((answer.status(), total_tokens(&answer)), (200, 500), "{user}");
        assert!(rows.iter().any(|row| row == large), "{user}: {rows:?}");
    }
    assert_eq!(hits(&lab, "tokens"), 1000);
    for kind in ["application/json; charset=utf-8", "text/plain", ""] {
        let before = asked(&lab);
        let mut client = lab.client();
        let headers = [("x-user", "typed"), ("content-type", kind)];
        let headers = if kind.is_empty() { &headers[..1] } else { &headers };
        let ((), rows) = lab.rows(|| {
            client.send_body(PLAIN, headers, &body(Kind::Stream, "large-1", 11));
            assert_eq!(total_tokens(&client.answer()), 11, "{kind:?}");
            until_asked(&lab, before + 2);
        });
        assert!(rows.iter().any(|row| row == large), "{kind:?}: {rows:?}");
    }
    assert_eq!(hits(&lab, "tokens"), 1033);
}

#[test]
#[ignore = "needs Envoy and Python; bash tests/run.sh"]
fn what_is_no_completion_costs_a_request_and_no_tokens() {
    let lab = lab(&[]);
    for endpoint in ["GET /v1/models", "GET /v1/chat/completions"] {
        assert_eq!(lab.client().call(endpoint, &[("x-user", "u")]).status(), 200);
    }
    assert_eq!(lab.client().call("GET /v1/models", &[]).status(), 400);
    assert_eq!((asked(&lab), left(&lab, "requests", "u")), (2, 98));
    let answer = call(&lab, PLAIN, "u", "nonsense", &[]);
    assert_eq!((answer.status(), hits(&lab, "tokens")), (400, 0));
}

#[test]
#[ignore = "needs Envoy, Python and Redis; bash tests/run.sh"]
fn prompt_and_completion_have_prices_and_one_budget() {
    with_each_store(|lab| {
        for (user, kind) in ["json", "stream"].into_iter().zip(BOTH) {
            let answer = call(lab, PRICED, user, &body(kind, "small-1", 110), &[]);
            assert_eq!(answer.status(), 200);
            // 10 for 5 and 100 for 20, and a tenth of it for a small model.
            assert_eq!(left(lab, "microdollars", user), 795);
            let before = hits(lab, "spending");
            let answer = call(lab, PRICED, user, &body(kind, "large-1", 110), &[]);
            assert_eq!((answer.status(), hits(lab, "spending") - before), (200, 2050));
            assert_owes(lab, PRICED, user, 2050 - 795);
        }
        assert_eq!(hits(lab, "tokens"), 0);
    });
}

#[test]
#[ignore = "needs Envoy, Python and Redis; bash tests/run.sh"]
fn what_was_reserved_and_not_used_is_given_back() {
    with_each_store(|lab| {
        for (user, kind) in ["json", "stream"].into_iter().zip(BOTH) {
            // It could cost a token for each byte, and does not.
            let answer = call(lab, RESERVED, user, &body(kind, "small-1", 500), &[]);
            assert_eq!((answer.status(), total_tokens(&answer)), (200, 500));
            assert_eq!(left(lab, "reserved_tokens", user), 500);
            let error = [("x-upstream", "error")];
            let answer = call(lab, RESERVED, user, &body(kind, "small-1", 100), &error);
            assert_eq!((answer.status(), left(lab, "reserved_tokens", user)), (500, 500));
            // What could cost more than is left is denied, and charges nothing.
            let denial = call(lab, RESERVED, user, &body(kind, "small-1", 500), &[]);
            assert_eq!((denial.status(), left(lab, "reserved_tokens", user)), (429, 500));
            let silent = [("x-upstream", "no-usage")];
            let body = body(kind, "small-1", 100);
            assert_eq!(call(lab, RESERVED, user, &body, &silent).status(), 200);
            let reserved = u32::try_from(body.len()).unwrap() + 90;
            assert_eq!(left(lab, "reserved_tokens", user), 500 - reserved);
        }
    });
}

/// The policy that people start from.
#[test]
#[ignore = "needs Envoy and Python; bash tests/run.sh"]
fn each_plan_has_a_budget_for_each_family_of_models_and_each_user() {
    let lab = Lab::start(Sample::models().patient());
    let ask = |user: &str, plan: &str, model: &str| {
        let plan = [("x-plan", plan)];
        let answer = call(&lab, PLAIN, user, &body(Kind::Stream, model, 12_000), &plan);
        if answer.status() == 429 {
            let error = &answer.json()["error"];
            assert_eq!(error["code"], "rate_limit_exceeded");
            return Some(error["type"].as_str().unwrap().to_owned());
        }
        assert_eq!(total_tokens(&answer), 12_000);
        None
    };
    let large = Some("large models".to_owned());
    for plan in ["free", "unheard-of"] {
        assert_eq!(ask(plan, plan, "large-1"), None);
        assert_eq!(ask(plan, plan, "large-1"), large);
        assert_eq!(ask(plan, plan, "another-1"), large, "a name of no family is no way around");
        assert_eq!(ask(plan, plan, "small-1"), None);
        assert_eq!(ask(plan, plan, "small-1"), Some("small models".to_owned()));
    }
    assert_eq!(ask("another", "free", "large-1"), None);
    for plan in ["team", "enterprise"] {
        for model in ["large-1", "large-1", "small-1"] {
            assert_eq!(ask(plan, plan, model), None, "{plan} {model}");
        }
    }
}
