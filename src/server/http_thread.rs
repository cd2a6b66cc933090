//! The thread that serves HTTP: tollgate's own side, that of envoyproxy/ratelimit, or both.
//!
//! It passes slow requests to further threads, which its runtime starts when there are any.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use super::shutdown::{Phase, reached};
use crate::admin::{self, Controls, Readiness};
use crate::listener::ParkedListener;
use crate::reference::{self, Health, Listeners};
use crate::service::Core;
use crate::tls::Identity;

/// What the thread serves HTTP with.
pub(super) struct HttpThread {
    pub(super) core: Arc<Core>,
    pub(super) readiness: Readiness,
    pub(super) tls: Option<Identity>,
    pub(super) controls: Controls,
    /// Where its own side listens.
    pub(super) admin: Option<ParkedListener>,
    /// Where the side of envoyproxy/ratelimit listens, and the health that it tells.
    pub(super) reference: Option<(Listeners<ParkedListener>, Arc<Health>)>,
}

impl HttpThread {
    /// Starts the thread, which serves until [`Phase::Stopped`]. The returned receiver completes when the thread exits,
    /// also by a panic.
    ///
    /// # Errors
    /// If the system refuses a thread or a runtime.
    pub(super) fn start(
        self,
        phases: watch::Receiver<Phase>,
    ) -> std::io::Result<oneshot::Receiver<()>> {
        let (exiting, exited) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let Self { core, readiness, tls, controls, admin, reference } = self;
        let (admin, reference) = {
            let _within = runtime.enter();
            let unpark = |(listeners, health): (Listeners<ParkedListener>, _)| {
                Ok::<_, std::io::Error>((listeners.unpark()?, health))
            };
            (admin.map(ParkedListener::unpark).transpose()?, reference.map(unpark).transpose()?)
        };
        std::thread::Builder::new().name("http".to_owned()).spawn(move || {
            // Dropped when the thread exits or panics.
            let _exiting: oneshot::Sender<()> = exiting;
            let stopped = || reached(phases.clone(), Phase::Stopped);
            let admin = async {
                if let Some(listener) = admin {
                    let core = Arc::clone(&core);
                    admin::serve(listener, tls, core, readiness, controls, stopped()).await;
                }
            };
            let reference = async {
                if let Some((listeners, health)) = reference {
                    reference::serve(listeners, Arc::clone(&core), health, stopped).await;
                }
            };
            runtime.block_on(async {
                // With neither, the thread has nothing to do until then.
                tokio::join!(admin, reference, stopped());
            });
            // Without waiting for reads of files that hang.
            runtime.shutdown_background();
        })?;
        Ok(exited)
    }
}
