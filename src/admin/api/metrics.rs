//! `/metrics`: all metrics, in the text format of OpenMetrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::sync::Mutex;

use crate::admin::Shared;
use crate::admin::work_queue::{failed, run_blocking};
use crate::service::Service;

pub(super) async fn metrics(State(shared): State<Shared>) -> Response {
    let kind =
        [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    match shared.queues.scrapes.text(&shared.service).await {
        Ok(text) => (kind, text).into_response(),
        Err(response) => response,
    }
}

/// Encodes the metrics once for all callers that wait. Each of them gets values from after its request began.
#[derive(Debug, Default)]
pub(in crate::admin) struct Scrapes {
    /// The number of encodings that have begun.
    begun: AtomicU64,
    last: Arc<Mutex<Scrape>>,
}

/// The last encoding.
#[derive(Debug, Default)]
struct Scrape {
    number: u64,
    text: Bytes,
}

impl Scrapes {
    /// The metrics as text.
    ///
    /// # Errors
    /// The answer if the metrics cannot be encoded.
    pub(super) async fn text(&self, service: &Arc<Service>) -> Result<Bytes, Response> {
        let before = self.begun.load(Ordering::Relaxed);
        let mut last = Arc::clone(&self.last).lock_owned().await;
        if last.number > before {
            return Ok(last.text.clone());
        }
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let service = Arc::clone(service);
        let written = run_blocking(move || {
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
    async fn the_metrics_are_encoded_once_for_all_waiting_callers_and_again_for_later_ones() {
        let service = crate::admin::dashboard::events::tests::service();
        let scrapes = Arc::new(Scrapes::default());
        // Holds the lock until all callers wait.
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
