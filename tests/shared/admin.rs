//! What a person sees and changes where a store is shared.

use super::process::Tollgate;
use super::redis_server::{self, Redis};
use super::support::{call, eventually, give_back, request};

const POLICY: &str = "domain: d
tables:
  - { name: calls, key: [k], rows: { always: [{ per_day: 5 }] } }
  - { name: jobs, when: { job: { present: true } }, key: [k], rows: { always: [{ concurrent: 2, hold: 1h }] } }
";

const TOKEN: &str = "0123456789abcdef";

fn start(redis: &Redis) -> Tollgate {
    Tollgate::start(POLICY, &["--store", &redis.url(), "--admin-token", TOKEN])
}

#[test]
fn a_bucket_is_looked_at_and_made_full_in_the_shared_store() {
    if !redis_server::is_there() {
        return;
    }
    let redis = Redis::start();
    let (one, other) = (start(&redis), start(&redis));
    let (mut client, mut others) = (one.client(), other.client());
    let calls = call(&[("k", "1")]);
    (0..4).for_each(|_| assert!(client.ask(calls.clone()).is_ok()));
    // The other has never met it.
    let listed = other.get("/buckets?k=1");
    assert!(listed.contains(r#""remaining":1"#), "{listed}");
    assert_eq!(client.drain(&calls, 5).0, 1);
    let reset = one.post("/reset", TOKEN, r#"{"table":"calls","key":[["k","1"]]}"#);
    assert!(reset.contains(r#""remaining":0"#) && reset.contains(r#""were_full":0"#), "{reset}");
    assert_eq!(redis.command(&["DBSIZE"]), "int(0)");
    assert_eq!(client.drain(&calls, 5).0, 5);
    assert_eq!(others.drain(&calls, 5).0, 0);
}

/// How often the server was asked for a lease.
fn looks(redis: &Redis) -> u64 {
    let told = redis.command(&["INFO", "commandstats"]);
    let of_get = told.split("cmdstat_get:calls=").nth(1).unwrap_or("0,");
    of_get.split(',').next().unwrap().parse().unwrap()
}

/// Far more leases than a list of 4096 has room for, if those were on it that another replica has released.
#[test]
fn leases_that_another_replica_has_released_take_no_room_on_the_list() {
    if !redis_server::is_there() {
        return;
    }
    let redis = Redis::start();
    let policy = POLICY.replace("concurrent: 2", "concurrent: 5000");
    let args = ["--store", &redis.url(), "--store-timeout", "5s", "--admin-token", TOKEN];
    let (one, other) = (Tollgate::start(&policy, &args), Tollgate::start(&policy, &args));
    let (mut client, mut others) = (one.client(), other.client());
    let job = call(&[("k", "1"), ("job", "1")]);
    let mut take = |count: usize| -> Vec<String> {
        let lease =
            |_| client.ask(job.clone()).request_header("x-tollgate-lease").unwrap().to_owned();
        (0..count).map(lease).collect()
    };
    let mut released = |leases: &[String]| {
        for lease in leases {
            others.ask(request("d", &[give_back(1, &[("lease", lease)])]));
        }
    };
    // A sixteenth of the list is crowded from 192 on: these are some 160 each.
    released(&take(2600));
    assert_eq!(looks(&redis), 0);
    let more = take(1400);
    eventually("the store has been asked", || looks(&redis) >= 2600);
    released(&more);
    let held = take(500);
    let listed = one.get_with("/leases", TOKEN);
    assert!(listed.contains(r#""left_off":0"#), "some found no place");
    assert!(held.iter().all(|lease| listed.contains(&**lease)));
}

#[test]
fn leases_are_those_that_a_replica_has_taken_and_nobody_has_released() {
    if !redis_server::is_there() {
        return;
    }
    let redis = Redis::start();
    let (one, other) = (start(&redis), start(&redis));
    let (mut client, mut others) = (one.client(), other.client());
    let job = call(&[("k", "1"), ("job", "1")]);
    let leases: Vec<_> = (0..2)
        .map(|_| client.ask(job.clone()).request_header("x-tollgate-lease").unwrap().to_owned())
        .collect();
    let listed = one.get_with("/leases", TOKEN);
    assert!(leases.iter().all(|lease| listed.contains(&**lease)), "{listed}");
    assert!(
        listed.contains(r#""table":"jobs","row":"always","key":[["k","1"]],"slots":1"#),
        "{listed}"
    );
    assert!(other.get_with("/leases", TOKEN).contains(r#""listed":[]"#));
    // By its holder, at another replica.
    others.ask(request("d", &[give_back(1, &[("lease", &leases[0])])]));
    eventually("it is off the list", || !one.get_with("/leases", TOKEN).contains(&*leases[0]));
    let released = other.post("/leases/release", TOKEN, &format!(r#"{{"lease":"{}"}}"#, leases[1]));
    assert!(released.contains(r#""released":"#), "{released}");
    assert!(one.get_with("/leases", TOKEN).contains(r#""listed":[]"#));
}
