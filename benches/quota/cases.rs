//! What Envoys do with the shares that they are assigned: real Envoys and real tollgates, and a line for each case.
//!
//! ```text
//! quota_cases TOLLGATE ENVOY REDIS FOLDER
//! ```
//!
//! Logs go into FOLDER. Excess is how many requests were admitted beyond size + rate x t, over any time t, by the times at
//! which the answers came. Ends with an error if a target is missed.

#![allow(
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a program for measuring, in real time"
)]

mod exact;
mod figures;
mod load;
mod processes;
mod streams;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::exact::{Bucket, admitted, merge, rate, worst_excess};
use self::figures::{Table, milliseconds, share_of};
use self::load::{Answer, Load};
use self::processes::{Envoy, Failure, Running, Tollgate, Tools};

/// What the plain tenants have.
const PLAIN: Bucket = Bucket { size: 50.0, rate: 50.0 };

/// The most requests beyond size + rate x t.
const MOST_EXCESS: f64 = 5.0;

/// A server that has just started gives newcomers little for six seconds.
const UNSETTLED: Duration = Duration::from_secs(7);

const READ: &str = "/api/v2/users";
const OTHER: &str = "/api/v2/roles";

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Loads on a thread of their own.
struct Loads {
    start: Instant,
    running: JoinHandle<Vec<Vec<Answer>>>,
}

impl Loads {
    fn start(loads: Vec<Load>) -> Self {
        let start = Instant::now();
        let running = std::thread::spawn(move || {
            runtime().block_on(async {
                let running: Vec<_> =
                    loads.into_iter().map(|load| tokio::spawn(load.run(start))).collect();
                let mut all = Vec::new();
                for load in running {
                    all.push(load.await.unwrap());
                }
                all
            })
        });
        Self { start, running }
    }

    fn sleep_until(&self, seconds: f64) {
        let at = self.start + Duration::from_secs_f64(seconds);
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
    }

    fn answers(self) -> Vec<Vec<Answer>> {
        self.running.join().unwrap()
    }
}

fn plain(edge: SocketAddr, tenant: &str, steps: &[(f64, f64)]) -> Load {
    Load { edge, tenant: tenant.to_owned(), kind: "plain", path: OTHER, steps: steps.to_vec() }
}

/// Cases that differ in demand, on the same two Envoys, each with a tenant of its own. The second Envoy is killed at the end.
fn demands(table: &mut Table, envoys: &mut [Envoy; 2]) -> Result<(), Failure> {
    const END: f64 = 50.0;
    const KILL: f64 = 52.0;
    let edges = [envoys[0].edge, envoys[1].edge];
    let both = |tenant: &str, steps: [&[(f64, f64)]; 2]| {
        [0, 1].map(|of| plain(edges[of], tenant, steps[of]))
    };
    let grouped = |of: usize, path| Load { path, ..plain(edges[of], "groups", &[(END, 20.0)]) };
    let windows =
        |of: usize| Load { kind: "windows", ..plain(edges[of], "windows", &[(40.0, 10.0)]) };
    let loads = [
        both("busy", [&[(END, 60.0)], &[(END, 60.0)]]),
        both("skewed", [&[(END, 90.0)], &[(END, 5.0)]]),
        both("flip", [&[(20.0, 90.0), (END, 5.0)], &[(20.0, 5.0), (END, 90.0)]]),
        both("late", [&[(END, 90.0)], &[(12.0, 0.0), (END, 90.0)]]),
        [windows(0), windows(1)],
        [grouped(0, READ), grouped(1, READ)],
        [grouped(0, OTHER), grouped(1, OTHER)],
        both("killed", [&[(KILL + 27.0, 60.0)], &[(KILL + 27.0, 60.0)]]),
    ];
    let loads = Loads::start(loads.into_iter().flatten().collect());
    loads.sleep_until(KILL);
    envoys[1].process.kill()?;
    let answers = loads.answers();
    let pairs: Vec<_> = answers.chunks(2).collect();
    let [busy, skewed, flip, late, windows, read, other, killed] = pairs[..] else {
        return Err("not as many loads as cases".into());
    };

    let used = rate(&merge(busy), 10.0, END) / PLAIN.rate;
    table.add(
        "two busy: used of 50 a second",
        share_of(used),
        "97 to 103 %",
        (0.97..=1.03).contains(&used),
    );
    let used = rate(&merge(skewed), 10.0, END) / PLAIN.rate;
    table.add("90 and 5 a second: used", share_of(used), ">= 95 %", used >= 0.95);
    let small = rate(&skewed[1], 10.0, END) / 5.0;
    table.add("  what the small one gets of its 5", share_of(small), "100 %", small >= 0.995);
    let grown = rate(&flip[1], 26.0, 46.0) / 45.0;
    table.add("  6 s after they flip: of the other 45", share_of(grown), ">= 95 %", grown >= 0.95);
    let joined = rate(&late[1], 18.0, END) / 25.0;
    table.add("one joins another: its part of 25", share_of(joined), ">= 90 %", joined >= 0.9);
    let alone = rate(&killed[0], KILL + 11.0, KILL + 26.0) / PLAIN.rate;
    table.add("11 s after SIGKILL of one: used", share_of(alone), ">= 97 %", alone >= 0.97);

    let excesses =
        [("busy", busy), ("skewed", skewed), ("flip", flip), ("late", late), ("killed", killed)];
    for (name, pair) in excesses {
        let worst = worst_excess(&merge(pair), PLAIN);
        table.add(&format!("excess, {name}"), format!("{worst:.1}"), "<= 5", worst <= MOST_EXCESS);
    }
    two_windows(table, windows);
    two_groups(table, read, other);
    Ok(())
}

