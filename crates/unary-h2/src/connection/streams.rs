//! The streams that are open.

use std::collections::VecDeque;
use std::time::Duration;

use crate::frame::StreamId;
use crate::request::Head;

/// How many streams that were reset are remembered. Frames that the peer had sent before it saw the reset are ignored
/// (RFC 9113, Section 5.1).
const MAX_REMEMBERED: usize = 1024;

/// An open stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) kind: Kind,
    /// Whether the peer may send more of it: it is not half-closed (remote).
    pub(super) is_receiving: bool,
    /// How much may be sent of it.
    pub(super) send_window: i64,
    /// How much may come of it.
    pub(super) receive_window: i64,
    /// How much has been read of it since the peer's window was last enlarged.
    pub(super) released: u32,
    /// How much has been handed over of it and not been read.
    pub(super) unread: usize,
    /// How long its body has to be, and how much has come.
    pub(super) content_length: Option<u64>,
    pub(super) received: u64,
    /// What waits for room in the windows, and what follows it.
    pub(super) queue: VecDeque<u8>,
    pub(super) end: Option<End>,
    pub(super) is_queued: bool,
    /// Since when it has been waiting for the peer.
    pub(super) since: Duration,
}

/// What a stream is for.
#[derive(Debug)]
pub(super) enum Kind {
    /// A call, whose body is being collected.
    Collecting { head: Head, body: Vec<u8> },
    /// A call that has been handed over.
    Answering,
    /// A request of another path, all of which has been handed over as it came.
    Other,
}

/// How an answer ends.
#[derive(Debug)]
pub(super) enum End {
    /// With the last byte of its body.
    Data,
    /// With trailers: a header block.
    Trailers(Vec<u8>),
}

impl Stream {
    pub(super) fn new(
        id: StreamId,
        kind: Kind,
        send_window: i64,
        receive_window: i64,
        since: Duration,
    ) -> Self {
        Self {
            id,
            kind,
            is_receiving: true,
            send_window,
            receive_window,
            released: 0,
            unread: 0,
            content_length: None,
            received: 0,
            queue: VecDeque::new(),
            end: None,
            is_queued: false,
            since,
        }
    }

    /// Whether it waits for the peer: for the rest of a body, or for room for an answer.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.kind, Kind::Collecting { .. }) || !self.queue.is_empty()
    }

    /// How many bytes are kept of a body without an end.
    pub(super) fn kept(&self) -> usize {
        match &self.kind {
            Kind::Collecting { body, .. } => body.len(),
            Kind::Answering | Kind::Other => 0,
        }
    }
}

/// The open streams in the order of their numbers, which is that in which they were opened. So one is added at the
/// end, and found by halving.
#[derive(Debug, Default)]
pub(super) struct Streams {
    #[expect(clippy::vec_box, reason = "removing one from the middle moves pointers, not streams")]
    open: Vec<Box<Stream>>,
    reset: VecDeque<StreamId>,
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn insert(&mut self, stream: Stream) -> &mut Stream {
        let at = match self.open.last() {
            Some(last) if last.id > stream.id => {
                self.open.binary_search_by_key(&stream.id, |open| open.id).unwrap_or_else(|at| at)
            }
            _ => self.open.len(),
        };
        self.open.insert(at, Box::new(stream));
        #[expect(clippy::indexing_slicing, reason = "inserted there")]
        &mut self.open[at]
    }

    pub(super) fn get(&self, id: StreamId) -> Option<&Stream> {
        let at = self.open.binary_search_by_key(&id, |open| open.id).ok()?;
        self.open.get(at).map(|stream| &**stream)
    }

    pub(super) fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        let at = self.open.binary_search_by_key(&id, |open| open.id).ok()?;
        self.open.get_mut(at).map(|stream| &mut **stream)
    }

    pub(super) fn remove(&mut self, id: StreamId) -> Option<Box<Stream>> {
        let at = self.open.binary_search_by_key(&id, |open| open.id).ok()?;
        Some(self.open.remove(at))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.open.iter_mut().map(|stream| &mut **stream)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.open.iter().map(|stream| &**stream)
    }

    /// Remembers that this end has reset a stream.
    pub(super) fn remember_reset(&mut self, id: StreamId) {
        if self.reset.len() == MAX_REMEMBERED {
            self.reset.pop_front();
        }
        self.reset.push_back(id);
    }

    /// Whether this end has reset a stream a short time ago.
    pub(super) fn was_reset(&self, id: StreamId) -> bool {
        self.reset.contains(&id)
    }
}
