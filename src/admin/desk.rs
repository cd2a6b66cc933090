//! What takes long is done apart from the thread that answers, so that whoever asks for little does not wait for
//! it: on threads that only work, one request at a time of each kind.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Semaphore};

use super::refused;
use crate::service::Service;

/// How many requests are at one desk at a time, with the one that is worked on. More are sent away.
pub(super) const LONGEST_LINE: usize = 16;

/// Where one request is worked on at a time.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    line: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

impl Default for Desk {
    fn default() -> Self {
        let [line, turn] = [LONGEST_LINE, 1].map(|count| Arc::new(Semaphore::new(count)));
        Self { line, turn }
    }
}

impl Desk {
    /// Does the work when it is its turn. Once begun it goes on to its end, whoever has asked and gone.
    pub(super) async fn work(
        &self,
        work: impl Future<Output = Response> + Send + 'static,
    ) -> Response {
        let Ok(place) = Arc::clone(&self.line).try_acquire_owned() else { return busy() };
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return busy() };
        apart(move || {
            let response = Handle::current().block_on(work);
            drop((place, turn));
            response
        })
        .await
        .unwrap_or_else(|response| response)
    }

    /// Waits until nothing is worked on, and lets nothing begin.
    pub(super) async fn close(&self) {
        self.line.close();
        // An error means that it is closed already.
        if let Ok(_last) = self.turn.acquire().await {
            self.turn.close();
        }
    }
}

async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Response> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| failed(&error))
}

fn failed(error: &dyn std::fmt::Display) -> Response {
    refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
}

fn busy() -> Response {
    let error =
        format!("{LONGEST_LINE} requests that take long are waiting; ask again in a second");
    let soon = [(header::RETRY_AFTER, "1")];
    (soon, refused(StatusCode::SERVICE_UNAVAILABLE, &error)).into_response()
}

/// The metrics, written out once for all who wait for them: whoever asks is told what holds since it has asked.
#[derive(Debug, Default)]
pub(super) struct Scrapes {
    /// How often writing them out was begun.
    begun: AtomicU64,
    last: Arc<Mutex<Scrape>>,
}

/// What was written out last.
#[derive(Debug, Default)]
struct Scrape {
    number: u64,
    text: Bytes,
}

impl Scrapes {
    /// The metrics as text.
    ///
    /// # Errors
    /// What is to be answered where they cannot be told.
    pub(super) async fn text(&self, service: &Arc<Service>) -> Result<Bytes, Response> {
        let before = self.begun.load(Ordering::Relaxed);
        let mut last = Arc::clone(&self.last).lock_owned().await;
        if last.number > before {
            return Ok(last.text.clone());
        }
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let service = Arc::clone(service);
        let written = apart(move || {
            let text = service.telemetry().encode()?.into();
            *last = Scrape { number, text };
            Ok(last.text.clone())
        });
        written.await?.map_err(|error: std::fmt::Error| failed(&error))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    /// Work that is done when that is said.
    async fn when(said: oneshot::Receiver<()>) -> Response {
        said.await.unwrap();
        StatusCode::OK.into_response()
    }

    #[tokio::test]
    async fn one_request_is_worked_on_at_a_time_some_wait_and_more_are_sent_away() {
        let desk = Desk::default();
        let (go, gone) = oneshot::channel::<()>();
        let first = tokio::spawn({
            let desk = desk.clone();
            async move { desk.work(when(gone)).await }
        });
        while desk.turn.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (1..LONGEST_LINE)
            .map(|_| {
                let desk = desk.clone();
                tokio::spawn(async move { desk.work(async { ().into_response() }).await })
            })
            .collect();
        while desk.line.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = desk.work(async { ().into_response() }).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
        assert!(others.iter().all(|other| !other.is_finished()));
        go.send(()).unwrap();
        assert_eq!(first.await.unwrap().status(), StatusCode::OK);
        for other in others {
            assert_eq!(other.await.unwrap().status(), StatusCode::OK);
        }
        assert_eq!(desk.line.available_permits(), LONGEST_LINE);
    }

    /// A turn that is free while its work goes on would let whoever asks and leaves begin any number of them.
    #[tokio::test]
    async fn work_that_has_begun_keeps_its_turn_though_nobody_waits_for_it_and_the_end_waits() {
        let desk = Desk::default();
        let (go, gone) = oneshot::channel::<()>();
        let first = tokio::spawn({
            let desk = desk.clone();
            async move { desk.work(when(gone)).await }
        });
        while desk.turn.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        assert_eq!(desk.turn.available_permits(), 0);
        let end = tokio::spawn({
            let desk = desk.clone();
            async move { desk.close().await }
        });
        tokio::task::yield_now().await;
        assert!(!end.is_finished());
        go.send(()).unwrap();
        end.await.unwrap();
        let refused = desk.work(async { ().into_response() }).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn the_metrics_are_written_out_once_for_all_who_wait_and_again_for_who_asks_later() {
        let service = crate::admin::events::tests::service();
        let scrapes = Arc::new(Scrapes::default());
        // Nobody is first until all have asked.
        let held = Arc::clone(&scrapes.last).lock_owned().await;
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                let (scrapes, service) = (Arc::clone(&scrapes), Arc::clone(&service));
                tokio::spawn(async move { scrapes.text(&service).await.is_ok() })
            })
            .collect();
        tokio::task::yield_now().await;
        drop(held);
        for one in waiting {
            assert!(one.await.unwrap());
        }
        assert_eq!(scrapes.begun.load(Ordering::Relaxed), 1);
        service.telemetry().count_bad_request();
        let text = scrapes.text(&service).await.unwrap();
        assert!(std::str::from_utf8(&text).unwrap().contains("tollgate_bad_requests_total 1\n"));
    }
}
