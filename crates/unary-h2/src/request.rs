//! The head of a request, put together field by field (RFC 9113, Sections 8.2 and 8.3).

use crate::hpack::Field;
use crate::vocabulary::{FieldId, Malformed, Meaning, Route};

/// Fields with their values, in their order.
pub(crate) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A request of a path that the server has not named, with all of its fields. Names and values are bytes as the peer
/// sent them. Pseudo-header fields that it did not send are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// `:method`.
    pub method: Vec<u8>,
    /// `:scheme`.
    pub scheme: Vec<u8>,
    /// `:authority`. A peer may send anything: its name for the server need not be one by the rules of URIs.
    pub authority: Vec<u8>,
    /// `:path`.
    pub path: Vec<u8>,
    /// The other fields in their order, cookies joined to one field (Section 8.2.3).
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a server needs to know of the head of a call.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub(crate) route: Option<Route>,
    pub(crate) is_post: bool,
    pub(crate) is_head: bool,
    pub(crate) is_grpc: bool,
    pub(crate) content_length: Option<u64>,
    /// The fields that the server has named, if it is a call.
    pub(crate) named: Vec<(FieldId, Vec<u8>)>,
    /// Everything, if it is a request of another path.
    pub(crate) request: Option<Box<Request>>,
}

/// Why there is no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Malformed(Malformed),
    TooLarge,
}

const METHOD: u8 = 1;
const SCHEME: u8 = 1 << 1;
const AUTHORITY: u8 = 1 << 2;
const PATH: u8 = 1 << 3;
const CONNECT: u8 = 1 << 4;
const REGULAR: u8 = 1 << 5;
const CONTENT_TYPE: u8 = 1 << 6;

/// Pseudo-header fields that came before the path, which tells whether anybody wants them.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    method: Vec<u8>,
    scheme: Vec<u8>,
    authority: Vec<u8>,
}

/// Reads the fields of one header block.
#[derive(Debug)]
pub(crate) struct Reader<'s> {
    head: Head,
    scratch: &'s mut Scratch,
    seen: u8,
    size: usize,
    max_size: usize,
    malformed: Option<Malformed>,
}

impl<'s> Reader<'s> {
    /// For a block whose fields may have `max_size` bytes together, as `SETTINGS_MAX_HEADER_LIST_SIZE` counts.
    pub(crate) fn new(scratch: &'s mut Scratch, max_size: usize) -> Self {
        Self { head: Head::default(), scratch, seen: 0, size: 0, max_size, malformed: None }
    }

    /// Takes one field. Those behind an error, or beyond the size, change nothing.
    #[inline]
    pub(crate) fn take(&mut self, field: Field<'_, Meaning>) {
        self.size += field.size();
        if self.size > self.max_size || self.malformed.is_some() {
            return;
        }
        match field.meaning {
            Meaning::Method { is_post, is_head, is_connect } => {
                self.pseudo(METHOD);
                self.head.is_post = is_post;
                self.head.is_head = is_head;
                if is_connect {
                    self.seen |= CONNECT;
                }
                keep(&mut self.scratch.method, field.value);
            }
            Meaning::Scheme => {
                self.pseudo(SCHEME);
                keep(&mut self.scratch.scheme, field.value);
            }
            Meaning::Authority => {
                self.pseudo(AUTHORITY);
                keep(&mut self.scratch.authority, field.value);
            }
            Meaning::Path(route) => {
                self.pseudo(PATH);
                self.head.route = route;
                if route.is_none() {
                    self.request().path = field.value.to_vec();
                }
            }
            Meaning::Malformed(malformed) => self.malformed = Some(malformed),
            meaning => self.regular(meaning, field.name, field.value),
        }
    }

    fn pseudo(&mut self, which: u8) {
        if self.seen & (which | REGULAR) != 0 {
            self.malformed = Some(Malformed::MisplacedPseudoField);
        }
        self.seen |= which;
    }

