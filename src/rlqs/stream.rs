//! The streams of Envoys.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Quotas;
use super::allowance::Allowance;
use super::engine::{Message, Told};
use crate::clock::Clock;
use crate::observe::telemetry::Ignored;
use crate::shares::StreamId;
use crate::wire::quota::{
    RateLimitQuotaService, RateLimitQuotaServiceServer, RateLimitQuotaUsageReports, read,
};

/// The most streams. An Envoy has one for each domain.
const MAX_STREAMS: usize = 10_000;

/// The largest report, in bytes: 180,000 bucket ids of the usual size.
const MAX_REPORT: usize = 16 << 20;

/// How many messages may wait for a stream that does not read them. Envoy reads them at once.
const MAX_WAITING: usize = 64;

/// The service, for the connections of a worker.
#[derive(Clone)]
pub struct QuotaService {
    quotas: Quotas,
    clock: Arc<dyn Clock>,
    streams: Arc<Streams>,
}

/// The streams of all workers.
#[derive(Debug, Default)]
struct Streams {
    open: AtomicUsize,
    next: AtomicU64,
}

/// A stream that counts as open until this is dropped.
struct OpenStream(Arc<Streams>);

impl Streams {
    fn open(self: &Arc<Self>) -> Option<OpenStream> {
        let open = OpenStream(Arc::clone(self));
        (self.open.fetch_add(1, Ordering::AcqRel) < MAX_STREAMS).then_some(open)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl QuotaService {
    /// The service in front of an engine.
    pub fn new(quotas: Quotas, clock: Arc<dyn Clock>) -> Self {
        Self { quotas, clock, streams: Arc::default() }
    }

    /// As tonic serves it.
    pub fn server(self) -> RateLimitQuotaServiceServer<Self> {
        RateLimitQuotaServiceServer::new(self).max_decoding_message_size(MAX_REPORT)
    }

    fn ignore(&self, reason: Ignored, count: u64) {
        self.quotas.telemetry.quotas().count_ignored(reason, count);
    }
}

#[tonic::async_trait]
impl RateLimitQuotaService for QuotaService {
    type StreamRateLimitQuotasStream = ReceiverStream<Told>;

    async fn stream_rate_limit_quotas(
        &self,
        request: Request<Streaming<RateLimitQuotaUsageReports>>,
    ) -> Result<Response<Self::StreamRateLimitQuotasStream>, Status> {
        let Some(open) = self.streams.open() else {
            self.ignore(Ignored::streams, 1);
            return Err(Status::resource_exhausted(format!(
                "{MAX_STREAMS} streams are open, and there may be no more"
            )));
        };
        let stream = StreamId(self.streams.next.fetch_add(1, Ordering::Relaxed));
        let (to, told) = mpsc::channel(MAX_WAITING);
        let service = self.clone();
        let reports = request.into_inner();
        // The stream ends when the engine has dropped its end of the channel, so this task holds none.
        let weak = to.downgrade();
        tokio::spawn(async move {
            let _open: OpenStream = open;
            let mut to = Some(to);
            let is_over = || weak.upgrade().is_none_or(|to| to.is_closed());
            if let Err(status) = service.read(stream, reports, &mut to, is_over).await
                && let Some(to) = to.or_else(|| weak.upgrade())
            {
                // Fails if the stream has ended.
                let _ = to.send(Err(status)).await;
            }
            // Fails if the engine has ended.
            let _ = service.quotas.messages.send(Message::Close(stream)).await;
        });
        Ok(Response::new(ReceiverStream::new(told)))
    }
}

impl QuotaService {
    /// Reads the reports of a stream until it ends, as fast as its [`Allowance`] lets it. What is not read waits with its client:
    /// the stream's window of HTTP/2 is full. The engine takes over `to` with the first one.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if the first report has no domain, `UNAVAILABLE` if this server is ending, or that of the stream.
    async fn read(
        &self,
        stream: StreamId,
        mut reports: Streaming<RateLimitQuotaUsageReports>,
        to: &mut Option<mpsc::Sender<Told>>,
        is_over: impl Fn() -> bool,
    ) -> Result<(), Status> {
        let ended = || Status::unavailable("the server is ending; another replica takes over");
        let allowance = Allowance::new(Arc::clone(&self.clock));
        while let Some(reports) = reports.message().await? {
            let report = read(reports);
            self.ignore(Ignored::bucket_id, report.ignored);
            let ids = count(report.usages.len()).saturating_add(report.ignored);
            if to.is_some() && report.domain.is_empty() {
                self.ignore(Ignored::no_domain, 1);
                return Err(Status::invalid_argument("the first report names no domain"));
            }
            if let Some(to) = to.take() {
                let open = Message::Open { stream, domain: report.domain.into(), to };
                self.quotas.messages.send(open).await.map_err(|_| ended())?;
            }
            let (usages, arrived) = (report.usages, self.clock.now());
            let report = Message::Report { stream, usages, arrived };
            self.quotas.messages.send(report).await.map_err(|_| ended())?;
            let delays = &self.quotas.telemetry.quotas().delays;
            if !allowance.charge(ids, delays, &is_over).await {
                break;
            }
        }
        Ok(())
    }
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}
