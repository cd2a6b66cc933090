//! The phases of a server, and its way from one to the next.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;

/// The phase of a server. It only moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Accepts connections and calls.
    Serving,
    /// Accepts no connections, and finishes the calls in flight.
    Draining,
    /// Abandons the calls that are still in flight.
    Stopped,
}

/// How a server is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// After the drain delay, in which load balancers notice.
    AfterDelay,
    /// Without the drain delay.
    WithoutDelay,
}

/// Completes when the server has reached `phase`.
pub(super) async fn reached(mut phases: watch::Receiver<Phase>, phase: Phase) {
    // Fails if the sender, and so the server, is gone, which is the last phase as well.
    let _ = phases.wait_for(|now| *now >= phase).await;
}

/// Waits for the drain delay, in which the server is not ready but serves. Returns whether `force` ended it early.
pub(super) async fn wait_before_drain(
    delay: Duration,
    force: Pin<&mut impl Future<Output = ()>>,
) -> bool {
    if delay.is_zero() {
        return false;
    }
    tracing::info!(
        ?delay,
        "not ready; calls are accepted until the drain delay is over, or a second signal comes"
    );
    tokio::select! {
        biased;
        () = force => true,
        () = tokio::time::sleep(delay) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[test]
    fn the_drain_delay_lasts_for_its_duration_or_until_it_is_forced() {
        let paused = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        paused.block_on(async {
            let began = tokio::time::Instant::now();
            assert!(!wait_before_drain(Duration::from_secs(5), pin!(std::future::pending())).await);
            assert_eq!(began.elapsed(), Duration::from_secs(5));
            let force = tokio::time::sleep(Duration::from_secs(2));
            assert!(wait_before_drain(Duration::from_secs(5), pin!(force)).await);
            assert_eq!(began.elapsed(), Duration::from_secs(7));
        });
    }
}