fn two_windows(table: &mut Table, answers: &[Vec<Answer>]) {
    let of = [Bucket { size: 10.0, rate: 10.0 }, Bucket { size: 120.0, rate: 2.0 }];
    let all = merge(answers);
    let requests: Vec<_> = all.iter().map(|answer| (answer.at, [true; 2])).collect();
    beside_exact(table, "10 a second and 120 a minute", &all, admitted(&requests, of));
    let worst = of.map(|of| worst_excess(&all, of));
    let told = format!("{:.1}, {:.1}", worst[0], worst[1]);
    table.add("  excess of each", told, "<= 5", worst.iter().all(|worst| *worst <= MOST_EXCESS));
}

fn two_groups(table: &mut Table, read: &[Vec<Answer>], other: &[Vec<Answer>]) {
    let group = Bucket { size: 30.0, rate: 30.0 };
    let of_group = |answers: &[Vec<Answer>], is_read| -> Vec<(Answer, bool)> {
        merge(answers).into_iter().map(|answer| (answer, is_read)).collect()
    };
    let mut all = [of_group(read, true), of_group(other, false)].concat();
    all.sort_by(|a, b| a.0.at.total_cmp(&b.0.at));
    let requests: Vec<_> =
        all.iter().map(|(answer, is_read)| (answer.at, [true, *is_read])).collect();
    let all: Vec<_> = all.into_iter().map(|(answer, _)| answer).collect();
    beside_exact(
        table,
        "a tenant's 50 and a group's 30",
        &all,
        admitted(&requests, [PLAIN, group]),
    );
    let worst = [worst_excess(&all, PLAIN), worst_excess(&merge(read), group)];
    let told = format!("{:.1}, {:.1}", worst[0], worst[1]);
    table.add("  excess of each", told, "<= 5", worst.iter().all(|worst| *worst <= MOST_EXCESS));
}

#[expect(clippy::cast_precision_loss, reason = "shares")]
fn beside_exact(table: &mut Table, name: &str, answers: &[Answer], exact: usize) {
    let count = answers.iter().filter(|answer| answer.is_admitted).count();
    let part = count as f64 / exact as f64;
    let name = format!("{name}: of an exact server's {exact}");
    table.add(&name, share_of(part), "85 to 115 %", (0.85..=1.15).contains(&part));
}

