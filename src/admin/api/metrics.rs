//! `/metrics`: all metrics, in the text format that the caller prefers.

mod accept;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::Mutex;

use crate::admin::Shared;
use crate::admin::work_queue::{failed, run_blocking};
use crate::observe::telemetry::TextFormat;
use crate::service::Service;

pub(super) async fn metrics(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    scrape(&shared.queues.scrapes, &shared.service, &headers).await
}

/// The answer with all metrics to a request with these headers.
pub(crate) async fn scrape(
    scrapes: &Scrapes,
    service: &Arc<Service>,
    headers: &HeaderMap,
) -> Response {
    let format = accept::preferred(headers);
    let kind = match format {
        TextFormat::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        TextFormat::Classic => "text/plain; version=0.0.4; charset=utf-8",
    };
    let head = [(header::CONTENT_TYPE, kind)];
    match scrapes.text(service, format).await {
        Ok(text) => (head, text).into_response(),
        Err(response) => response,
    }
}

/// Encodes the metrics once for all callers that wait for the same format. Each of them gets values from after its request began.
#[derive(Debug, Default)]
pub(crate) struct Scrapes {
    /// The number of encodings that have begun.
    begun: AtomicU64,
    last: Arc<Mutex<Scrape>>,
    last_classic: Arc<Mutex<Scrape>>,
}

/// The last encoding in one format.
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
    pub(super) async fn text(
        &self,
        service: &Arc<Service>,
        format: TextFormat,
    ) -> Result<Bytes, Response> {
        let before = self.begun.load(Ordering::Relaxed);
        let last = match format {
            TextFormat::OpenMetrics => &self.last,
            TextFormat::Classic => &self.last_classic,
        };
        let mut last = Arc::clone(last).lock_owned().await;
        if last.number > before {
            return Ok(last.text.clone());
        }
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let service = Arc::clone(service);
        let written = run_blocking(move || {
            let text = service.telemetry().encode_as(format)?.into();
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
                tokio::spawn(async move {
                    scrapes.text(&service, TextFormat::OpenMetrics).await.is_ok()
                })
            })
            .collect();
        tokio::task::yield_now().await;
        drop(held);
        for one in waiting {
            assert!(one.await.unwrap());
        }
        assert_eq!(scrapes.begun.load(Ordering::Relaxed), 1);
        service.telemetry().count_invalid_request();
        for format in [TextFormat::OpenMetrics, TextFormat::Classic] {
            let text = scrapes.text(&service, format).await.unwrap();
            let text = std::str::from_utf8(&text).unwrap();
            assert!(text.contains("tollgate_invalid_requests_total 1\n"), "{text}");
            assert_eq!(text.ends_with("# EOF\n"), format == TextFormat::OpenMetrics);
        }
    }
}
