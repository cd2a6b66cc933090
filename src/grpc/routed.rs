//! The calls that are not for the rate-limit service, by tonic: health and reflection, and what is neither.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use http_body::{Body, Frame};
use tonic::service::Routes;
use tower_service::Service;

/// Answers one such call.
pub(super) async fn answer(
    mut routes: Routes,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let request = request.map(|body| tonic::body::Body::new(Incoming(body)));
    let call = async {
        std::future::poll_fn(|context| {
            Service::<Request<tonic::body::Body>>::poll_ready(&mut routes, context)
        })
        .await?;
        routes.call(request).await
    };
    let response = tokio::select! {
        // tonic answers whatever happens.
        Ok(response) = call => response,
        _ = std::future::poll_fn(|context| respond.poll_reset(context)) => return,
    };
    let (head, body) = response.into_parts();
    let is_over = body.is_end_stream();
    // Errors from here on mean that the caller is gone.
    if let Ok(mut stream) = respond.send_response(Response::from_parts(head, ()), is_over)
        && !is_over
    {
        let _ = send(&mut stream, body).await;
    }
}

/// Sends a body as fast as its reader takes it.
async fn send(stream: &mut SendStream<Bytes>, body: tonic::body::Body) -> Result<(), h2::Error> {
    let mut body = std::pin::pin!(body);
    loop {
        let frame = tokio::select! {
            frame = std::future::poll_fn(|context| body.as_mut().poll_frame(context)) => frame,
            _ = std::future::poll_fn(|context| stream.poll_reset(context)) => return Ok(()),
        };
        let Some(Ok(frame)) = frame else { break };
        match frame.into_data() {
            Ok(mut data) => {
                while !data.is_empty() {
                    stream.reserve_capacity(data.len());
                    let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
                    let Some(room) = room.transpose()? else { return Ok(()) };
                    stream.send_data(data.split_to(room.min(data.len())), false)?;
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    return stream.send_trailers(trailers);
                }
            }
        }
    }
    stream.send_data(Bytes::new(), true)
}

/// A request's body as tonic reads it.
struct Incoming(RecvStream);

impl Body for Incoming {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let Self(body) = &mut *self;
        if let Some(data) = ready!(body.poll_data(context)) {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let trailers = ready!(body.poll_trailers(context))?;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}
