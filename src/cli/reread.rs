//! Reads files again while the server runs: on SIGHUP, and when they change.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::values::Switch;
use crate::file_watch::FileWatch;
use crate::policy_files::Cause;

/// Reads the files, applies what it read and logs the result. It must not block.
type Read = Arc<dyn Fn(Cause) -> Reading + Send + Sync>;

type Reading = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Calls `read` on every SIGHUP. With `watch` on, also when one of the files may have changed, and once as soon as
/// the watch has begun: they may have changed since the start.
///
/// # Errors
/// If the system refuses the signal handler.
pub(super) fn start<F: Future<Output = ()> + Send + 'static>(
    paths: Vec<PathBuf>,
    watch: Switch,
    read: impl Fn(Cause) -> F + Send + Sync + 'static,
) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let read: Read = Arc::new(move |cause| Box::pin(read(cause)));
    if watch == Switch::On {
        tokio::spawn(read_on_change(paths, Arc::clone(&read)));
    }
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            read(Cause::Hangup).await;
        }
    });
    Ok(())
}

async fn read_on_change(paths: Vec<PathBuf>, read: Read) {
    let mut watch = match FileWatch::start(paths.clone()).await {
        Ok(watch) => watch,
        Err(error) => {
            tracing::warn!(%error, ?paths, "files are not watched; send SIGHUP after changing them");
            return;
        }
    };
    loop {
        read(Cause::FileChange).await;
        watch.changed().await;
    }
}
