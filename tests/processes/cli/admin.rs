//! `admin`: what a person sees and changes from a terminal.

use serde_json::Value;

use super::health::write_pair;
use super::query::query;
use super::serve::{QUIET, Served};
use super::{Ended, run, run_in};

const TOKEN: &str = "0123456789abcdef";

const POLICY: &str = "domain: management-api
tables:
  - { name: calls, key: [tenant], rows: { all: [{ per_day: 5 }] } }
  - { name: jobs, when: { job: { present: true } }, key: [tenant], rows: { all: [{ concurrent: 2, ttl: 1h }] } }
  - { name: banned, when: { tenant: outlaw }, key: [tenant], rows: { all: blocked } }
";

/// A server with a policy of its own, whose token is in a file.
struct Lab {
    folder: tempfile::TempDir,
    server: Served,
}

impl Lab {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("policy.yaml"), POLICY).unwrap();
        std::fs::write(path("token"), format!("{TOKEN}\n")).unwrap();
        let (policy, token) = (path("policy.yaml"), path("token"));
        let more = ["--config", &policy, "--watch", "off", "--admin-token-file", &token];
        let server = Served::start(&[&QUIET[..], &more].concat(), &[]);
        Self { folder, server }
    }

    fn admin_with(&self, token: &str, args: &[&str]) -> Ended {
        let address = format!("http://{}", self.server.http);
        let env = [("TOLLGATE_ADMIN_ADDR", &*address), ("TOLLGATE_ADMIN_TOKEN", token)];
        run_in(&[&["admin"][..], args].concat(), &env)
    }

    fn admin(&self, args: &[&str]) -> Ended {
        self.admin_with(TOKEN, args)
    }

    fn ask(&self, args: &[&str]) -> Option<i32> {
        query(&self.server, &[args]).code
    }
}

/// The lines of a list, each as its words.
fn words(ended: &Ended) -> Vec<Vec<&str>> {
    assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{ended:?}");
    ended
        .out
        .lines()
        .map(|line| line.split("  ").filter(|word| !word.is_empty()).map(str::trim).collect())
        .collect()
}

#[test]
fn what_is_blocked_is_told_and_not_reset() {
    let lab = Lab::start();
    let denied = query(&lab.server, &[&["tenant=outlaw"]]);
    assert_eq!(denied.code, Some(1), "{denied:?}");
    assert!(denied.out.starts_with("OVER_LIMIT\n  banned/all: blocked\n"), "{denied:?}");
    assert!(denied.out.contains("\n  metadata bucket: blocked\n"), "{denied:?}");
    let listed = lab.admin(&["lookup", "tenant=outlaw"]);
    let expected = ["over", "0 of 0", "never", "blocked", "banned/all", "tenant=outlaw"];
    assert_eq!(words(&listed)[1..], [expected.to_vec()]);
    let refused = lab.admin(&["reset", "--table", "banned", "tenant=outlaw"]);
    assert_eq!((refused.code, &*refused.out), (Some(2), ""));
    assert!(refused.err.contains("a blocked row has no tokens to refill"), "{refused:?}");
}

