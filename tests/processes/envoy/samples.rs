//! The samples as they are shipped: what Envoy says of them, and the demo as a person runs it.

#![allow(clippy::print_stderr, reason = "a test that is skipped must be seen to be")]

use std::net::TcpStream;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use super::certificates::Authority;
use super::lab;
use super::process::command;

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn every_sample_is_valid_to_envoy() {
    let envoy = lab::envoy();
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    authority.issue(&["envoy.example.org"]).write(folder.path(), "envoy");
    for sample in ["envoy.yaml", "jwt.yaml", "leases.yaml", "llm.yaml", "mtls.yaml", "quota.yaml"] {
        let text = std::fs::read_to_string(format!("envoy/{sample}")).unwrap();
        let text = text.replace("/etc/envoy/tls", folder.path().to_str().unwrap());
        let path = folder.path().join(sample);
        std::fs::write(&path, text).unwrap();
        let mut validate = command(&envoy);
        validate.args(["--mode", "validate", "--disable-hot-restart", "-c"]).arg(&path);
        let ran = validate.stdin(Stdio::null()).output().unwrap();
        let log = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{sample}: {log}");
        assert!(!log.to_lowercase().contains("deprecated"), "{sample}: {log}");
    }
}

/// The rows of the table that the demo prints for a sample, the words of each; none if its ports are taken.
fn demo(sample: &[&str]) -> Option<Vec<Vec<String>>> {
    // Both demos need the same ports.
    static PORTS: Mutex<()> = Mutex::new(());
    let _ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
    let envoy = lab::envoy();
    for port in [10000, 9901, 9000, 8081, 8080] {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            eprintln!("SKIPPED: port {port}, which the demo needs, is taken");
            return None;
        }
    }
    let tools = tempfile::tempdir().unwrap();
    let bin = tools.path().join("venv/bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::os::unix::fs::symlink(std::path::absolute(envoy).unwrap(), bin.join("envoy")).unwrap();
    // Told to end after a minute, so that it can end what it has started.
    let mut demo = command("timeout");
    demo.args(["60", "bash", "envoy/demo.sh"])
        .args(sample)
        .env("TOLLGATE_DEMO_ONCE", "1")
        .env("TOLLGATE_BIN", env!("CARGO_BIN_EXE_tollgate"))
        .env("TOLLGATE_TOOLS", tools.path());
    let ran = demo.stdin(Stdio::null()).output().unwrap();
    let table = String::from_utf8_lossy(&ran.stdout);
    let complaints = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{}: {table}\n{complaints}", ran.status);
    let words = |row: &str| row.split_whitespace().map(str::to_owned).collect();
    Some(table.lines().map(words).collect())
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn the_demo_ends_with_a_table_that_has_a_429() {
    let Some(rows) = demo(&[]) else { return };
    assert_eq!(rows[0], ["tenant", "endpoint", "status", "remaining", "retry-after"]);
    let answers = |endpoint: &str| -> Vec<String> {
        let rows = rows.iter().filter(|row| row.len() == 6 && row[1..3].join(" ") == endpoint);
        rows.map(|row| row[3..5].join(" ")).collect()
    };
    // How many of the calls by the second pass depends on the machine; of these it does not.
    let rotate = answers("POST /api/v2/keys/signing/rotate");
    assert_eq!(rotate, ["200 4", "200 3", "200 2", "200 1", "200 0", "429 0"], "{rows:?}");
    let import = answers("POST /api/v2/jobs/users-imports");
    assert_eq!(import, ["200 0", "429 0", "200 0", "429 0"], "{rows:?}");
    assert_eq!(answers("GET /api/v2/users")[0], "200 9", "{rows:?}");
    for denied in rows.iter().filter(|row| row.get(3).is_some_and(|status| status == "429")) {
        assert!(denied[5].parse::<u32>().is_ok_and(|seconds| seconds > 0), "{rows:?}");
    }
}

#[test]
#[ignore = "needs Envoy and Python; bash tests/run.sh"]
fn the_demo_of_token_budgets_has_debts_and_what_hung_up() {
    let Some(rows) = demo(&["llm"]) else { return };
    assert_eq!(rows[0], ["user", "plan", "model", "tokens", "used", "left", "answer"]);
    let of = |user: &str, model: &str| -> Vec<(String, u64, String)> {
        let rows = rows.iter().filter(|row| row.len() > 5 && row[0] == user && row[2] == model);
        rows.map(|row| (row[3].clone(), row[4].parse().unwrap(), row[5..].join(" "))).collect()
    };
    let ann = of("ann", "large-1");
    let used: Vec<_> = ann.iter().map(|row| &*row.0).collect();
    assert_eq!(used, ["900", "900", "900", "-"], "{rows:?}");
    // What is left grows by the second.
    assert!(ann[0].1 >= 1100 && ann[1].1 >= 200, "{rows:?}");
    assert_eq!((ann[2].1, &*ann[2].2), (0, "200"), "{rows:?}");
    let cid = of("cid", "large-1");
    assert_eq!((&*cid[0].0, cid[0].1, &*cid[0].2), ("5000", 0, "200"), "{rows:?}");
    for denial in [&ann[3], &cid[1]] {
        assert_eq!((&*denial.0, denial.1), ("-", 0), "{rows:?}");
        assert!(denial.2.starts_with("429, retry after "), "{rows:?}");
    }
    for (user, model, used, budget) in [
        ("ann", "small-1", "900", 10_000),
        ("bob", "large-1", "900", 2000),
        ("dan", "small-1", "-", 10_000),
        ("eve", "large-1", "5000", 40_000),
    ] {
        let [(told, left, answer)] = &of(user, model)[..] else { panic!("{rows:?}") };
        assert!(told == used && *left < budget && answer.starts_with("200"), "{rows:?}");
    }
}

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn the_demo_of_quotas_has_a_429_and_the_share_behind_it() {
    let Some(rows) = demo(&["quota"]) else { return };
    assert_eq!(rows[0], ["tenant", "endpoint", "status", "remaining", "retry-after"]);
    let answers = |tenant: &str, endpoint: &str| -> Vec<String> {
        let rows = rows.iter().filter(|row| row.len() == 6 && row[0] == tenant);
        let rows = rows.filter(|row| row[1..3].join(" ") == endpoint);
        rows.map(|row| [&*row[3], &*row[5]].join(" ")).collect()
    };
    let rotate = answers("initech", "POST /api/v2/keys/signing/rotate");
    assert_eq!(rotate, ["200 -", "200 -", "200 -", "200 -", "200 -", "429 1", "429 1"], "{rows:?}");
    assert!(answers("acme", "GET /api/v2/users").contains(&"429 1".to_owned()), "{rows:?}");
    // Five a day, of which one was used when Envoy was told.
    let share =
        rows.iter().find(|row| row.get(1).is_some_and(|group| group == "rotate_signing_keys"));
    let share = share.unwrap_or_else(|| panic!("{rows:?}"));
    assert_eq!(share[..], ["initech", "rotate_signing_keys", "0.00006", "4"], "{rows:?}");
}