    fn regular(&mut self, meaning: Meaning, name: &[u8], value: &[u8]) {
        self.seen |= REGULAR;
        match meaning {
            Meaning::ContentType { is_grpc } => {
                // Of two that differ nobody knows which counts.
                self.head.is_grpc = is_grpc && (self.head.is_grpc || self.seen & CONTENT_TYPE == 0);
                self.seen |= CONTENT_TYPE;
            }
            Meaning::ContentLength(length) => {
                if self.head.content_length.is_some_and(|other| other != length) {
                    self.malformed = Some(Malformed::ContentLength);
                }
                self.head.content_length = Some(length);
            }
            Meaning::Named(field) if self.head.route.is_some() => {
                self.head.named.push((field, value.to_vec()));
            }
            _ => {}
        }
        if self.head.route.is_none() {
            let is_cookie = meaning == Meaning::Cookie;
            let fields = &mut self.request().fields;
            match fields.iter_mut().find(|(known, _)| is_cookie && known == b"cookie") {
                Some((_, cookies)) => {
                    cookies.extend_from_slice(b"; ");
                    cookies.extend_from_slice(value);
                }
                None => fields.push((name.to_vec(), value.to_vec())),
            }
        }
    }

    fn request(&mut self) -> &mut Request {
        self.head.request.get_or_insert_default()
    }

    /// The head, once all fields have come.
    pub(crate) fn finish(mut self) -> Result<Head, Refusal> {
        if let Some(malformed) = self.malformed {
            return Err(Refusal::Malformed(malformed));
        }
        if self.size > self.max_size {
            return Err(Refusal::TooLarge);
        }
        // Section 8.5: CONNECT has neither a scheme nor a path.
        let is_complete = match self.seen & (METHOD | SCHEME | PATH | CONNECT) {
            seen if seen & CONNECT != 0 => seen == METHOD | CONNECT,
            seen => seen == METHOD | SCHEME | PATH,
        };
        if !is_complete {
            return Err(Refusal::Malformed(Malformed::MissingPseudoField));
        }
        if self.head.route.is_none() {
            let seen = self.seen;
            let sent = |which: u8, text: &mut Vec<u8>| {
                if seen & which == 0 { Vec::new() } else { std::mem::take(text) }
            };
            let request = self.head.request.get_or_insert_default();
            request.method = sent(METHOD, &mut self.scratch.method);
            request.scheme = sent(SCHEME, &mut self.scratch.scheme);
            request.authority = sent(AUTHORITY, &mut self.scratch.authority);
        }
        Ok(self.head)
    }
}

fn keep(text: &mut Vec<u8>, value: &[u8]) {
    text.clear();
    text.extend_from_slice(value);
}

/// Reads trailers (Section 8.1): fields behind the body, without pseudo-header fields.
#[derive(Debug)]
pub(crate) struct TrailerReader {
    fields: Fields,
    size: usize,
    max_size: usize,
    malformed: Option<Malformed>,
}

impl TrailerReader {
    pub(crate) const fn new(max_size: usize) -> Self {
        Self { fields: Vec::new(), size: 0, max_size, malformed: None }
    }

    pub(crate) fn take(&mut self, field: Field<'_, Meaning>) {
        self.size += field.size();
        if self.size > self.max_size || self.malformed.is_some() {
            return;
        }
        match field.meaning {
            Meaning::Malformed(malformed) => self.malformed = Some(malformed),
            _ if field.name.first() == Some(&b':') => {
                self.malformed = Some(Malformed::MisplacedPseudoField);
            }
            _ => self.fields.push((field.name.to_vec(), field.value.to_vec())),
        }
    }

    pub(crate) fn finish(self) -> Result<Fields, Refusal> {
        match self.malformed {
            Some(malformed) => Err(Refusal::Malformed(malformed)),
            None if self.size > self.max_size => Err(Refusal::TooLarge),
            None => Ok(self.fields),
        }
    }
}
