//! From a verdict to the reply: statuses, headers, body and metadata.
//!
//! Every text of a reply comes from the policy, never from the client: a client must not choose a value that Envoy
//! appends to a response.

mod denials;
mod ietf;
mod tree;

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::clock::{Nanos, Timestamp};
use crate::decision::{self, Decided, Verdict};
use crate::limit::{Blocked, Bucket, Period};
use crate::policy::HeaderStyle;
use crate::policy::metadata::Map;
use crate::store::Wait;

pub use self::denials::Denials;
pub use self::tree::compose_for_tree;

/// The request header that carries the lease to the upstream.
pub const LEASE_HEADER: &str = "x-tollgate-lease";

/// The most shadow buckets that one reply's metadata names.
const MAX_SHADOWS: usize = 16;

/// The status of one descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status<'a> {
    /// Whether one of its buckets denies the call.
    pub is_over_limit: bool,
    /// Its tightest enforced bucket. Never one in shadow: with `enable_x_ratelimit_headers`, Envoy writes what the statuses
    /// say into headers for the client.
    pub limit: Option<StatusLimit<'a>>,
    /// Whether a descriptor tree says that it is unlimited. It has no limit then.
    pub is_unlimited: bool,
}

impl Status<'_> {
    /// The status of a descriptor that has no limit.
    pub const WITHOUT_LIMIT: Self = Self { is_over_limit: false, limit: None, is_unlimited: false };
}

/// The state of a descriptor's tightest bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusLimit<'a> {
    /// Table and row; in a descriptor tree the configured name, which may be empty.
    pub name: &'a str,
    /// Tokens per period, the hits of a window, or the slots of a concurrency bucket; 0 for a block.
    pub requests: u32,
    /// The period of a token bucket, or the length of a window.
    pub period: Option<Period>,
    /// Tokens or slots left. Above `requests` if the bucket holds more than one period gains.
    pub remaining: u32,
    /// Seconds until it is full, until its window ends, until it has a token if it may owe and has none, or until the block ends; rounded up as
    /// in the headers: Envoy's own header drops the fraction, and would say 0 of a bucket that is not full. None for a
    /// block without end.
    pub reset: Option<u64>,
}

/// One header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name, in lower case; in a descriptor tree as it is configured.
    pub name: &'a str,
    /// Its value, in printable ASCII.
    pub value: HeaderValue<'a>,
}

/// The value of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderValue<'a> {
    /// A number, in decimal.
    Number(u64),
    /// A text.
    Text(Cow<'a, str>),
}

impl<'a> Header<'a> {
    const fn number(name: &'a str, value: u64) -> Self {
        Self { name, value: HeaderValue::Number(value) }
    }

    fn text(name: &'a str, value: impl Into<Cow<'a, str>>) -> Self {
        Self { name, value: HeaderValue::Text(value.into()) }
    }
}

impl HeaderValue<'_> {
    /// Copies the text that it borrows.
    pub fn into_owned(self) -> HeaderValue<'static> {
        match self {
            Self::Number(number) => HeaderValue::Number(number),
            Self::Text(text) => HeaderValue::Text(text.into_owned().into()),
        }
    }
}

/// A bucket's place in the policy, for metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place<'a> {
    /// Encoded when the policy was loaded.
    Encoded(&'a [u8]),
    /// That of a limit override, not encoded yet.
    Named {
        /// The table's name.
        table: &'a str,
        /// The row's name.
        row: &'a str,
        /// The bucket in words.
        bucket: String,
    },
}

/// The dynamic metadata that Envoy keeps with the request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata<'a> {
    /// The lease taken, as text.
    pub lease: Option<String>,
    /// The number of leases released; `None` if the request releases none.
    pub released: Option<usize>,
    /// The bucket that denied the request.
    pub denied_by: Option<Place<'a>>,
    /// The shadow buckets that would have denied it; 16 at most.
    pub shadow: Vec<Place<'a>>,
    /// What a descriptor tree tells of the request, and of the limits that admit it.
    pub of_tree: Option<Map>,
}

