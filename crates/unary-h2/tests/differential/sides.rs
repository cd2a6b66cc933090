//! Both servers, and what is seen of them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use tokio::io::{AsyncRead, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::runtime::Runtime;
use tokio::task::{LocalSet, spawn_local, yield_now};
use unary_h2::{Budget, Code, Config, Connection, Event, Limits, StreamId, Vocabulary};

use crate::client::OTHER_PATH;
use crate::support::{self, ACK, END_STREAM, PATH};

pub(crate) const MAX_STREAMS: u32 = 10;
const MAX_HEADER_LIST: u32 = 8 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
const STREAM_WINDOW: u32 = 65_535;

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Came {
    /// The server was given a whole request.
    Call {
        stream: u32,
        path: Vec<u8>,
        body: Vec<u8>,
    },
    /// The client was sent as many bytes of bodies, of all streams.
    Bytes(usize),
    /// It was sent the end of an answer.
    Answer(u32),
    Reset(u32, Code),
    GoAway(Code),
    Ping(Vec<u8>),
    Settings,
    /// The connection was closed.
    Closed,
}

/// What came of a step, without the numbers of streams and bytes.
pub(crate) fn text(came: &[Came]) -> String {
    let is_answered = came.iter().any(|came| matches!(came, Came::Answer(_)));
    let words = came.iter().filter_map(|came| {
        Some(match came {
            Came::Call { path, .. } if [PATH, OTHER_PATH].map(str::as_bytes).contains(&&**path) => {
                "call".to_owned()
            }
            Came::Call { path, .. } => format!("call {}", String::from_utf8_lossy(path)),
            Came::Bytes(_) if is_answered => return None,
            Came::Bytes(_) => "bytes".to_owned(),
            Came::Answer(_) => "answer".to_owned(),
            Came::Reset(_, code) => format!("reset {code}"),
            Came::GoAway(code) => format!("goaway {code}"),
            Came::Ping(_) => "ping".to_owned(),
            Came::Settings => "settings".to_owned(),
            Came::Closed => "closed".to_owned(),
        })
    });
    words.collect::<Vec<_>>().join(", ")
}

/// A frame that was read.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// Takes the frames off the front of `bytes` that are whole.
fn take_frames(bytes: &mut Vec<u8>) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut rest = &**bytes;
    while let [a, b, c, kind, flags, d, e, f, g, more @ ..] = rest {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some((payload, more)) = more.split_at_checked(length) else { break };
        let stream = u32::from_be_bytes([*d, *e, *f, *g]);
        frames.push(Frame { kind: *kind, flags: *flags, stream, payload: payload.to_vec() });
        rest = more;
    }
    *bytes = rest.to_vec();
    frames
}

/// What the frames say that a server has written.
fn seen(frames: &[Frame]) -> Vec<Came> {
    let mut came = Vec::new();
    let mut bytes = 0;
    let code = |frame: &Frame, at| {
        let code = frame.payload[at..][..4].try_into().unwrap();
        Code(u32::from_be_bytes(code))
    };
    for frame in frames {
        match frame.kind {
            support::DATA => bytes += frame.payload.len(),
            support::RST_STREAM => came.push(Came::Reset(frame.stream, code(frame, 0))),
            support::GOAWAY => came.push(Came::GoAway(code(frame, 4))),
            support::PING if frame.flags & ACK != 0 => came.push(Came::Ping(frame.payload.clone())),
            support::SETTINGS if frame.flags & ACK != 0 => came.push(Came::Settings),
            _ => {}
        }
        let has_end = matches!(frame.kind, support::DATA | support::HEADERS);
        if has_end && frame.flags & END_STREAM != 0 {
            came.push(Came::Answer(frame.stream));
        }
    }
    if bytes > 0 {
        came.push(Came::Bytes(bytes));
    }
    came
}

/// A connection to each of the servers. Both answer a request with its body once they have all of it.
pub(crate) struct Both {
    h2: H2,
    here: Here,
}

impl Default for Both {
    fn default() -> Self {
        Self { h2: H2::new(), here: Here::new() }
    }
}

impl Both {
    /// Sends the same to both; returns what came of it, of h2 first.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> [Vec<Came>; 2] {
        [self.h2.send(bytes), self.here.send(bytes)].map(|mut came| {
            came.sort();
            // A GOAWAY is followed by the end of the connection, sooner or later.
            if came.iter().any(|came| matches!(came, Came::GoAway(_))) {
                came.retain(|came| *came != Came::Closed);
            }
            came
        })
    }
}

/// A server of this crate.
struct Here {
    connection: Connection,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Requests of other paths: the path, and the body so far.
    requests: BTreeMap<StreamId, (Vec<u8>, Vec<u8>)>,
    is_closed: bool,
}

