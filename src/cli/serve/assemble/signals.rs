//! The signals that end a server.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::server::Stop;

/// The signals to stop so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signals {
    count: u32,
    /// What the first of them asks for.
    first: Stop,
}

/// Receives SIGTERM and SIGINT from now on. SIGINT skips the drain delay: a person who presses Ctrl-C waits for the end.
pub(super) fn signals() -> std::io::Result<watch::Receiver<Signals>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (count, counted) = watch::channel(Signals { count: 0, first: Stop::AfterDelay });
    tokio::spawn(async move {
        loop {
            let (name, stop) = tokio::select! {
                _ = terminate.recv() => ("SIGTERM", Stop::AfterDelay),
                _ = interrupt.recv() => ("SIGINT", Stop::WithoutDelay),
            };
            count.send_modify(|signals| {
                if signals.count == 0 {
                    signals.first = stop;
                }
                signals.count += 1;
            });
            tracing::info!(signal = name, "stopping: calls in flight finish");
        }
    });
    Ok(counted)
}

/// Completes with the signal of this number, counted from 1.
pub(super) async fn received(mut signals: watch::Receiver<Signals>, number: u32) {
    if signals.wait_for(|signals| signals.count >= number).await.is_err() {
        std::future::pending().await
    }
}

/// Completes with the first signal.
pub(super) async fn stopped(signals: watch::Receiver<Signals>) -> Stop {
    received(signals.clone(), 1).await;
    signals.borrow().first
}
