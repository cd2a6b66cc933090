//! The thread that divides buckets between Envoys.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use super::shutdown::{Phase, reached};
use crate::rlqs::{Engine, QuotaService, Quotas, Settings};
use crate::service::Core;

/// Starts the thread, which divides until the server drains. Returns the service for the workers, and what completes when
/// the thread exits, also by a panic.
///
/// # Errors
/// If the system refuses a thread or a runtime.
pub(super) fn start(
    core: &Arc<Core>,
    settings: Settings,
    phases: &watch::Receiver<Phase>,
) -> std::io::Result<(QuotaService, oneshot::Receiver<()>)> {
    let (quotas, inbox) = Quotas::new(core.shared_telemetry());
    let service = QuotaService::new(quotas, Arc::clone(core.clock()));
    let (exiting, exited) = oneshot::channel::<()>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (core, phases) = (Arc::clone(core), phases.clone());
    std::thread::Builder::new().name("quota".to_owned()).spawn(move || {
        // Dropped when the thread exits or panics.
        let _exiting: oneshot::Sender<()> = exiting;
        runtime.block_on(async {
            let service = tokio::select! {
                service = core.connect() => service,
                () = reached(phases.clone(), Phase::Draining) => return,
            };
            Engine::new(service, settings).run(inbox, reached(phases, Phase::Draining)).await;
        });
    })?;
    Ok((service, exited))
}

/// Completes when the thread has exited; never without one.
pub(super) async fn exited(thread: &mut Option<oneshot::Receiver<()>>) {
    match thread {
        Some(exited) => drop(exited.await),
        None => std::future::pending().await,
    }
}

/// Completes when the thread has exited, or at once without one.
pub(super) async fn exited_if_started(thread: &mut Option<oneshot::Receiver<()>>) {
    match thread {
        Some(exited) if !exited.is_terminated() => drop(exited.await),
        _ => {}
    }
}
