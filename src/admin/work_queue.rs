//! Requests that take long are worked on apart from the thread that answers, so that short ones do not wait for them:
//! on threads of their own, one request of each queue at a time.

use std::future::Future;
use std::sync::Arc;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::ApiError;

/// How many requests are in one queue at a time, with the one that is worked on. More are answered 503.
pub(super) const MAX_REQUESTS: usize = 16;

/// A queue whose requests are worked on one at a time.
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
    /// Does the work when it is its turn. Once begun it goes on to its end, even if its caller is gone.
    pub(super) async fn work(
        &self,
        work: impl Future<Output = Response> + Send + 'static,
    ) -> Response {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return busy() };
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return busy() };
        apart(move || {
            let response = Handle::current().block_on(work);
            drop((place, turn));
            response
        })
        .await
        .unwrap_or_else(|response| response)
    }

    /// Waits until no request is worked on, and admits no more.
    pub(super) async fn close(&self) {
        self.places.close();
        // An error means that it is closed already.
        if let Ok(_last) = self.turn.acquire().await {
            self.turn.close();
        }
    }
}

pub(super) async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Response> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| failed(&error))
}

pub(super) fn failed(error: &dyn std::fmt::Display) -> Response {
    ApiError::internal(error).into()
}

fn busy() -> Response {
    let error =
        format!("{MAX_REQUESTS} requests that take long are waiting; ask again in a second");
    let soon = [(header::RETRY_AFTER, "1")];
    (soon, Response::from(ApiError::unavailable(error))).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use axum::http::StatusCode;

    /// Work that is done when that is said.
    async fn when(said: oneshot::Receiver<()>) -> Response {
        said.await.unwrap();
        StatusCode::OK.into_response()
    }

    #[tokio::test]
    async fn one_request_is_worked_on_at_a_time_some_wait_and_more_are_sent_away() {
        let queue = WorkQueue::default();
        let (go, gone) = oneshot::channel::<()>();
        let first = tokio::spawn({
            let queue = queue.clone();
            async move { queue.work(when(gone)).await }
        });
        while queue.turn.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (1..MAX_REQUESTS)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.work(async { ().into_response() }).await })
            })
            .collect();
        while queue.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = queue.work(async { ().into_response() }).await;
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

    /// A turn that is free while its work goes on would let whoever asks and leaves begin any number of them.
    #[tokio::test]
    async fn work_that_has_begun_keeps_its_turn_though_nobody_waits_for_it_and_the_end_waits() {
        let queue = WorkQueue::default();
        let (go, gone) = oneshot::channel::<()>();
        let first = tokio::spawn({
            let queue = queue.clone();
            async move { queue.work(when(gone)).await }
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
        let refused = queue.work(async { ().into_response() }).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
