//! Requests of other paths, for tonic: health and reflection, and what nobody serves.
//!
//! Each has a task, which tonic runs in. The connection passes it the body as it arrives, and it passes the answer back
//! part by part: the next one when the one before has room in the peer's windows. Neither side keeps more of a body
//! than the windows allow, and a message that tonic puts together is bounded by `builtin_services`.

use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::HeaderMap;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body::{Body, Frame};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tonic::service::Routes;
use tower_service::Service;
use unary_h2::{Code, Connection, StreamId};

use super::rejection::Rejection;

/// The requests of one connection.
pub(super) struct Routed {
    routes: Routes,
    outbox: mpsc::UnboundedSender<Part>,
    open: HashMap<StreamId, Open>,
    /// Tasks whose last part waits for room.
    waiting: Vec<(StreamId, oneshot::Sender<()>)>,
}

struct Open {
    /// The rest of the body, until its end.
    body: Option<mpsc::UnboundedSender<Bytes>>,
    task: AbortHandle,
}

/// A part of an answer, or a sign of life.
pub(super) struct Part {
    stream: StreamId,
    kind: PartKind,
}

enum PartKind {
    /// So many bytes of the body have been taken.
    Taken(usize),
    Head(http::response::Parts, bool),
    Data(Bytes, oneshot::Sender<()>),
    Trailers(HeaderMap),
    End,
    /// The task could not go on.
    Failed,
}

impl Routed {
    pub(super) fn new(routes: Routes, outbox: mpsc::UnboundedSender<Part>) -> Self {
        Self { routes, outbox, open: HashMap::new(), waiting: Vec::new() }
    }

    /// Begins a request.
    pub(super) fn begin(
        &mut self,
        stream: StreamId,
        request: unary_h2::Request,
        is_end: bool,
        connection: &mut Connection,
    ) {
        let head = match head(&request) {
            Ok(head) => head,
            Err(rejection) => {
                rejection.answer(stream, request.method == b"HEAD", connection);
                return;
            }
        };
        let (sender, parts) = mpsc::unbounded_channel();
        let body = Incoming { stream, parts, outbox: self.outbox.clone() };
        let request = head.map(|()| tonic::body::Body::new(body));
        let task = answer(self.routes.clone(), stream, request, self.outbox.clone());
        let task = tokio::spawn(task).abort_handle();
        self.open.insert(stream, Open { body: (!is_end).then_some(sender), task });
    }

    /// Passes on a part of a body.
    pub(super) fn receive(&mut self, stream: StreamId, bytes: &[u8], is_end: bool) {
        let Some(open) = self.open.get_mut(&stream) else { return };
        if let Some(body) = &open.body
            && !bytes.is_empty()
        {
            // Fails if tonic wants no more of it.
            let _ = body.send(Bytes::copy_from_slice(bytes));
        }
        if is_end {
            open.body = None;
        }
    }

    /// The body has ended.
    pub(super) fn end(&mut self, stream: StreamId) {
        self.receive(stream, &[], true);
    }

    /// The answer is not wanted any more.
    pub(super) fn cancel(&mut self, stream: StreamId) {
        if let Some(open) = self.open.remove(&stream) {
            open.task.abort();
        }
        self.waiting.retain(|(other, _)| *other != stream);
    }

    /// Sends a part of an answer.
    pub(super) fn send(&mut self, Part { stream, kind }: Part, connection: &mut Connection) {
        match kind {
            PartKind::Taken(bytes) => connection.release(stream, bytes),
            PartKind::Head(head, is_end) => {
                let fields = fields(&head.headers);
                connection.answer_head(stream, head.status.as_u16(), &fields, is_end);
                self.finish(stream, is_end);
            }
            PartKind::Data(bytes, sent) => {
                if connection.answer_data(stream, &bytes, false) {
                    self.waiting.push((stream, sent));
                }
            }
            PartKind::Trailers(trailers) => {
                connection.answer_trailers(stream, &fields(&trailers));
                self.finish(stream, true);
            }
            PartKind::End => {
                connection.answer_data(stream, &[], true);
                self.finish(stream, true);
            }
            PartKind::Failed => {
                connection.cancel(stream, Code::INTERNAL_ERROR);
                self.finish(stream, true);
            }
        }
    }