#[test]
fn a_call_and_a_bucket_are_explained_with_their_state() {
    let lab = Lab::start();
    for _ in 0..6 {
        lab.ask(&["tenant=acme"]);
    }
    let told = lab.admin(&["explain", "tenant=acme", "foo=1"]);
    assert_eq!((told.code, &*told.err), (Some(0), ""), "{told:?}");
    assert!(told.out.starts_with("domain management-api, 2"), "{told:?}");
    assert!(told.out.contains("Z: would be denied\nendpoint group none\n\n"), "{told:?}");
    let row = "+ calls, row all; one for each tenant:\n    5 per day: 0 of 5 left, admits in 4h ";
    assert!(told.out.contains(row), "{told:?}");
    let end = "- jobs: does not apply: only if job is present\n\
               - banned: does not apply: only if tenant is \"outlaw\"\n\n\
               1 bucket, which must admit\nnote: the policy does not ask about `foo`\n";
    assert!(told.out.ends_with(end), "{told:?}");
    let told = lab.admin(&["explain", "--table", "jobs", "tenant=acme"]);
    assert_eq!((told.code, &*told.err), (Some(0), ""), "{told:?}");
    let begin = "a call that the bucket limits: tenant=acme job=any\ndomain management-api, ";
    assert!(told.out.starts_with(begin), "{told:?}");
    assert!(told.out.contains("    2 concurrent: 2 of 2 left\n"), "{told:?}");
    let told = lab.admin(&["explain", "--table", "banned", "tenant=outlaw"]);
    assert!(told.out.contains("    blocked: 0 of 0 left, does not admit\n"), "{told:?}");
    let json = lab.admin(&["explain", "--json", "--table", "calls", "tenant=acme"]);
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&json["admits"], &json["assumed"]), (&false.into(), &Value::Array(vec![])));
    let refused = lab.admin(&["explain", "--table", "other", "tenant=acme"]);
    assert_eq!((refused.code, &*refused.out), (Some(1), ""));
    assert_eq!(refused.err, "no table has this name; the tables are: calls, jobs, banned\n");
    let refused = lab.admin(&["explain", "--row", "all", "tenant=acme"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let other = lab.admin(&["explain", "--domain", "other", "tenant=acme"]);
    assert_eq!(other.code, Some(1), "{other:?}");
    assert!(other.err.contains("no policy has the domain `other`"), "{other:?}");
}

#[test]
fn who_is_denied_most_is_told() {
    let lab = Lab::start();
    assert!(lab.admin(&["top"]).out.ends_with(":\nnone\n"));
    for (tenant, count) in [("acme", 7), ("evil\u{1b}[31m", 8), ("outlaw", 1)] {
        let entry = format!("tenant={tenant}");
        for _ in 0..count {
            lab.ask(&[&entry]);
        }
    }
    let told = lab.admin(&["top"]);
    assert!(told.out.starts_with("denied in the last 4m"), "{told:?}");
    let lines = words(&told);
    assert_eq!(lines[1], ["DENIED", "AT LEAST", "BUCKET", "TABLE/ROW", "KEY"]);
    assert_eq!(lines[2], ["3", "3", "5 per day", "calls/all", "tenant=evil\\u{1b}[31m"]);
    assert_eq!(lines[3], ["2", "2", "5 per day", "calls/all", "tenant=acme"]);
    assert_eq!(lines[4], ["1", "1", "blocked", "banned/all", "tenant=outlaw"]);
    assert_eq!(lines.len(), 5, "{told:?}");
    let told = lab.admin(&["top", "--limit", "1", "--domain", "management-api"]);
    assert!(told.out.ends_with("\nand 2 more\nany other bucket denied 2 at most\n"), "{told:?}");
    assert_eq!(lab.admin(&["top", "--domain", "other"]).code, Some(1));
    assert_eq!(lab.admin(&["top", "--limit", "0"]).code, Some(2));
}

#[test]
fn a_bucket_is_found_and_made_full() {
    let lab = Lab::start();
    assert_eq!(lab.admin(&["buckets"]).out, "none\n");
    assert_eq!(lab.ask(&["--hits", "5", "tenant=acme"]), Some(0));
    assert_eq!(lab.ask(&["tenant=acme"]), Some(1));
    for args in
        [&["buckets"][..], &["lookup", "tenant=acme"], &["buckets", "--domain", "management-api"]]
    {
        let ended = lab.admin(args);
        let lines = words(&ended);
        assert_eq!(lines[0], ["STATE", "LEFT", "FULL IN", "BUCKET", "TABLE/ROW", "KEY", "ID"]);
        assert_eq!(lines.len(), 2, "{ended:?}");
        assert_eq!(lines[1][..2], ["over", "0 of 5"]);
        assert!(lines[1][2].starts_with("23h 59m "), "{ended:?}");
        assert_eq!(lines[1][3..6], ["5 per day", "calls/all", "tenant=acme"]);
        assert_eq!(lines[1][6].len(), 32);
    }
    // Who may not reset it does not learn its name.
    let ended = lab.admin_with("0123456789abcdeF", &["buckets"]);
    let lines = words(&ended);
    assert_eq!((lines[0].len(), lines[1].len()), (6, 6), "{ended:?}");
    assert_eq!(lab.admin(&["lookup", "tenant=other"]).out, "none\n");
    assert_eq!(words(&lab.admin(&["lookup", "--all", "tenant=other"])).len(), 3);
    let ended = lab.admin(&["lookup", "tennant=acme"]);
    assert!(ended.out.ends_with("note: the policy does not ask about `tennant`\n"), "{ended:?}");
    let ended = lab.admin(&["reset", "--table", "calls", "tenant=acme"]);
    assert!(ended.out.ends_with("\nreset 1 bucket (0 were already full)\n"), "{ended:?}");
    assert_eq!(lab.ask(&["--hits", "5", "tenant=acme"]), Some(0));
    let id = words(&lab.admin(&["buckets"]))[1][6].to_owned();
    let ended = lab.admin(&["reset", "--id", &id]);
    assert!(ended.out.ends_with("\nreset 1 bucket (0 were already full)\n"), "{ended:?}");
    assert_eq!(lab.ask(&["--hits", "5", "tenant=acme"]), Some(0));
    let ended = lab.admin(&["reset", "--id", &"0".repeat(32)]);
    assert!(
        ended.code == Some(1) && ended.err.starts_with("no bucket with this `id`"),
        "{ended:?}"
    );
    for wrong in [
        &["reset"][..],
        &["reset", "--row", "all", "tenant=acme"],
        &["reset", "--id", &id, "--table", "calls"],
        &["reset", "--id", &id, "tenant=acme"],
    ] {
        assert_eq!(lab.admin(wrong).code, Some(2), "{wrong:?}");
    }
    let ended = lab.admin(&["reset", "--table", "call", "tenant=acme"]);
    assert_eq!((ended.code, &*ended.out), (Some(1), ""));
    assert_eq!(ended.err, "no table has this name; the tables are: calls, jobs, banned\n");
}

#[test]
fn a_customer_is_reset_in_one_call() {
    let lab = Lab::start();
    assert_eq!(lab.ask(&["--hits", "5", "tenant=acme", "job=1"]), Some(1));
    assert_eq!(lab.ask(&["--hits", "5", "tenant=acme"]), Some(0));
    let ended = lab.admin(&["reset", "--domain", "management-api", "tenant=acme"]);
    let lines = words(&ended);
    assert_eq!(lines[1][4..6], ["calls/all", "tenant=acme"]);
    let told = "\nreset 1 bucket (0 were already full)\nnote: slots of table jobs are not reset; release their leases";
    assert!(ended.out.contains(told), "{ended:?}");
    assert_eq!(lab.ask(&["--hits", "5", "tenant=acme"]), Some(0));
    let ended = lab.admin(&["reset", "tennant=acme"]);
    assert_eq!((ended.code, &*ended.out), (Some(1), ""));
    let err = "the policy does not ask about `tennant`; correct it, or leave it out\n";
    assert_eq!(ended.err, err);
    // What is known of a table in part.
    let keys = POLICY.replace("calls, key: [tenant]", "calls, key: [tenant, user]");
    std::fs::write(lab.folder.path().join("policy.yaml"), keys).unwrap();
    assert_eq!(lab.admin(&["reload"]).code, Some(0));
    assert_eq!(lab.ask(&["--hits", "5", "tenant=beta", "user=u1"]), Some(0));
    let ended = lab.admin(&["reset", "tenant=beta"]);
    let told = "\ncalls: reset 1 bucket (0 were already full)\nreset 1 bucket (0 were already full)\nnote: the \
                key of table calls also has `user`; of its buckets, only those that the server has recently seen \
                near their limit are reset\nnote: slots of table jobs ";
    assert!(ended.code == Some(0) && ended.out.contains(told), "{ended:?}");
}

#[test]
fn a_lease_is_found_by_its_age_and_released() {
    let lab = Lab::start();
    for _ in 0..2 {
        assert_eq!(lab.ask(&["tenant=acme", "job=1"]), Some(0));
    }
    assert_eq!(lab.ask(&["tenant=acme", "job=1"]), Some(1));
    let ended = lab.admin(&["leases"]);
    let lines = words(&ended);
    assert_eq!(lines[0], ["LEASE", "HELD FOR", "LEFT", "SLOTS", "TABLE/ROW", "KEY"]);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1][3..], ["1", "jobs/all", "tenant=acme"]);
    let lease = lines[1][0];
    assert_eq!(lab.admin(&["release", lease]).out, format!("{lease} is released\n"));
    assert_eq!(lab.ask(&["tenant=acme", "job=1"]), Some(0));
    let ended = lab.admin(&["release", lease]);
    assert_eq!(
        (ended.code, ended.err.contains("it was released, it has expired")),
        (Some(1), true)
    );
}

