//! The thread that serves HTTP.
//!
//! It passes slow requests to further threads, which its runtime starts when there are any.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use super::shutdown::{Phase, reached};
use crate::admin::{self, Controls, Readiness};
use crate::listener::ParkedListener;
use crate::service::Core;
use crate::tls::Identity;

/// What the thread serves HTTP with.
pub(super) struct HttpThread {
    pub(super) tls: Option<Identity>,
    pub(super) core: Arc<Core>,
    pub(super) readiness: Readiness,
    pub(super) controls: Controls,
}

impl HttpThread {
    /// Starts the thread, which serves until [`Phase::Stopped`]. The returned receiver completes when the thread exits,
    /// also by a panic.
    ///
    /// # Errors
    /// If the system refuses a thread or a runtime.
    pub(super) fn start(
        self,
        listener: ParkedListener,
        phases: watch::Receiver<Phase>,
    ) -> std::io::Result<oneshot::Receiver<()>> {
        let (exiting, exited) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _within = runtime.enter();
            listener.unpark()?
        };
        let Self { tls, core, readiness, controls } = self;
        std::thread::Builder::new().name("http".to_owned()).spawn(move || {
            // Dropped when the thread exits or panics.
            let _exiting: oneshot::Sender<()> = exiting;
            let stopped = reached(phases, Phase::Stopped);
            runtime.block_on(admin::serve(listener, tls, core, readiness, controls, stopped));
            // Without waiting for reads of files that hang.
            runtime.shutdown_background();
        })?;
        Ok(exited)
    }
}