    fn finish(&mut self, stream: StreamId, is_end: bool) {
        if is_end {
            self.open.remove(&stream);
        }
    }

    /// Lets tasks go on whose last part has been sent.
    pub(super) fn wake_senders(&mut self, connection: &Connection) {
        let waiting = std::mem::take(&mut self.waiting);
        for (stream, sent) in waiting {
            match connection.queued(stream) {
                Some(1..) => self.waiting.push((stream, sent)),
                // Fails if the task has ended.
                Some(0) | None => drop(sent.send(())),
            }
        }
    }
}

impl Drop for Routed {
    fn drop(&mut self) {
        self.open.values().for_each(|open| open.task.abort());
    }
}

/// The head of a request, as tonic reads it.
///
/// # Errors
/// If it is no gRPC call, or its path is no path.
fn head(request: &unary_h2::Request) -> Result<Request<()>, Rejection> {
    let kind = request.fields.iter().find(|(name, _)| name == b"content-type");
    let is_grpc = kind.is_some_and(|(_, value)| unary_h2::grpc::is_grpc(value));
    if let Some(rejection) = Rejection::of(request.method == b"POST", is_grpc) {
        return Err(rejection);
    }
    let path = PathAndQuery::try_from(&*request.path).map_err(|_| Rejection::Path)?;
    let mut head = Request::new(());
    *head.method_mut() = Method::POST;
    *head.uri_mut() = Uri::from(path);
    *head.version_mut() = http::Version::HTTP_2;
    for (name, value) in &request.fields {
        // The values of fields are opaque; those that this type does not take are left out.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            head.headers_mut().append(name, value);
        }
    }
    Ok(head)
}

fn fields(headers: &HeaderMap) -> Vec<(&[u8], &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())).collect()
}

/// Has tonic answer a request, and passes the answer to the connection.
async fn answer(
    mut routes: Routes,
    stream: StreamId,
    request: Request<tonic::body::Body>,
    outbox: mpsc::UnboundedSender<Part>,
) {
    // Fails if the connection has ended.
    let send = |kind| outbox.send(Part { stream, kind }).is_ok();
    let call = async {
        std::future::poll_fn(|context| {
            Service::<Request<tonic::body::Body>>::poll_ready(&mut routes, context)
        })
        .await?;
        routes.call(request).await
    };
    // tonic answers whatever happens.
    let Ok(response) = call.await;
    let (head, body) = response.into_parts();
    let is_end = body.is_end_stream();
    send(PartKind::Head(head, is_end));
    if is_end {
        return;
    }
    let mut body = std::pin::pin!(body);
    loop {
        match std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    let (sent, is_sent) = oneshot::channel();
                    if !send(PartKind::Data(data, sent)) || is_sent.await.is_err() {
                        return;
                    }
                }
                Err(frame) => {
                    send(frame.into_trailers().map_or(PartKind::End, PartKind::Trailers));
                    return;
                }
            },
            Some(Err(_)) => {
                send(PartKind::Failed);
                return;
            }
            None => {
                send(PartKind::End);
                return;
            }
        }
    }
}

/// The body of a request, as tonic reads it.
struct Incoming {
    stream: StreamId,
    parts: mpsc::UnboundedReceiver<Bytes>,
    outbox: mpsc::UnboundedSender<Part>,
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(bytes) = ready!(self.parts.poll_recv(context)) else { return Poll::Ready(None) };
        let part = Part { stream: self.stream, kind: PartKind::Taken(bytes.len()) };
        // Fails if the connection has ended.
        let _ = self.outbox.send(part);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}