#[test]
fn the_policy_is_read_again_or_it_is_told_what_is_wrong_with_it() {
    let lab = Lab::start();
    let path = lab.folder.path().join("policy.yaml");
    let ended = lab.admin(&["reload"]);
    let (result, version) = ended.out.split_once(": ").unwrap();
    assert_eq!((ended.code, result, version.trim_end().len()), (Some(0), "unchanged", 64));
    std::fs::write(&path, POLICY.replace("per_day: 5", "per_day: 6")).unwrap();
    let changed = lab.admin(&["reload"]);
    assert!(changed.out.starts_with("changed: ") && !changed.out.contains(version), "{changed:?}");
    assert_eq!(lab.ask(&["--hits", "6", "tenant=acme"]), Some(0));
    let misspelled = POLICY.replace("jobs, when: { job:", "jobs, when: { tenent:");
    std::fs::write(&path, misspelled).unwrap();
    let ended = lab.admin(&["reload"]);
    let (first, warnings) = ended.out.split_once('\n').unwrap();
    assert!(ended.code == Some(0) && first.starts_with("changed: "), "{ended:?}");
    assert!(warnings.contains("policy.yaml:4:27: warning: tables[1].when.tenent: "), "{ended:?}");
    std::fs::write(&path, POLICY.replace("per_day: 5", "per_day: 0")).unwrap();
    let ended = lab.admin(&["reload"]);
    assert_eq!((ended.code, &*ended.out), (Some(1), ""));
    assert!(ended.err.starts_with("rejected: the previous policy stays in force\n"), "{ended:?}");
    assert!(ended.err.contains("policy.yaml:3:") && ended.err.contains("must be at least 1"));
}

