//! Files that are read again while the server runs.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};

use crate::policy_files::Cause;
use crate::watching::Watching;

/// Whether files are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Watch {
    On,
    Off,
}

/// What reads them, and says what came of it. It does not block.
type Read = Arc<dyn Fn(Cause) -> Reading + Send + Sync>;

type Reading = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Has files read at every SIGHUP, and if they are watched whenever they may have changed, and once now: they
/// were read before anybody watched.
///
/// # Errors
/// Where the system gives no signals.
pub(super) fn read<F: Future<Output = ()> + Send + 'static>(
    paths: Vec<PathBuf>,
    watch: Watch,
    read: impl Fn(Cause) -> F + Send + Sync + 'static,
) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let read: Read = Arc::new(move |cause| Box::pin(read(cause)));
    if watch == Watch::On {
        tokio::spawn(whenever_changed(paths, Arc::clone(&read)));
    }
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            read(Cause::Hangup).await;
        }
    });
    Ok(())
}

async fn whenever_changed(paths: Vec<PathBuf>, read: Read) {
    let mut watching = match Watching::start(paths.clone()).await {
        Ok(watching) => watching,
        Err(error) => {
            tracing::warn!(%error, ?paths, "not watched: what has changed is read on SIGHUP alone");
            return;
        }
    };
    loop {
        read(Cause::FileChange).await;
        watching.changed().await;
    }
}
