//! Calls that spend prepaid admissions of a shared store.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tollgate::clock::{Clock, ManualClock, Nanos};
use tollgate::live::ActivePolicies;
use tollgate::observe::telemetry::Telemetry;
use tollgate::service::{Core, Response, Stores};
use tollgate::shared::{Settings, Store, Tls};
use tollgate::store::MemoryStore;

use super::support::{NOW, USUAL, compiled, message, tenant};

/// Calls before those that are counted. The clock stands still, so that all calls are demand of one moment: after these, a grant
/// has more admissions than are counted.
const WARM_UP: usize = 80_000;

/// The store answers while this many calls are made.
const BATCH: usize = 16;

/// Makes the same call again and again, as `open`, over the shared store at this address. A call that is counted asks
/// nothing.
pub(super) fn spend(count: usize, url: &str) {
    let message = message("type_0", &tenant(0), None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let clock = Arc::new(ManualClock::at(NOW)) as Arc<dyn Clock>;
    let local = Arc::new(MemoryStore::new(1_000));
    let telemetry = Arc::new(Telemetry::new(Arc::clone(&local)));
    let settings = Settings {
        target: url.parse().unwrap(),
        tls: Tls::default(),
        prefix: "tollgate".into(),
        timeout: Duration::from_secs(10),
        replicas: NonZeroU32::MIN,
        prepaid_time: Some(Nanos::from_secs(3_600)),
    };
    let own = Arc::clone(&clock);
    let store = Store::new(settings, 1_000, local, own, Arc::clone(&telemetry)).unwrap();
    let policies = ActivePolicies::new(compiled(&USUAL.sources()), Arc::clone(&telemetry), NOW);
    let core = Core::new(clock, Arc::new(policies), Stores::Shared(store), telemetry);
    let _inside = runtime.enter();
    let service = runtime.block_on(Arc::new(core).connect());
    for number in 0..WARM_UP {
        let answer = runtime.block_on(service.handle(&message, None).finish());
        assert!(!answer.unwrap().is_over_limit);
        if number % BATCH == 0 {
            runtime.block_on(tokio::time::sleep(Duration::from_millis(2)));
        }
    }
    for _ in 0..count {
        let Response::Ready((answer, _)) = service.handle(black_box(&message), None) else {
            panic!("it asks the store");
        };
        assert!(!answer.unwrap().is_over_limit);
    }
}
