//! Writes logs for benches/replay.sh, and reads them as the floor that it compares with.
//!
//! ```text
//! log envoy|json|keys LINES KEYS      writes a log to standard output
//! log parse                           reads JSON lines from standard input, and counts them
//! ```
//!
//! `envoy` has Envoy's default text format, `json` 22 fields and some 700 bytes a line, `keys` the shortest JSON lines of a
//! tenant each. Requests come at random, a millisecond apart on average, from KEYS tenants, whose demand is skewed.

#![allow(clippy::print_stdout, reason = "a program that writes a log")]

#[path = "../../tests/support/random.rs"]
mod random;

use std::error::Error;
use std::io::{self, BufRead, BufWriter, Write};

use self::random::Random;

/// 2026-03-01T00:00:00Z in milliseconds.
const START: u64 = 1_772_323_200_000;

/// A number below the bound, small ones more often: half of them are in the first quarter.
fn skewed(random: &mut Random, bound: u64) -> u64 {
    let bound = random.below(bound) + 1;
    random.below(bound)
}

const REQUESTS: [(&str, &str); 8] = [
    ("GET", "/api/v2/users"),
    ("GET", "/api/v2/users/auth0%7C507f1f77bcf86cd799439011"),
    ("PATCH", "/api/v2/users/auth0%7C507f1f77bcf86cd799439012"),
    ("GET", "/api/v2/clients?page=3&per_page=50&include_totals=true"),
    ("GET", "/api/v2/organizations/org_9ybsU1dN2dKfDkBi/members"),
    ("POST", "/api/v2/organizations/org_9ybsU1dN2dKfDkBi/invitations"),
    ("GET", "/api/v2/logs?from=90020230301&take=100"),
    ("POST", "/dbconnections/change_password"),
];

/// A time in RFC 3339 with milliseconds.
fn time(millis: u64) -> String {
    let (seconds, millis) = (millis / 1_000, millis % 1_000);
    let moment = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let text = humantime::format_rfc3339_seconds(moment).to_string();
    format!("{}.{millis:03}Z", text.trim_end_matches('Z'))
}

fn write(kind: &str, lines: u64, keys: u64, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let mut random = Random(1);
    let mut now = START;
    for number in 0..lines {
        now += random.below(3);
        let tenant = if kind == "keys" { number % keys } else { skewed(&mut random, keys) };
        let at = usize::try_from(random.below(8))?;
        let (method, path) = REQUESTS.get(at).copied().unwrap_or_default();
        let time = time(now);
        let took = random.below(40);
        let bytes = random.below(20_000);
        let id = random.below(u64::MAX);
        match kind {
            "envoy" => writeln!(
                out,
                r#"[{time}] "{method} {path} HTTP/1.1" 200 - 0 {bytes} {took} {took} "203.0.{}.{}" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36" "{id:016x}-5a1e-4b0c" "tenant-{tenant}.example.com" "10.1.2.3:8080""#,
                tenant / 250 % 250,
                tenant % 250,
            )?,
            "json" => writeln!(
                out,
                r#"{{"authority":"api.example.com","bytes_received":0,"bytes_sent":{bytes},"connection_termination_details":null,"downstream_local_address":"10.0.0.12:8443","downstream_remote_address":"203.0.113.9:51234","duration":{took},"method":"{method}","path":"{path}","protocol":"HTTP/2","request_id":"{id:016x}-5a1e-4b0c-9d2e","requested_server_name":"api.example.com","response_code":200,"response_code_details":"via_upstream","response_flags":"-","route_name":"management","start_time":"{time}","upstream_cluster":"management_api","upstream_host":"10.1.2.3:8080","user_agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0","x_forwarded_for":"203.0.{}.{}","x_tenant":"tenant-{tenant}"}}"#,
                tenant / 250 % 250,
                tenant % 250,
            )?,
            "keys" => writeln!(out, r#"{{"start_time":"{time}","k":"{tenant}"}}"#)?,
            _ => return Err("the kinds are envoy, json and keys".into()),
        }
    }
    Ok(())
}

fn parse() -> Result<u64, Box<dyn Error>> {
    let mut lines = 0;
    let mut line = String::new();
    let mut input = io::stdin().lock();
    while input.read_line(&mut line)? > 0 {
        serde_json::from_str::<serde::de::IgnoredAny>(&line)?;
        lines += 1;
        line.clear();
    }
    Ok(lines)
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match *words {
        ["parse"] => println!("{}", parse()?),
        [kind, lines, keys] => {
            let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
            write(kind, lines.parse()?, keys.parse()?, &mut out)?;
            out.flush()?;
        }
        _ => return Err("log envoy|json|keys LINES KEYS, or log parse".into()),
    }
    Ok(())
}
