//! Runs slow requests on threads of their own, one request of each queue at a time, so that fast requests do not wait
//! for them.

use std::future::Future;
use std::sync::Arc;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::ApiError;

/// The most requests in a queue, the running one included. Any more are answered 503.
pub(super) const MAX_REQUESTS: usize = 16;

/// A queue that runs one request at a time.
#[derive(Debug, Clone)]
pub(super) struct WorkQueue {
    places: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

impl Default for WorkQueue {
    fn default() -> Self {
        let [places, turn] = [MAX_REQUESTS, 1].map(|count| Arc::new(Semaphore::new(count)));
        Self { places, turn }
    }
}

impl WorkQueue {
    /// Runs the work when its turn comes. Once begun it runs to its end, even if its caller is gone.
    pub(super) async fn run(
        &self,
        work: impl Future<Output = Response> + Send + 'static,
    ) -> Response {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return busy() };
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return busy() };
        run_blocking(move || {
            let response = Handle::current().block_on(work);
            drop((place, turn));
            response
        })
        .await
        .unwrap_or_else(|response| response)
    }

    /// Accepts no more requests, and waits until none is running.
    pub(super) async fn close(&self) {
        self.places.close();
        // An error means that it is closed already.
        if let Ok(_last) = self.turn.acquire().await {
            self.turn.close();
        }
    }
}

/// Runs blocking work on a thread of its own.
///
/// # Errors
/// The answer if the work panics.
pub(super) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Response> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| failed(&error))
}

pub(super) fn failed(error: &dyn std::fmt::Display) -> Response {
    ApiError::internal(error).into()
}

fn busy() -> Response {
    let error = format!("{MAX_REQUESTS} slow requests are waiting; try again in a second");
    let soon = [(header::RETRY_AFTER, "1")];
    (soon, Response::from(ApiError::unavailable(error))).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use axum::http::StatusCode;

    /// Work that ends when a message arrives.
    async fn until(end: oneshot::Receiver<()>) -> Response {
        end.await.unwrap();
        StatusCode::OK.into_response()
    }

    #[tokio::test]
    async fn one_request_runs_at_a_time_some_wait_and_more_are_rejected() {
        let queue = WorkQueue::default();
        let (go, gone) = oneshot::channel::<()>();
        let first = tokio::spawn({
            let queue = queue.clone();
            async move { queue.run(until(gone)).await }
        });
        while queue.turn.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (1..MAX_REQUESTS)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.run(async { ().into_response() }).await })
            })
            .collect();
        while queue.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = queue.run(async { ().into_response() }).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
        assert!(others.iter().all(|other| !other.is_finished()));
        go.send(()).unwrap();
        assert_eq!(first.await.unwrap().status(), StatusCode::OK);
        for other in others {
            assert_eq!(other.await.unwrap().status(), StatusCode::OK);
        }
        assert_eq!(queue.places.available_permits(), MAX_REQUESTS);
    }

    /// If the turn were free while abandoned work runs, a client could start any number of requests by disconnecting.
    #[tokio::test]
    async fn work_that_has_begun_keeps_its_turn_without_its_caller_and_close_waits_for_it() {
        let queue = WorkQueue::default();
        let (go, gone) = oneshot::channel::<()>();
        let first = tokio::spawn({
            let queue = queue.clone();
            async move { queue.run(until(gone)).await }
        });
        while queue.turn.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        assert_eq!(queue.turn.available_permits(), 0);
        let end = tokio::spawn({
            let queue = queue.clone();
            async move { queue.close().await }
        });
        tokio::task::yield_now().await;
        assert!(!end.is_finished());
        go.send(()).unwrap();
        end.await.unwrap();
        let refused = queue.run(async { ().into_response() }).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
