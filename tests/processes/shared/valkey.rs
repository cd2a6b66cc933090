//! The same on Valkey.

use std::process::{Command, Stdio};

use super::redis_server;

/// What is not run there: this module, and TLS, which some builds of Valkey are without.
const NOT: [&str; 6] =
    ["--skip", "valkey::", "--skip", "login::over_tls", "--skip", "login::a_store_that_others"];

/// Runs the tests that these arguments pick on Valkey; at least so many pass.
fn battery(picked: &[&str], least: usize) {
    let valkey = std::env::var("TOLLGATE_VALKEY").unwrap_or_else(|_| "valkey-server".into());
    let version = Command::new(&valkey).arg("--version").output();
    let version = version.unwrap_or_else(|error| {
        panic!("{valkey}: {error}: `bash tests/setup.sh` fetches it");
    });
    let version = String::from_utf8(version.stdout).unwrap();
    assert!(version.starts_with("Valkey"), "{valkey} is {version}");
    let mut battery = Command::new(std::env::current_exe().unwrap());
    battery.args(picked).args(NOT).arg("--include-ignored");
    battery.env(redis_server::PROGRAM, &valkey);
    let output = battery.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    let passed = told.lines().filter(|line| line.ends_with("... ok")).count();
    eprintln!("{}: {passed} tests passed", version.trim());
    assert!(passed >= least, "{passed} tests passed: {told}");
}

#[test]
#[ignore = "needs Redis, Valkey, Envoy and Python; bash tests/run.sh"]
fn all_of_it_holds_on_valkey_as_well() {
    let picked = ["shared::", "envoy::usage::", "--skip", "wall_clock::", "--test-threads", "2"];
    battery(&picked, 45);
}

mod wall_clock {
    #[test]
    #[ignore = "needs Redis and Valkey, and measures time; bash tests/run.sh clock"]
    fn what_is_judged_by_the_clock_holds_on_valkey_as_well() {
        super::battery(
            &[
                "shared::replicas::wall_clock::",
                "shared::sentinel::wall_clock::",
                "--test-threads",
                "1",
            ],
            6,
        );
    }
}