#[test]
fn json_is_the_whole_answer() {
    let lab = Lab::start();
    assert_eq!(lab.ask(&["--hits", "5", "tenant=a\u{1b}[31m"]), Some(0));
    let ended = lab.admin(&["--json", "buckets"]);
    let told: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((ended.code, &told["items"][0]["remaining"]), (Some(0), &0.into()));
    let plain = lab.admin(&["lookup", "tenant=a\u{1b}[31m"]);
    assert!(
        plain.out.contains("tenant=a\\u{1b}[31m") && !plain.out.contains('\u{1b}'),
        "{plain:?}"
    );
}

#[test]
fn who_may_not_change_anything_is_told_what_to_do() {
    let lab = Lab::start();
    let ended = lab.admin_with("0123456789abcdeF", &["reload"]);
    assert_eq!((ended.code, &*ended.out), (Some(2), ""));
    assert!(ended.err.starts_with("the token is missing or wrong; "), "{ended:?}");
    let server = Served::start(&QUIET, &[]);
    let address = format!("http://{}", server.http);
    let ended = run(&["admin", "--addr", &address, "--token", TOKEN, "reload"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.starts_with("off; start with --admin-token or --admin-token-file, or "));
    let ended = run(&["admin", "leases", "--addr", "http://127.0.0.1:1"]);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.err.starts_with("cannot reach http://127.0.0.1:1: Connection refused"),
        "{ended:?}"
    );
}

#[test]
fn who_shows_a_certificate_that_is_allowed_needs_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let [server, client] = ["server", "client"].map(|name| write_pair(folder.path(), name));
    let tls = ["--http-tls-cert", &server[0], "--http-tls-key", &server[1]];
    let more = [&tls[..], &["--http-tls-client-ca", &client[0]]].concat();
    let served = Served::start(&[&QUIET[..], &more].concat(), &[]);
    let address = format!("https://localhost:{}", served.http.port());
    let reload = |more: &[&str]| {
        let args = ["admin", "reload", "--addr", &address, "--tls-ca", &server[0]];
        run(&[&args[..], more].concat())
    };
    let ended = reload(&["--tls-cert", &client[0], "--tls-key", &client[1]]);
    assert!(ended.code == Some(0) && ended.out.starts_with("unchanged: "), "{ended:?}");
    assert_eq!(reload(&[]).code, Some(2));
}

#[test]
fn a_token_that_is_none_ends_it_and_is_not_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "\n").unwrap();
    let path = path.to_str().unwrap();
    for (args, told) in [
        (
            &["--admin-token", "short-secret"][..],
            "--admin-token: a token must have at least 16 characters",
        ),
        (&["--admin-token-file", path], "token: a token must have at least 16 characters"),
        (&["--admin-token-file", "nowhere"], "--admin-token-file nowhere: No such file"),
        (&["--admin-token", TOKEN, "--admin-token-file", path], "cannot be used with"),
    ] {
        let ended = run(&[&QUIET[..], args].concat());
        assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{args:?}: {ended:?}");
        assert!(ended.err.contains(told), "{args:?}: {ended:?}");
        assert!(!ended.err.contains("short-secret") && !ended.err.contains(TOKEN), "{ended:?}");
    }
    let help = run_in(&["serve", "--help"], &[("TOLLGATE_ADMIN_TOKEN", TOKEN)]);
    assert!(help.out.contains("TOLLGATE_ADMIN_TOKEN") && !help.out.contains(TOKEN));
}