/// The server ends, and starts again after six seconds. Beside it, two tollgates over one Redis, each with an Envoy.
fn away(
    table: &mut Table,
    tools: &Tools,
    tollgate: &mut Tollgate,
    envoys: [SocketAddr; 2],
    of_redis: [SocketAddr; 2],
) -> Result<(), Failure> {
    const END: f64 = 45.0;
    let of = |tenant: &str, edges: [SocketAddr; 2]| {
        edges.map(|edge| plain(edge, tenant, &[(END, 60.0)]))
    };
    let late = [
        plain(of_redis[0], "late", &[(END, 90.0)]),
        plain(of_redis[1], "late", &[(12.0, 0.0), (END, 90.0)]),
    ];
    let loads = [of("away", envoys), of("redis", of_redis), late];
    let loads = Loads::start(loads.into_iter().flatten().collect());
    loads.sleep_until(12.0);
    tollgate.end()?;
    loads.sleep_until(18.0);
    tollgate.restart(tools)?;
    let answers = loads.answers();
    let [away, redis, late] = [0, 2, 4].map(|at| merge(&answers[at..at + 2]));
    let used = rate(&away, 12.5, 18.0) / PLAIN.rate;
    table.add(
        "server away: used meanwhile",
        share_of(used),
        "90 to 105 %",
        (0.9..=1.05).contains(&used),
    );
    let used = rate(&away, 18.0, 30.0) / PLAIN.rate;
    table.add("  in the 12 s since its start", share_of(used), "", true);
    let worst = worst_excess(&away, PLAIN);
    table.add("  excess of the whole", format!("{worst:.1}"), "<= 5", worst <= MOST_EXCESS);
    let used = rate(&redis, 10.0, END) / PLAIN.rate;
    let name = "two tollgates over one Redis, two busy: used";
    table.add(name, share_of(used), "97 to 103 %", (0.97..=1.03).contains(&used));
    let joined = rate(&answers[5], 18.0, END) / 25.0;
    table.add("  one joins another: its part of 25", share_of(joined), ">= 90 %", joined >= 0.9);
    for (name, answers) in [("busy", redis), ("late", late)] {
        let worst = worst_excess(&answers, PLAIN);
        let name = format!("  excess, {name}");
        table.add(&name, format!("{worst:.1}"), "<= 5", worst <= MOST_EXCESS);
    }
    Ok(())
}

/// Ten streams as those of Envoys, since ten Envoys would take more of this machine than the server.
fn fleet(table: &mut Table, tollgate: &Tollgate) -> Result<(), Failure> {
    const ENVOYS: u32 = 10;
    const TENANTS: usize = 1_000;
    const REPORTS: u32 = 8;
    let cpu = || tollgate.process.cpu();
    let (begun, runtime) = (cpu()?, runtime());
    let envoys = runtime.block_on(async {
        let envoys: Vec<_> = (0..ENVOYS)
            .map(|number| tokio::spawn(streams::Envoy::begin(tollgate.grpc, number, TENANTS)))
            .collect();
        all(envoys).await
    })?;
    let first = cpu()?;
    let latencies = runtime.block_on(async {
        let start = Instant::now();
        let envoys: Vec<_> =
            envoys.into_iter().map(|envoy| tokio::spawn(envoy.report(start, REPORTS))).collect();
        all(envoys).await
    })?;
    let (latencies, steady) = (latencies.concat(), cpu()?);
    let [p50, p99] = [0.5, 0.99].map(|part| quantile(&latencies, part));
    let name = "ten streams of 1,000 tenants: a report's answer, p99";
    table.add(name, milliseconds(p99), "<= 50 ms", p99 <= Duration::from_millis(50));
    table.add("  p50", milliseconds(p50), "", true);
    let each = steady.saturating_sub(first) / u32::try_from(latencies.len())?;
    table.add("  CPU of a report of 1,000", milliseconds(each), "", true);
    let of_first = first.saturating_sub(begun) / (ENVOYS * u32::try_from(TENANTS)?);
    let of_first = format!("{:.1} us", of_first.as_secs_f64() * 1e6);
    table.add("  CPU of an id that is new, in a message of its own", of_first, "", true);
    Ok(())
}

/// What all of them return.
async fn all<T>(
    running: Vec<tokio::task::JoinHandle<Result<T, Failure>>>,
) -> Result<Vec<T>, Failure> {
    let mut all = Vec::new();
    for of in running {
        all.push(of.await??);
    }
    Ok(all)
}

/// The value below which this part of all lies.
fn quantile(all: &[Duration], part: f64) -> Duration {
    let mut sorted = all.to_vec();
    sorted.sort_unstable();
    let at =
        sorted.iter().enumerate().find(|(at, _)| *at as f64 + 1.0 >= part * sorted.len() as f64);
    at.map_or(Duration::ZERO, |(_, latency)| *latency)
}

