//! A cluster of three primaries: what is of one tenant is on one of them, and what is not is decided in parts.

use std::process::Command;

use super::process::Tollgate;
use super::redis_server::{self, Redis};
use super::support::{Client, call, eventually};

const POLICY: &str = "domain: d
tables:
  - { name: tenant, key: [tenant], rows: { all: [{ per_day: 5 }] } }
  - { name: address, key: [remote_address], rows: { all: [{ per_day: 3 }] } }
  - { name: user, key: [user], rows: { all: [{ per_day: 1 }] } }
  - { name: jobs, when: { job: { present: true } }, key: [tenant], rows: { all: [{ concurrent: 1, ttl: 1h }] } }
  - { name: job, when: { job: { present: true } }, key: [job], rows: { all: [{ concurrent: 1, ttl: 1h }] } }
  - { name: banned, when: { user: bad }, key: [user], rows: { all: blocked } }
  - { name: tried, when: { user: odd }, key: [user], shadow: true, rows: { all: blocked } }
";

fn cluster() -> Vec<Redis> {
    with(&[])
}

/// Three primaries, each with these arguments.
pub fn with(more: &[&str]) -> Vec<Redis> {
    let servers: Vec<_> = (0..3)
        .map(|_| {
            // Its own port for the cluster would be ten thousand higher, which may be no port at all.
            let bus = redis_server::free_address().port().to_string();
            let own = ["--cluster-enabled", "yes", "--cluster-port", &bus];
            Redis::with(&[&own[..], more].concat())
        })
        .collect();
    let mut create = Command::new("redis-cli");
    create.args(["--cluster", "create"]);
    create.args(servers.iter().map(|server| server.address.to_string())).arg("--cluster-yes");
    let created = create.output().unwrap();
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
    for server in &servers {
        eventually("it knows all slots", || {
            server.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
        });
    }
    servers
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn buckets_on_several_servers_are_charged_all_or_none() {
    let servers = cluster();
    let seeds = format!("redis://{},{}", servers[0].address, servers[1].address);
    let replica = Tollgate::start(POLICY, &["--store", &seeds]);
    let mut client = replica.client();
    let address = ("remote_address", "10.0.0.1");
    for tenant in ["a", "b", "c"] {
        assert!(client.ask(call(&[("tenant", tenant), address])).is_ok());
    }
    // On whichever server they are, before the one that denies or behind it, they lose nothing.
    for number in 0..20 {
        let tenant = ("tenant", &*format!("tenant-{number}"));
        let denied = client.ask(call(&[tenant, address]));
        assert_eq!(denied.denied_by(), ("address", "all", "3 per day"));
        assert_eq!(client.ask(call(&[tenant])).remaining(), [4], "tenant {number}");
    }
    let keys = |server: &Redis| server.command(&["KEYS", "*{*"]);
    assert!(servers.iter().all(|server| keys(server) != "array([])"), "all are on one server");
    assert_eq!(replica.metric("tollgate_shared_store_local_decisions_total"), 0);
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn what_is_blocked_denies_on_whichever_servers_the_others_are() {
    let servers = cluster();
    let replica = Tollgate::start(POLICY, &["--store", &servers[0].url(), "--store-timeout", "5s"]);
    let mut client = replica.client();
    for number in 0..20 {
        let (tenant, job) = (format!("tenant-{number}"), format!("job-{number}"));
        let entries = [("tenant", &*tenant), ("job", &*job)];
        let denial = client.ask(call(&[&entries[..], &[("user", "bad")]].concat()));
        assert_eq!((denial.is_ok(), denial.denied_by().0), (false, "banned"), "{tenant}");
        let taken =
            client.ask(call(&[&entries[..], &[("user", &*format!("odd-{number}"))]].concat()));
        assert_eq!(
            (taken.is_ok(), taken.remaining()),
            (true, vec![0]),
            "{tenant}: its slots were left"
        );
        assert_eq!(client.ask(call(&[("tenant", &tenant)])).remaining(), [3], "one was charged");
    }
    let shadow = client.ask(call(&[
        ("tenant", "tenant-0"),
        ("remote_address", "10.0.0.9"),
        ("user", "odd"),
    ]));
    assert!(shadow.is_ok());
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn a_lease_on_several_servers_is_released_on_all_of_them() {
    let servers = cluster();
    let seeds = format!("redis://{},{}", servers[0].address, servers[2].address);
    let replica = Tollgate::start(POLICY, &["--store", &seeds]);
    let mut client = replica.client();
    for number in 0..8 {
        let tenant = ("tenant", &*format!("tenant-{number}"));
        let (one, two) = (("job", &*format!("one-{number}")), ("job", &*format!("two-{number}")));
        let taken = client.ask(call(&[tenant, one]));
        let lease = taken.request_header("x-tollgate-lease").unwrap().to_owned();
        assert_eq!(client.ask(call(&[tenant, two])).denied_by().0, "jobs");
        let other = client.ask(call(&[("tenant", "another"), one]));
        assert_eq!(other.denied_by().0, "job");
        let mut release = call(&[("lease", &lease)]);
        release.descriptors[0].is_negative_hits = true;
        release.descriptors[0].hits_addend = Some(1);
        assert_eq!(client.ask(release.clone()).released(), Some(1), "{number}");
        assert_eq!(client.ask(release).released(), Some(0), "{number}");
        let again = client.ask(call(&[tenant, one]));
        assert!(again.is_ok(), "{number}: {again:?}");
    }
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn where_several_servers_deny_what_others_took_is_given_back_once() {
    let servers = cluster();
    let seeds = format!("redis://{},{}", servers[0].address, servers[1].address);
    // What one replica was denied another does not know of, and asks.
    let replicas = [(); 2].map(|()| Tollgate::start(POLICY, &["--store", &seeds]));
    let [mut client, mut other] = replicas.each_ref().map(Tollgate::client);
    for number in 0..20 {
        let tenant = ("tenant", &*format!("tenant-{number}"));
        let address = ("remote_address", &*format!("10.0.0.{number}"));
        let user = ("user", &*format!("user-{number}"));
        (0..3).for_each(|_| assert!(other.ask(call(&[address])).is_ok()));
        assert!(other.ask(call(&[user])).is_ok());
        assert_eq!(client.ask(call(&[tenant])).remaining(), [4]);
        assert!(!client.ask(call(&[tenant, address, user])).is_ok());
        assert_eq!(client.ask(call(&[tenant])).remaining(), [3], "tenant {number}");
    }
}

/// Asks one bucket, and tells on which server and in which partition it is kept since then.
fn place(client: &mut Client, servers: &[Redis], entry: (&str, &str)) -> (usize, u16) {
    let keys = || servers.iter().map(|server| server.command(&["KEYS", "*"])).collect::<Vec<_>>();
    let before = keys();
    assert!(client.ask(call(&[entry])).is_ok());
    let after = keys();
    let partitions = |keys: &str| {
        keys.split('{')
            .skip(1)
            .map(|key| key.split('}').next().unwrap().parse().unwrap())
            .collect::<Vec<u16>>()
    };
    // A server may tell the keys that it has in another order.
    let new = before.iter().zip(&after).map(|(before, after)| {
        let known = partitions(before);
        partitions(after).into_iter().find(|new| !known.contains(new))
    });
    new.enumerate().find_map(|(at, new)| Some((at, new?))).unwrap()
}

#[test]
#[ignore = "needs Redis; bash tests/run.sh"]
fn what_one_server_took_is_given_back_where_another_is_silent() {
    let servers = cluster();
    let seeds = format!("redis://{},{}", servers[0].address, servers[1].address);
    let replica = Tollgate::start(POLICY, &["--store", &seeds, "--store-timeout", "200ms"]);
    let mut client = replica.client();
    let names: Vec<_> = (0..24).map(|number| format!("tenant-{number}")).collect();
    let tenants: Vec<_> =
        names.iter().map(|name| (place(&mut client, &servers, ("tenant", name)), name)).collect();
    let addresses: Vec<_> = (0..12).map(|number| format!("10.0.0.{number}")).collect();
    let addresses: Vec<_> = addresses
        .iter()
        .map(|address| (place(&mut client, &servers, ("remote_address", address)), address))
        .collect();
    // A server that is asked last, and tenants whose server is asked before.
    let last = addresses.iter().max_by_key(|((_, partition), _)| *partition).unwrap();
    let ((silent, last), address) = last;
    let before =
        tenants.iter().filter(|((server, partition), _)| server != silent && partition < last);
    let asked: Vec<_> = before.take(2).collect();
    assert!(!asked.is_empty(), "{tenants:?} {addresses:?}");
    for (_, tenant) in asked {
        servers[*silent].stop();
        let job = ("job", &*format!("of {tenant}"));
        let answer = client.ask(call(&[("tenant", tenant), ("remote_address", address), job]));
        servers[*silent].go_on();
        assert!(answer.is_ok(), "it is decided locally: {answer:?}");
        // One was taken to find its place. The slot, too, would be held.
        eventually("the store is back", || replica.get("/readyz") == "ready\n");
        assert_eq!(client.ask(call(&[("tenant", tenant)])).remaining(), [3], "{tenant}");
        let more = ("job", &*format!("more of {tenant}"));
        let free = client.ask(call(&[("tenant", tenant), more]));
        assert!(free.is_ok(), "{free:?}");
    }
}