impl Metadata<'_> {
    /// Whether all fields are empty.
    pub fn is_empty(&self) -> bool {
        let Self { lease, released, denied_by, shadow, of_tree } = self;
        lease.is_none()
            && released.is_none()
            && denied_by.is_none()
            && shadow.is_empty()
            && of_tree.is_none()
    }
}

/// The answer before it is encoded. It borrows its texts from the policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply<'a> {
    /// Whether the request must not pass.
    pub is_over_limit: bool,
    /// One for each descriptor, in order.
    pub statuses: SmallVec<[Status<'a>; 2]>,
    /// Appended to the response to the client; on a denial, before the headers of the body.
    pub response_headers: Headers<'a>,
    /// Appended to the request to the upstream.
    pub request_headers: SmallVec<[Header<'a>; 1]>,
    /// The body of a denial, with its headers.
    pub body: Option<Body<'a>>,
    /// The dynamic metadata that Envoy keeps with the request.
    pub metadata: Metadata<'a>,
}

impl Reply<'_> {
    /// The reply to a request whose domain has no policy: a status without a limit for each descriptor.
    pub fn unlimited(descriptors: usize) -> Self {
        Self {
            is_over_limit: false,
            statuses: SmallVec::from_elem(Status::WITHOUT_LIMIT, descriptors),
            response_headers: Headers::new(),
            request_headers: SmallVec::new(),
            body: None,
            metadata: Metadata::default(),
        }
    }

    /// The reply to a request that is too large to be read: a denial without statuses, since no table was matched.
    pub fn too_large() -> Self {
        Self {
            is_over_limit: true,
            statuses: SmallVec::new(),
            response_headers: Headers::new(),
            request_headers: SmallVec::new(),
            body: None,
            metadata: Metadata::default(),
        }
    }
}

/// The body of a denial, with the values of its headers `content-type` and `retry-after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body<'a> {
    /// Its media type.
    pub content_type: &'a str,
    /// Its text, split where the seconds of `retry_after` belong.
    pub parts: Cow<'a, [Box<str>]>,
    /// Seconds until the same call would be admitted; none if it never is.
    pub retry_after: Option<u64>,
}

/// The response headers that report the tightest bucket.
pub type Headers<'a> = SmallVec<[Header<'a>; 3]>;

/// Composes the reply to a query with this number of descriptors. `denials` are those of the query's policy.
pub fn compose<'a>(
    verdict: &Verdict<'a>,
    descriptors: usize,
    style: HeaderStyle,
    denials: &'a Denials,
    now: Timestamp,
) -> Reply<'a> {
    let of_each: SmallVec<[_; 2]> = verdict.tightest_of_each(descriptors).collect();
    let tightest = decision::tightest(&of_each);
    let denied_by = tightest.filter(|tightest| tightest.denies());
    let mut response_headers = Headers::new();
    match (style, tightest) {
        (HeaderStyle::Off, _) | (_, None) => {}
        (HeaderStyle::Ietf, Some(tightest)) => {
            let [policy, limit] = denials.quota_policies().headers(verdict, tightest);
            response_headers.push(Header::text("ratelimit-policy", policy));
            response_headers.push(Header::text("ratelimit", limit));
        }
        (HeaderStyle::Epoch, Some(tightest)) => {
            let reset = |span| now.after(span).as_unix_secs_ceil();
            limit_headers(tightest, reset, &mut response_headers);
        }
        (HeaderStyle::Delta, Some(tightest)) => {
            limit_headers(tightest, Nanos::as_secs_ceil, &mut response_headers);
        }
    }
    let lease = verdict.lease.map(|lease| lease.to_string());
    let (body, denied_by) = match denied_by {
        None => (None, None),
        Some(denied) => {
            let (parts, place) = if is_never(denied) {
                denials.never(denied.matched)
            } else {
                denials.denial(denied.matched)
            };
            let retry_after = retry_after(denied);
            (Some(Body { content_type: denials.content_type(), parts, retry_after }), Some(place))
        }
    };
    Reply {
        is_over_limit: !verdict.is_admitted,
        statuses: of_each.iter().map(|tightest| status(*tightest)).collect(),
        response_headers,
        request_headers: lease.iter().map(|id| Header::text(LEASE_HEADER, id.clone())).collect(),
        body,
        metadata: Metadata {
            lease,
            released: verdict.released,
            denied_by,
            shadow: shadows(verdict, denials),
            of_tree: None,
        },
    }
}