/// An Envoy that is sent as many tenants as it should never have.
fn many_ids(table: &mut Table, tollgate: &Tollgate, envoy: &Envoy) -> Result<(), Failure> {
    const TENANTS: u64 = 20_000;
    const MOST_WAIT: Duration = Duration::from_secs(60);
    let (grpc, edge, before) = (tollgate.grpc, envoy.edge, tollgate.process.memory()?);
    let span = Duration::from_secs(40);
    let probing = std::thread::spawn(move || runtime().block_on(streams::probe(grpc, span)));
    let sweep = load::sweep(edge, usize::try_from(TENANTS)?, 1_500.0);
    let sweeping = std::thread::spawn(move || runtime().block_on(sweep));
    let (mut most, mut memory, mut is_over) = (0, before, None);
    let start = Instant::now();
    let idle = loop {
        std::thread::sleep(Duration::from_millis(200));
        let shares = tollgate.metric("tollgate_quota_shares")?;
        (most, memory) = (most.max(shares), memory.max(tollgate.process.memory()?));
        if sweeping.is_finished() {
            let since = is_over.get_or_insert_with(Instant::now).elapsed();
            if shares <= 1 || since > MOST_WAIT {
                break since;
            }
        }
    };
    let told = start.elapsed();
    sweeping.join().unwrap()?;
    let latencies = probing.join().unwrap()?;
    let is_bounded = (TENANTS / 2..=TENANTS + 1).contains(&most);
    table.add(
        "20,000 tenants at one Envoy: shares at most",
        most.to_string(),
        "<= 20,001",
        is_bounded,
    );
    let name = "  idle for 5 s: all abandoned, since the last request";
    table.add(name, format!("{:.0} s", idle.as_secs_f64()), "<= 60 s", idle <= MOST_WAIT);
    table.add("  the whole", format!("{:.0} s", told.as_secs_f64()), "", true);
    let p99 = quantile(&latencies, 0.99);
    let is_quick = p99 <= Duration::from_millis(200);
    table.add("  another stream's report meanwhile, p99", milliseconds(p99), "<= 200 ms", is_quick);
    let grown = memory.saturating_sub(before) as f64 / TENANTS as f64 / 1024.0;
    table.add("  memory of a share", format!("{grown:.1} KiB"), "", true);
    Ok(())
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [tollgate, envoy, redis, folder] = &arguments[..] else {
        return Err("quota_cases TOLLGATE ENVOY REDIS FOLDER".into());
    };
    let [tollgate, envoy] = [tollgate, envoy].map(Clone::clone);
    let tools = Tools { tollgate, envoy, redis: redis.clone(), folder: folder.clone() };
    let (_redis, url): (Running, String) = processes::redis(&tools)?;
    let snapshot = folder.join("snapshot");
    let snapshot = snapshot.to_str().ok_or("FOLDER is no UTF-8")?;
    let mut main = Tollgate::start(&tools, "tollgate", &["--snapshot", snapshot])?;
    let fleet_of = Tollgate::start(&tools, "tollgate-fleet", &[])?;
    let many_of = Tollgate::start(&tools, "tollgate-many", &["--quota-idle", "5s"])?;
    let over_redis = ["tollgate-redis-1", "tollgate-redis-2"];
    let [first, second] = over_redis.map(|name| Tollgate::start(&tools, name, &["--store", &url]));
    let (first, second) = (first?, second?);
    std::thread::sleep(UNSETTLED);

    let mut table = Table::default();
    let start = |name: &str, of: &Tollgate| Envoy::start(&tools, name, of.grpc);
    let mut two = [start("envoy-1", &main)?, start("envoy-2", &main)?];
    demands(&mut table, &mut two)?;
    let [one, killed] = two;
    drop(killed);
    let third = start("envoy-3", &main)?;
    let of_redis = [start("envoy-redis-1", &first)?, start("envoy-redis-2", &second)?];
    let edges = [&of_redis[0], &of_redis[1]].map(|envoy| envoy.edge);
    away(&mut table, &tools, &mut main, [one.edge, third.edge], edges)?;
    drop((one, third, of_redis));
    fleet(&mut table, &fleet_of)?;
    let many = start("envoy-many", &many_of)?;
    many_ids(&mut table, &many_of, &many)?;
    table.end()
}
