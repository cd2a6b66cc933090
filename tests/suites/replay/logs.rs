//! Logs that are read, and those that end a replay.

use tollgate::replay::Options;

use super::{Logs, OPTIONS, at, fields, line, one_row, policies, run, try_replay};

#[test]
fn more_keys_than_there_may_be_end_the_replay() {
    let logs = Logs::new();
    let text: String =
        (0..5_000).map(|n: u64| line(at(n), 0, 200, &[("k", &n.to_string())])).collect();
    let path = logs.write("a.json", text);
    let policy = one_row("{ per_hour: 2 }");
    let options = Options { max_keys: 100, ..OPTIONS };
    let error = try_replay(&policy, &fields(&["k"]), &[path], &options).unwrap_err();
    assert!(error.to_string().contains("--max-keys"), "{error}");
}

#[test]
fn a_file_that_is_no_log_ends_the_replay_and_single_lines_do_not() {
    let logs = Logs::new();
    let good = line(at(1), 0, 200, &[("k", "1")]);
    let path = logs.write("a.json", format!("{good}{{broken\n{good}{good}"));
    let policy = one_row("{ per_hour: 9 }");
    let report = run(&policy, &fields(&["k"]), &path, &OPTIONS);
    assert_eq!((report.input.lines, report.input.unreadable), (4, 1));
    assert!(report.input.unreadable_examples[0].place.ends_with("a.json:2"));
    let path = logs.write("b.json", format!("{good}one\ntwo\nthree\n"));
    let json = Options { format: Some("json".parse().unwrap()), ..OPTIONS };
    let error = try_replay(&policy, &fields(&["k"]), &[path], &json).unwrap_err().to_string();
    assert!(error.contains("most lines cannot be read as json"), "{error}");
    let path = logs.write("c.txt", "Dear reader,\nthis is a letter.\n");
    let error = try_replay(&policy, &fields(&["k"]), &[path], &OPTIONS).unwrap_err().to_string();
    assert!(error.contains("--format"), "{error}");
}

#[test]
fn a_field_that_no_line_has_is_told() {
    let logs = Logs::new();
    let path = logs.write("a.json", line(at(1), 0, 200, &[("k", "1")]));
    let policy = one_row("{ per_hour: 9 }");
    let pairs = fields(&["k", "j"]);
    let replayed = try_replay(&policy, &pairs, &[path], &OPTIONS).unwrap();
    assert!(replayed.unseen.contains(&(Some("j".to_owned()), "j".to_owned())));
}

/// The default mapping wants an X-Forwarded-For, which these formats lack or have; without a mapping, they are read.
#[test]
fn logs_as_servers_write_them_are_read_without_a_mapping() {
    let logs = Logs::new();
    let policy = policies(
        "domain: d\ntables: [{ name: t, key: [remote_address], rows: { all: [{ per_minute: 1 }] } }]",
    );
    let envoy = r#"[2026-03-01T00:00:01.500Z] "GET /a HTTP/1.1" 200 - 0 12 3 2 "203.0.113.7" "curl/8" "6d8a" "api.example.com" "10.0.0.1:80""#;
    let combined =
        r#"203.0.113.7 - - [01/Mar/2026:00:00:01 +0000] "GET /a HTTP/1.1" 200 12 "-" "curl/8""#;
    for (name, line) in [("envoy", envoy), ("combined", combined)] {
        let path = logs.write(name, format!("{line}\n{line}\n"));
        let replayed = try_replay(&policy, &[], &[path], &OPTIONS).unwrap();
        assert!(replayed.unseen.is_empty(), "{name}: {:?}", replayed.unseen);
        let report = replayed.report;
        assert_eq!((report.outcome.requests, report.outcome.denied), (2, 1), "{name}");
        let key = &report.outcome.denied_keys[0].key;
        assert_eq!(*key, [["remote_address".to_owned(), "203.0.113.7".to_owned()]], "{name}");
    }
}
