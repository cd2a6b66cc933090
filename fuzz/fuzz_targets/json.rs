//! What `/json` takes: a RateLimitRequest in JSON, decided in memory.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::Value;
use tollgate::policy::fingerprint::FingerprintKey;
use tollgate::wire::{self, RateLimitRequest};
use tollgate_fuzz::parts::Parts;

static PARTS: LazyLock<Parts> = LazyLock::new(|| Parts::usual(FingerprintKey::fixed(0)));

static REQUEST: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(wire::DESCRIPTORS).expect("the program's own protos");
    let name = "envoy.service.ratelimit.v3.RateLimitRequest";
    pool.get_message_by_name(name).expect("the program's own protos")
});

fuzz_target!(|json: &[u8]| {
    let message = match wire::json::decode_request(json) {
        Ok(message) => message,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    RateLimitRequest::decode(&*message).expect("what is read is a message");
    check_again(&message);
    if let Some(response) = PARTS.begin().ask_twice(&message) {
        let told = wire::json::encode(&response).expect("a response in JSON");
        let told: Value = serde_json::from_str(&told).expect("JSON");
        let code = told.get("overallCode").and_then(Value::as_str);
        let expected = if wire::is_over_limit(&response) { "OVER_LIMIT" } else { "OK" };
        assert_eq!(code, Some(expected));
    }
});

/// Written as JSON, it is read as the same message again.
fn check_again(message: &[u8]) {
    let sent = DynamicMessage::decode(REQUEST.clone(), message).expect("a message");
    let json = serde_json::to_vec(&sent).expect("a message in JSON");
    let again = wire::json::decode_request(&json).expect("what we wrote");
    let again = DynamicMessage::decode(REQUEST.clone(), &*again).expect("a message");
    assert_eq!(again, sent);
}
