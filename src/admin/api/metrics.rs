//! `/metrics`: what is counted, in the text format of OpenMetrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::sync::Mutex;

use crate::admin::Shared;
use crate::admin::work_queue::{apart, failed};
use crate::service::Service;

pub(super) async fn metrics(State(shared): State<Shared>) -> Response {
    let kind =
        [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    match shared.queues.scrapes.text(&shared.service).await {
        Ok(text) => (kind, text).into_response(),
        Err(response) => response,
    }
}

/// The metrics, written out once for all callers that wait: each gets values from after its request.
#[derive(Debug, Default)]
pub(in crate::admin) struct Scrapes {
    /// How many times they were written out, or began to be.
    begun: AtomicU64,
    last: Arc<Mutex<Scrape>>,
}

/// What was written last.
#[derive(Debug, Default)]
struct Scrape {
    number: u64,
    text: Bytes,
}

impl Scrapes {
    /// The metrics as text.
    ///
    /// # Errors
    /// The answer where they cannot be written.
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
    use super::*;

    #[tokio::test]
    async fn the_metrics_are_written_out_once_for_all_who_wait_and_again_for_who_asks_later() {
        let service = crate::admin::dashboard::events::tests::service();
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
        service.telemetry().count_invalid_request();
        let text = scrapes.text(&service).await.unwrap();
        assert!(
            std::str::from_utf8(&text).unwrap().contains("tollgate_invalid_requests_total 1\n")
        );
    }
}
