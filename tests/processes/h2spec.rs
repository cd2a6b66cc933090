//! h2spec, which holds a server to RFC 7540 and RFC 7541, against the binary, and against the example of `unary-h2`.
//!
//! All of its cases pass, the strict one included, so that none contradicts what RFC 9113 changed. Two ask for more than
//! RFC 9113 does: that a stream which depends on itself is an error (h2spec 5.3.1). RFC 9113 has left the rules of
//! dependencies out (Section 5.3.2); `unary-h2` keeps this one.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use crate::certificates::Authority;
use crate::cli::serve::{QUIET, Served};
use crate::{frames, tool};

#[path = "../../crates/unary-h2/examples/hello.rs"]
mod hello;

/// How many cases h2spec has, so that none can be lost. None is skipped: h2spec skips some if the answer to GET has no
/// body, and tollgate's has the line that says why it is no call.
const CASES: usize = 146;

/// What came of a run: how many cases passed, and section and title of the others.
#[derive(Debug, Default)]
struct Report {
    passed: usize,
    skipped: Vec<(String, String)>,
    failed: Vec<(String, String)>,
}

impl Report {
    /// Reads the report of h2spec, in JUnit's XML.
    fn read(xml: &str) -> Self {
        let mut report = Self::default();
        for case in xml.split("<testcase ").skip(1) {
            let case = case.split("</testcase>").next().unwrap();
            let attribute = |name: &str| {
                let (_, value) = case.split_once(&format!("{name}=\"")).unwrap();
                value.split('"').next().unwrap().replace("&#34;", "\"")
            };
            let case_name = (attribute("package"), attribute("classname"));
            if case.contains("<skipped") {
                report.skipped.push(case_name);
            } else if case.contains("<failure") || case.contains("<error") {
                report.failed.push(case_name);
            } else {
                report.passed += 1;
            }
        }
        report
    }
}

/// Has all cases pass against a server, over the path of the calls: tollgate answers a request of another path that is
/// no call before its body has come, as RFC 9113 allows (Section 8.1), where eight cases expect it to read on.
fn all_pass(address: SocketAddr, more: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.xml");
    let port = address.port().to_string();
    let mut command = Command::new(tool("TOLLGATE_H2SPEC", "bin/h2spec"));
    // A case that waits for what does not come fails after two seconds.
    command.args(["generic", "hpack", "http2", "--strict", "--timeout", "2"]);
    command.args(["--host", "127.0.0.1", "--port", &port, "--path", frames::PATH]);
    command.arg("--junit-report").arg(&report).args(more).stdin(Stdio::null());
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let report = Report::read(&std::fs::read_to_string(report).unwrap());
    assert!(report.failed.is_empty() && output.status.success(), "{:?}\n{told}", report.failed);
    assert_eq!((report.skipped, report.passed), (Vec::new(), CASES), "{told}");
}

#[test]
#[ignore = "needs h2spec; bash tests/run.sh"]
fn all_cases_pass() {
    let server = Served::start(&QUIET, &[]);
    all_pass(server.grpc, &[]);
    assert_eq!(server.stop().0, Some(0));
}

#[test]
#[ignore = "needs h2spec; bash tests/run.sh"]
fn all_cases_pass_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = Authority::new().issue(&["localhost"]).write(folder.path(), "server");
    let flags = ["--grpc-tls-cert", certificate.to_str().unwrap()];
    let flags = [&QUIET[..], &flags, &["--grpc-tls-key", key.to_str().unwrap()]].concat();
    let server = Served::start(&flags, &[]);
    all_pass(server.grpc, &["--tls", "--insecure"]);
    assert_eq!(server.stop().0, Some(0));
}

#[test]
#[ignore = "needs h2spec; bash tests/run.sh"]
fn all_cases_pass_against_the_example() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // It ends with the process of the tests.
    std::thread::spawn(move || hello::listen(&listener));
    all_pass(address, &[]);
}