fn status<'a>(tightest: Option<&Decided<'a>>) -> Status<'a> {
    let enforced = tightest.filter(|tightest| !tightest.matched.row.is_shadow());
    let limit = enforced.map(|tightest| status_limit(tightest, tightest.matched.row.label()));
    let is_over_limit = enforced.is_some_and(Decided::denies);
    Status { is_over_limit, limit, is_unlimited: false }
}

fn status_limit<'a>(decided: &Decided<'a>, name: &'a str) -> StatusLimit<'a> {
    let Decided { matched, outcome, .. } = decided;
    let (requests, period) = match matched.bucket {
        Bucket::Tokens(bucket) => (bucket.rate().tokens().get(), Some(bucket.rate().period())),
        Bucket::Window(window) => (window.requests(), Some(Period::one(window.unit()))),
        Bucket::Concurrency(_) | Bucket::Blocked(_) => (matched.bucket.size(), None),
    };
    let reset = reset(decided).map(Nanos::as_secs_ceil);
    StatusLimit { name, requests, period, remaining: outcome.remaining, reset }
}

/// Time until the bucket is full, or until the block ends; none for a block without end. For a bucket that may owe and has
/// no token, the time until it has one, as in `retry-after`: a debt may last for long after the last call.
fn reset(Decided { matched, outcome, .. }: &Decided<'_>) -> Option<Nanos> {
    match (matched.bucket, matched.debt) {
        (Bucket::Blocked(Blocked { until: None }), _) => None,
        (Bucket::Tokens(bucket), Some(_)) if outcome.remaining == 0 => {
            Some(outcome.reset.plus(bucket.interval()).minus(bucket.fill_time()))
        }
        _ => Some(outcome.reset),
    }
}

/// Whether the call has more hits than its bucket ever has.
fn is_never(Decided { matched, outcome, .. }: &Decided<'_>) -> bool {
    outcome.wait == Wait::NEVER && !matches!(matched.bucket, Bucket::Blocked(_))
}

/// When a call that found no slot free may try again, at the latest. A lease is meant to be released long before it
/// expires, so that the time until then says nothing of when a slot is free.
const SLOT_RETRY: Nanos = Nanos::from_secs(5);

/// Seconds until the same call would be admitted, rounded up, at least 1; [`SLOT_RETRY`] at most for a slot. None if it
/// never is: for a block without end, and for more hits than the bucket ever has.
fn retry_after(Decided { matched, outcome, .. }: &Decided<'_>) -> Option<u64> {
    let wait = outcome.wait.time()?;
    let wait = match matched.bucket {
        Bucket::Concurrency(_) => wait.min(SLOT_RETRY),
        Bucket::Tokens(_) | Bucket::Window(_) | Bucket::Blocked(_) => wait,
    };
    Some(wait.as_secs_ceil().max(1))
}

/// The headers of the other styles. `seconds` tells when the bucket is full.
fn limit_headers(
    tightest: &Decided<'_>,
    seconds: impl Fn(Nanos) -> u64,
    headers: &mut Headers<'_>,
) {
    let Decided { matched, outcome, .. } = tightest;
    headers.push(Header::number("x-ratelimit-limit", matched.bucket.size().into()));
    headers.push(Header::number("x-ratelimit-remaining", outcome.remaining.into()));
    if let Some(reset) = reset(tightest) {
        headers.push(Header::number("x-ratelimit-reset", seconds(reset)));
    }
}

fn shadows<'a>(verdict: &Verdict<'a>, denials: &'a Denials) -> Vec<Place<'a>> {
    let over = verdict.decided.iter().filter(|decided| decided.is_over() && !decided.denies());
    over.take(MAX_SHADOWS).map(|decided| denials.place(decided.matched)).collect()
}
