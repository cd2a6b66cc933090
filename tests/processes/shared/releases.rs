//! Releases that wait for the store, and connections that are made again meanwhile.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prost::Message;

use super::cluster;
use super::local::{self, Replica};
use super::process::Tollgate;
use super::redis_server::Redis;
use super::support::{START, call, eventually, give_back, request};

const JOBS: &str = "domain: d
on_store_error: deny
tables:
  - { name: tenant, when: { tenant: { present: true } }, key: [tenant], rows: { all: [{ concurrent: 1, ttl: 1h }] } }
  - { name: job, when: { job: { present: true } }, key: [job], rows: { all: [{ concurrent: 1, ttl: 1h }] } }
";

fn release(lease: &str) -> tollgate::wire::RateLimitRequest {
    request("d", &[give_back(1, &[("lease", lease)])])
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_lease_released_while_the_store_is_away_is_released_when_it_is_back() {
    let redis = Redis::start();
    let replica = Tollgate::start(JOBS, &["--store", &redis.url(), "--store-timeout", "50ms"]);
    let mut client = replica.client();
    let leases: Vec<_> = (0..5)
        .map(|job| {
            let taken = client.ask(call(&[("job", &format!("job-{job}"))]));
            taken.request_header("x-tollgate-lease").unwrap().to_owned()
        })
        .collect();
    redis.stop();
    // Nobody can say yet whether it was held.
    leases.iter().for_each(|lease| assert_eq!(client.ask(release(lease)).released(), Some(0)));
    eventually("it is away", || replica.get("/readyz").contains("the shared store is unavailable"));
    redis.go_on();
    eventually("all are released", || redis.command(&["KEYS", "*{*"]) == "array([])");
    eventually("the store is back", || replica.get("/readyz") == "ready\n");
    for job in 0..5 {
        assert!(client.ask(call(&[("job", &format!("job-{job}"))])).is_ok());
    }
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_release_that_was_lost_with_its_connection_is_made_again_though_nobody_asks() {
    let redis = Redis::start();
    let between = Between::start(redis.address);
    let url = format!("redis://{}", between.address);
    let replica = Replica::new(&url, JOBS, START, Duration::from_millis(50));
    let taken = replica.ask(&call(&[("job", "7")]));
    let lease = taken.request_header("x-tollgate-lease").unwrap().to_owned();
    between.lose(0);
    assert_eq!(replica.ask(&release(&lease)).released(), Some(0));
    // One late answer does not end a connection, and nobody asks who would see that it has ended.
    assert!(!replica.service.core().is_degraded());
    between.cut(0);
    replica.until("it is released", |_| redis.command(&["DBSIZE"]) == "int(0)");
    assert_eq!(between.lines(), 2);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_release_that_reached_one_server_of_a_cluster_is_made_on_the_others_later() {
    // They keep what they have when they are killed.
    let mut servers = cluster::with(&["--appendonly", "yes"]);
    let seeds = format!("redis://{},{}", servers[0].address, servers[1].address);
    let replica = Tollgate::start(JOBS, &["--store", &seeds, "--store-timeout", "50ms"]);
    let mut client = replica.client();
    // Where it is at home, by the smaller number of its partition, and where it holds another slot.
    let homes = |servers: &[Redis]| {
        let leases = |server: &Redis| {
            let keys = redis::cmd("KEYS").arg("*:lease:*").query(&mut server.connect());
            let keys: Vec<String> = keys.unwrap();
            keys.iter()
                .map(|key| key.split(['{', '}']).nth(1).unwrap().parse().unwrap())
                .collect::<Vec<u16>>()
        };
        let mut found: Vec<(u16, usize)> = Vec::new();
        for (at, server) in servers.iter().enumerate() {
            found.extend(leases(server).into_iter().map(|partition| (partition, at)));
        }
        found.sort_unstable();
        found
    };
    let (entries, lease) = (0..40)
        .find_map(|number| {
            let (tenant, job) = (format!("tenant-{number}"), format!("job-{number}"));
            let taken = client.ask(call(&[("tenant", &tenant), ("job", &job)]));
            let lease = taken.request_header("x-tollgate-lease").unwrap().to_owned();
            let apart = matches!(*homes(&servers), [(_, one), (_, other)] if one != other);
            if !apart {
                assert_eq!(client.ask(release(&lease)).released(), Some(1));
            }
            apart.then_some((["tenant", "job"].into_iter().zip([tenant, job]), lease))
        })
        .expect("none of forty is on two servers");
    let entries: Vec<_> = entries.collect();
    // One that is only stopped would release it when it goes on: it has been asked.
    let elsewhere = homes(&servers)[1].1;
    servers[elsewhere].kill();
    assert_eq!(client.ask(release(&lease)).released(), Some(1));
    let home = servers.iter().enumerate().filter(|(at, _)| *at != elsewhere);
    home.for_each(|(_, server)| assert_eq!(server.command(&["KEYS", "*{*"]), "array([])"));
    servers[elsewhere].spawn();
    eventually("it knows all slots", || {
        servers[elsewhere].command(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
    });
    eventually("it is released there, too", || homes(&servers).is_empty());
    eventually("both slots are free", || {
        let entries: Vec<_> = entries.iter().map(|(name, value)| (*name, &**value)).collect();
        replica.client().ask(call(&entries)).is_ok()
    });
}

/// Stands between a replica and its store, and can lose what goes over it.
struct Between {
    address: SocketAddr,
    made: Arc<Mutex<Vec<Line>>>,
}

struct Line {
    client: TcpStream,
    asked: Arc<Mutex<usize>>,
    /// Of what is asked, and of what is answered.
    is_lost: [Arc<Mutex<bool>>; 2],
}

impl Between {
    fn start(store: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let made: Arc<Mutex<Vec<Line>>> = Arc::default();
        let lines = Arc::clone(&made);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(store).unwrap();
                let line = Line {
                    client: client.try_clone().unwrap(),
                    asked: Arc::default(),
                    is_lost: Default::default(),
                };
                let asked = Arc::clone(&line.asked);
                let [ask_is_lost, answer_is_lost] = line.is_lost.clone();
                lines.lock().push(line);
                let (to, from) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || {
                    pass(client, to, |count| {
                        *asked.lock() += count;
                        !*ask_is_lost.lock()
                    })
                });
                std::thread::spawn(move || pass(server, from, |_| !*answer_is_lost.lock()));
            }
        });
        Self { address, made }
    }

    fn lines(&self) -> usize {
        self.made.lock().len()
    }

    /// The store is not asked any more.
    fn lose(&self, line: usize) {
        *self.made.lock()[line].is_lost[0].lock() = true;
    }

    /// The store is asked, and its answers do not arrive.
    fn mute(&self, line: usize) {
        *self.made.lock()[line].is_lost[1].lock() = true;
    }

    /// How many bytes the store was sent.
    fn asked(&self, line: usize) -> usize {
        *self.made.lock()[line].asked.lock()
    }

    fn cut(&self, line: usize) {
        self.made.lock()[line].client.shutdown(Shutdown::Both).unwrap();
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut is_passed: impl FnMut(usize) -> bool) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if is_passed(count) && to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// Lets everything go on until then, without letting time pass.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(10), "never: {what}");
        tokio::task::yield_now().await;
    }
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
#[expect(clippy::async_yields_async, reason = "it is sent when that ends, and answered later")]
fn a_call_that_fails_late_leaves_the_connection_alone_that_was_made_since() {
    let redis = Redis::start();
    let between = Between::start(redis.address);
    let url = format!("redis://{}", between.address);
    let policy = JOBS.replace("concurrent: 1, ttl: 1h", "per_day: 5");
    let replica = Replica::new(&url, &policy, START, Duration::from_secs(1));
    replica.runtime.block_on(async {
        let service = Arc::clone(&replica.service);
        let ask =
            |job: &str| local::ask(Arc::clone(&service), call(&[("job", job)]).encode_to_vec());
        assert!(ask("1").await.is_ok());
        // From here on time passes when told. It would pass by itself where all wait, but for this one.
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || ended.recv().is_err());
        tokio::time::pause();
        between.mute(0);
        let send = async |job: &str| {
            let before = between.asked(0);
            let asking = tokio::spawn(ask(job));
            until("it is sent", || between.asked(0) > before).await;
            asking
        };
        let late = [send("2").await, send("3").await, send("4").await];
        tokio::time::advance(Duration::from_millis(900)).await;
        let last = send("5").await;
        tokio::time::advance(Duration::from_millis(101)).await;
        for asking in late {
            assert!(!asking.await.unwrap().is_ok(), "the mode is to deny");
        }
        until("it is away", || service.core().is_degraded()).await;
        // The longest of the first pauses.
        tokio::time::advance(Duration::from_millis(76)).await;
        until("it is back", || !service.core().is_degraded()).await;
        assert_eq!(between.lines(), 2);
        assert!(ask("1").await.is_ok());
        assert!(!last.is_finished());
        between.cut(0);
        // It is asked again, over the new connection.
        assert!(last.await.unwrap().is_ok());
        let answer = ask("1").await;
        assert!(answer.is_ok(), "the new connection was given up for the old one");
        assert_eq!(answer.remaining(), [2]);
        drop(end);
        assert!(busy.await.unwrap());
    });
}
