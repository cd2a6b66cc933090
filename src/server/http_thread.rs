//! The thread that serves HTTP.
//!
//! What takes long it leaves to others, which this runtime starts when there is something to do.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use super::{Phase, reached};
use crate::admin::{self, Controls, Readiness};
use crate::listener::ParkedListener;
use crate::service::Core;
use crate::tls::Identity;

/// What HTTP is served with.
pub(super) struct HttpThread {
    pub(super) tls: Option<Identity>,
    pub(super) core: Arc<Core>,
    pub(super) readiness: Readiness,
    pub(super) controls: Controls,
}

impl HttpThread {
    /// Serves until everything else is over. What is returned is told when it has ended, by a panic too.
    ///
    /// # Errors
    /// Where the system gives no thread or no runtime.
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
            // Dropped when the thread ends.
            let _exiting: oneshot::Sender<()> = exiting;
            let stopped = reached(phases, Phase::Stopped);
            runtime.block_on(admin::serve(listener, tls, core, readiness, controls, stopped));
            // A read that hangs is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(exited)
    }
}
