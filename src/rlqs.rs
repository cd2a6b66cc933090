//! The quota service (RLQS): Envoys report what they let through, and are told what they may.
//!
//! Each stream has a task on the thread of its connection that reads reports. They go to one [`Engine`], on a thread of its
//! own, which has the [ledger](crate::shares::Ledger): it charges the store and tells the streams. The queue between is
//! bounded, and a stream whose report finds it full is not read meanwhile. Nor is one that makes more work than an Envoy can,
//! so that no stream keeps others waiting.

mod allowance;
mod engine;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

pub use self::engine::Engine;
use self::engine::Message;
pub use self::stream::QuotaService;
use crate::observe::telemetry::Telemetry;

/// How many messages wait for the engine at most. Each is at most one report.
const QUEUE: usize = 1024;

/// How quotas are assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long an assignment lasts without being renewed, in whole seconds. Envoy reports every 5 seconds, and each report
    /// renews it.
    pub ttl: Duration,
    /// How long a bucket id may be without a request before its Envoy is told to forget it.
    pub idle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(20), idle: Duration::from_secs(60) }
    }
}

/// The way to the engine.
#[derive(Clone)]
pub struct Quotas {
    messages: mpsc::Sender<Message>,
    telemetry: Arc<Telemetry>,
}

impl Quotas {
    /// The way to an engine, and what comes to it.
    pub fn new(telemetry: Arc<Telemetry>) -> (Self, Inbox) {
        let (messages, inbox) = mpsc::channel(QUEUE);
        (Self { messages, telemetry }, Inbox(inbox))
    }
}

/// What comes to an engine.
pub struct Inbox(mpsc::Receiver<Message>);
