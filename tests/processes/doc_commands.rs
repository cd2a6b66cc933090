//! Every command that the pages show, run as it is written.
//!
//! The commands of a section run one after another in a terminal of their own, in the root of a checkout with tollgate,
//! Envoy and grpcurl on the path. Ports, and folders of the system, are replaced by free ones. What a command printed is
//! compared with what its page shows. Servers run in the background and end with their section.

mod blocks;
mod checkout;
mod matching;
mod session;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use blocks::{Block, Shown};
use checkout::Checkout;
use session::Session;

use super::envoy::http::Client;
use super::envoy::process::eventually;
use super::redis_server::Redis;

/// Blocks that no test can run: the page, how the first command begins, and why.
const NOT_RUN: [(&str, &str, &str); 6] = [
    ("CONTRIBUTING.md", "cargo run ", "minutes of compiling; CI builds the same"),
    (
        "docs/fuzzing.md",
        "bash fuzz/run.sh 60 ",
        "an hour; the first line is a stage of tests/run.sh",
    ),
    ("docs/fuzzing.md", "cargo fuzz run ", "needs cargo-fuzz, and builds everything anew"),
    ("docs/fuzzing.md", "target/debug/policy fuzz/artifacts/", "needs an input that fails"),
    ("docs/fuzzing.md", "target/debug/policy -merge=1 ", "needs the results of a long run"),
    ("docs/performance.md", "bash benches/serve.sh ", "needs a release build and an idle machine"),
];

/// Sections about a server that somebody else has started.
const SERVED: [(&str, &str); 1] = [("docs/operations.md", "The page")];

/// How long a command is repeated until it prints what its page shows: a busy machine may be too slow for a burst.
const PATIENCE: Duration = Duration::from_secs(20);

fn all_blocks() -> Vec<Block> {
    let pages = blocks::pages().into_iter();
    let blocks = pages.flat_map(|path| {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(".").unwrap().to_str().unwrap();
        blocks::blocks(name.trim_start_matches('/'), &text)
    });
    blocks.collect()
}

/// Why a block is not run, if it is not.
fn reason(block: &Block) -> Option<&'static str> {
    let is_it = |(page, begin, _): &&(&str, &str, &str)| {
        block.page == *page && block.commands[0].command.starts_with(begin)
    };
    NOT_RUN.iter().find(is_it).map(|(.., reason)| *reason)
}

#[test]
fn every_block_that_is_not_run_is_there_and_names_scripts_that_are() {
    let blocks = all_blocks();
    let left_out: Vec<_> = blocks.iter().filter(|block| reason(block).is_some()).collect();
    assert_eq!(left_out.len(), NOT_RUN.len(), "{left_out:#?}");
    assert!(blocks.len() > 2 * left_out.len(), "{blocks:#?}");
    for command in left_out.iter().flat_map(|block| &block.commands) {
        let script = command.command.strip_prefix("bash ").and_then(|rest| rest.split(' ').next());
        if let Some(script) = script {
            assert!(std::path::Path::new(script).is_file(), "{command:?}");
        }
    }
}

/// Some pages show a burst that is over a limit of a second, so that nothing may delay its calls.
mod wall_clock {
    #[test]
    #[ignore = "needs Envoy, grpcurl and Redis, and calls that come fast; bash tests/run.sh clock"]
    fn every_command_of_the_pages_runs_as_it_is_written() {
        let blocks = super::all_blocks();
        let run: Vec<_> = blocks.iter().filter(|block| super::reason(block).is_none()).collect();
        let mut faults = Vec::new();
        let mut sections = 0;
        for section in run.chunk_by(|a, b| (&a.page, &a.section) == (&b.page, &b.section)) {
            faults.extend(super::run_section(section));
            sections += 1;
        }
        assert!(sections > 5, "{sections}");
        assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    }
}

/// Runs the blocks of one section, up to the first fault, which is returned.
fn run_section(section: &[&Block]) -> Option<String> {
    let commands = || section.iter().flat_map(|block| &block.commands);
    let needs_redis = commands().any(|shown| shown.command.contains(":6379"));
    let redis = needs_redis.then(Redis::start);
    let checkout = Checkout::new(redis.as_ref().map(|redis| redis.address));
    let mut session = Session::start(&checkout);
    if SERVED.contains(&(&*section[0].page, &*section[0].section)) {
        session.serve("tollgate serve", &[checkout.port(8080)]).unwrap();
    }
    for block in section {
        for shown in &block.commands {
            let ran = match ports(&shown.command) {
                Some(ports) => {
                    let ports = ports.map(|port| checkout.port(port));
                    session.serve(&checkout.here(&shown.command), &ports)
                }
                None => run(&mut session, &checkout, shown),
            };
            if let Err(fault) = ran {
                return Some(format!("{}: {fault}", block.place()));
            }
        }
    }
    None
}

/// Where a command listens that does not end; none for the others.
fn ports(command: &str) -> Option<[u16; 2]> {
    if command == "cargo run" || command.starts_with("tollgate serve ") {
        Some([8081, 8080])
    } else if command.starts_with("python3 envoy/llm_upstream.py") {
        Some([9000; 2])
    } else {
        command.starts_with("envoy ").then_some([9901, 10000])
    }
}

/// Runs a command, until it prints what its page shows.
fn run(session: &mut Session<'_>, checkout: &Checkout, shown: &Shown) -> Result<(), String> {
    let command = checkout.here(&shown.command);
    let expected: Vec<_> = shown.output.iter().map(|line| checkout.here(line)).collect();
    let in_background = command.ends_with('&');
    let before = if in_background { decided(checkout) } else { 0 };
    let deadline = Instant::now() + PATIENCE;
    let mut first = None;
    loop {
        let (code, came) = session.run(&command);
        let lines: Vec<_> = came.iter().map(String::as_str).collect();
        // `query` fails on purpose, where it is over the limit.
        let is_fine = match &expected[..] {
            [] => code == 0,
            expected => matching::matches(expected, &lines),
        };
        if is_fine {
            break;
        }
        let complaints = session.complaints();
        let fault = first.get_or_insert_with(|| {
            format!(
                "`{command}` ended with {code} and printed\n{}\n--- the page shows\n{}\n--- its errors, and the \
                 servers' logs\n{complaints}",
                came.join("\n"),
                expected.join("\n")
            )
        });
        if expected.is_empty() || Instant::now() > deadline {
            return Err(std::mem::take(fault));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    if in_background {
        // What follows is about a call that is under way.
        eventually("the call in the background", || (decided(checkout) > before).then_some(()));
    }
    Ok(())
}

/// How many requests the checkout's tollgate has decided.
fn decided(checkout: &Checkout) -> u64 {
    let http = SocketAddr::from((Ipv4Addr::LOCALHOST, checkout.port(8080)));
    let metrics = Client::connect(http).call("GET /metrics", &[]).body;
    let lines = metrics.lines().filter(|line| line.starts_with("tollgate_requests_total"));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}