impl Here {
    fn new() -> Self {
        let limits = Limits {
            max_streams: MAX_STREAMS,
            max_header_list: MAX_HEADER_LIST as usize,
            stream_window: STREAM_WINDOW,
            connection_window: CONNECTION_WINDOW,
            // A body of the tests need not be a message of gRPC, whose length is known in advance.
            max_body: usize::MAX,
            ..Limits::default()
        };
        let config = Arc::new(Config { vocabulary: Vocabulary::new([PATH], []), limits });
        Self {
            connection: Connection::new(config, Budget::new(usize::MAX), Duration::ZERO),
            input: Vec::new(),
            output: Vec::new(),
            requests: BTreeMap::new(),
            is_closed: false,
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Vec<Came> {
        if self.is_closed {
            return Vec::new();
        }
        self.input.extend(bytes);
        let input = std::mem::take(&mut self.input);
        let mut input = &*input;
        let mut came = Vec::new();
        self.connection.begin_turn(Duration::ZERO);
        loop {
            match self.connection.receive(&mut input) {
                Ok(Some(event)) => came.extend(self.answer(event)),
                Ok(None) if self.connection.is_turn_over() => {
                    self.connection.begin_turn(Duration::ZERO);
                }
                Ok(None) | Err(_) => break,
            }
        }
        self.input = input.to_vec();
        while !self.connection.output().is_empty() {
            self.output.extend(self.connection.output());
            self.connection.written(self.connection.output().len());
        }
        came.extend(seen(&take_frames(&mut self.output)));
        if self.connection.is_finished() {
            self.is_closed = true;
            came.push(Came::Closed);
        }
        came
    }

    fn answer(&mut self, event: Event<'_>) -> Option<Came> {
        let stream = match event {
            Event::Call(call) => {
                let (stream, body) = (call.stream, call.body.unwrap().into_owned());
                self.connection.answer(stream, &body);
                return Some(Came::Call { stream: stream.get(), path: PATH.into(), body });
            }
            Event::Request { stream, request, is_end } => {
                self.requests.insert(stream, (request.path, Vec::new()));
                is_end.then_some(stream)?
            }
            Event::Data { stream, bytes, is_end } => {
                self.requests.get_mut(&stream).unwrap().1.extend(bytes);
                self.connection.release(stream, bytes.len());
                is_end.then_some(stream)?
            }
            Event::Trailers { stream, .. } => stream,
            Event::Reset { .. } | Event::Refused { .. } | Event::GoAway { .. } => return None,
        };
        let (path, body) = self.requests.remove(&stream).unwrap();
        self.connection.answer_head(stream, 200, &[], false);
        self.connection.answer_data(stream, &body, false);
        self.connection.answer_trailers(stream, &[(b"grpc-status", b"0")]);
        Some(Came::Call { stream: stream.get(), path, body })
    }
}

type Calls = Rc<RefCell<Vec<Came>>>;

/// A server of the h2 crate.
struct H2 {
    runtime: Runtime,
    tasks: LocalSet,
    client: DuplexStream,
    output: Vec<u8>,
    calls: Calls,
    is_closed: bool,
}

impl H2 {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (client, server) = tokio::io::duplex(4 << 20);
        let (tasks, calls) = (LocalSet::new(), Calls::default());
        tasks.spawn_local(serve(server, Rc::clone(&calls)));
        Self { runtime, tasks, client, output: Vec::new(), calls, is_closed: false }
    }

    fn send(&mut self, bytes: &[u8]) -> Vec<Came> {
        if self.is_closed {
            return Vec::new();
        }
        let Self { client, output, .. } = self;
        self.is_closed = self.tasks.block_on(&self.runtime, async move {
            // What a server does not read that has closed the connection is lost.
            drop(client.write_all(bytes).await);
            let mut quiet = 0;
            // Nothing but what was sent wakes the server, so that it has done all after a few rounds.
            while quiet < 4 {
                yield_now().await;
                let before = output.len();
                if read(client, output).await {
                    return true;
                }
                quiet = if output.len() == before { quiet + 1 } else { 0 };
            }
            false
        });
        let mut came = std::mem::take(&mut *self.calls.borrow_mut());
        came.extend(seen(&take_frames(&mut self.output)));
        if self.is_closed {
            came.push(Came::Closed);
        }
        came
    }
}

/// Reads what is there. Returns whether it was the end.
async fn read(client: &mut DuplexStream, output: &mut Vec<u8>) -> bool {
    poll_fn(|context| {
        let mut bytes = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *client).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    output.extend(buffer.filled())
                }
                Poll::Ready(_) => return Poll::Ready(true),
                Poll::Pending => return Poll::Ready(false),
            }
        }
    })
    .await
}

async fn serve(io: DuplexStream, calls: Calls) {
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        // As many as this crate remembers.
        .max_concurrent_reset_streams(256)
        .reset_stream_duration(Duration::from_secs(3600));
    let Ok(mut connection) = builder.handshake::<_, Bytes>(io).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        spawn_local(answer(request, respond, Rc::clone(&calls)));
    }
}

async fn answer(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    calls: Calls,
) -> Option<()> {
    let stream = respond.stream_id().as_u32();
    let path = request.uri().path_and_query().map_or("", |path| path.as_str()).into();
    let mut incoming = request.into_body();
    let mut body = Vec::new();
    while let Some(part) = incoming.data().await {
        let part = part.ok()?;
        body.extend_from_slice(&part);
        incoming.flow_control().release_capacity(part.len()).ok()?;
    }
    incoming.trailers().await.ok()?;
    calls.borrow_mut().push(Came::Call { stream, path, body: body.clone() });
    let mut sender = respond.send_response(Response::new(()), false).ok()?;
    sender.send_data(body.into(), false).ok()?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    sender.send_trailers(trailers).ok()
}
