//! The same on Valkey.

use std::process::{Command, Stdio};

use super::redis_server;

/// What is not run there: this module, and TLS, which some builds of Valkey are without.
const NOT: [&str; 6] =
    ["--skip", "valkey::", "--skip", "login::over_tls", "--skip", "login::a_store_that_others"];

#[test]
fn all_of_it_holds_on_valkey_as_well() {
    let valkey = std::env::var("TOLLGATE_VALKEY").unwrap_or_else(|_| "valkey-server".into());
    let version = Command::new(&valkey).arg("--version").output();
    let required = std::env::var_os("TOLLGATE_REQUIRE_TOOLS").is_some_and(|value| value == "1");
    let Ok(version) = version else {
        assert!(!required, "no valkey-server: run `bash tests/setup.sh`");
        eprintln!("SKIPPED: no valkey-server: run `bash tests/setup.sh`");
        return;
    };
    let version = String::from_utf8(version.stdout).unwrap();
    assert!(version.starts_with("Valkey"), "{valkey} is {version}");
    let mut battery = Command::new(std::env::current_exe().unwrap());
    battery.args(NOT).args(["--test-threads", "2"]);
    battery.env(redis_server::PROGRAM, &valkey).env("TOLLGATE_REQUIRE_TOOLS", "1");
    let output = battery.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    let passed = told.lines().filter(|line| line.ends_with("... ok")).count();
    eprintln!("{}: {passed} tests passed", version.trim());
    assert!(passed >= 35, "{passed} tests passed: {told}");
}
