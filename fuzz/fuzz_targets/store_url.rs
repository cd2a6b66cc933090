//! A store's address, as `--store` takes it.
#![no_main]

use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tollgate::clock::{Clock, ManualClock};
use tollgate::observe::telemetry::Telemetry;
use tollgate::shared::target::{Target, TargetError};
use tollgate::shared::{Settings, SharedError, Store, Tls};
use tollgate::store::MemoryStore;

static LOCAL: LazyLock<Arc<MemoryStore>> = LazyLock::new(|| Arc::new(MemoryStore::new(1)));

static TELEMETRY: LazyLock<Arc<Telemetry>> =
    LazyLock::new(|| Arc::new(Telemetry::new(Arc::clone(&LOCAL))));

fuzz_target!(|text: &str| {
    let told = told(text);
    if let Some(hidden) = hidden(text) {
        assert_eq!(told, self::told(&hidden), "what is told depends on a user or a password");
    }
});

/// All that a person or a log is told of an address.
fn told(text: &str) -> Vec<String> {
    match text.parse::<Target>() {
        Ok(target) => {
            assert_eq!(target.is_memory(), text == "memory");
            let with_credentials = target.clone().with_credentials(Some("user"), Some("word"));
            let mut told = vec![target.to_string(), format!("{target:?}")];
            told.extend(check_client(with_credentials));
            told.extend(check_client(target));
            told
        }
        Err(error) => {
            if let TargetError::Server(number) = error {
                assert!((1..=text.split(',').count()).contains(&number), "server {number}?");
            }
            vec![error.to_string(), format!("{error:?}")]
        }
    }
}

/// The same address with an `x` for each letter and digit before its last `@`. None where there is no `@`, or
/// an escape before it, which could be cut.
fn hidden(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let (secret, shown) = rest.rsplit_once('@')?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ":@/,".contains(c);
    let hide = |c: char| if c.is_ascii_alphanumeric() { 'x' } else { c };
    let hidden = secret.chars().map(hide).collect::<String>();
    secret.chars().all(is_plain).then(|| format!("{scheme}://{hidden}@{shown}"))
}

/// The client is made, or why not is told. Nothing is connected.
fn check_client(target: Target) -> Option<String> {
    let is_memory = target.is_memory();
    let settings = Settings {
        target,
        tls: Tls::default(),
        prefix: "tollgate".to_owned(),
        timeout: Duration::from_millis(10),
        replicas: NonZeroU32::MIN,
        prepaid_time: None,
    };
    let clock = Arc::new(ManualClock::default()) as Arc<dyn Clock>;
    match Store::new(settings, 1, Arc::clone(&LOCAL), clock, Arc::clone(&TELEMETRY)) {
        Ok(_) => assert!(!is_memory),
        Err(SharedError::Memory) => assert!(is_memory),
        Err(error) => return Some(format!("{error} {error:?}")),
    }
    None
}
