//! From a verdict to what the client gets: statuses, headers, body and metadata.
//!
//! What is written here comes from the policy and from numbers, never from the client: a value that
//! Envoy appends to a response must not be the client's to choose.

mod denials;

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::clock::{Nanos, Timestamp};
use crate::decision::{self, Decided, Verdict};
use crate::limit::{Blocked, Bucket, Period};
use crate::policy::HeaderStyle;
use crate::store::{Outcome, Wait};

pub use self::denials::Denials;

/// The request header under which the upstream gets its lease.
pub const LEASE_HEADER: &str = "x-tollgate-lease";

/// The most shadow buckets that one reply's metadata names.
const MAX_SHADOWS: usize = 16;

/// What one descriptor met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status<'a> {
    /// Whether one of its buckets denied.
    pub is_over_limit: bool,
    /// Its tightest bucket.
    pub limit: Option<StatusLimit<'a>>,
}

/// How the tightest bucket stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusLimit<'a> {
    /// Table and row.
    pub name: &'a str,
    /// Tokens each period, or slots where there is none; 0 where nothing passes.
    pub requests: u32,
    /// The period; none for a concurrency bucket, and where nothing passes.
    pub period: Option<Period>,
    /// Tokens or slots left.
    pub remaining: u32,
    /// Time until it is full again, or something passes; none where nothing ever does.
    pub reset: Option<Nanos>,
}

/// One header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name, in lower case.
    pub name: &'static str,
    /// Its value: ASCII that can be printed.
    pub value: HeaderValue<'a>,
}

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderValue<'a> {
    /// A number, in decimal.
    Number(u64),
    /// A text.
    Text(Cow<'a, str>),
}

impl<'a> Header<'a> {
    const fn number(name: &'static str, value: u64) -> Self {
        Self { name, value: HeaderValue::Number(value) }
    }

    fn text(name: &'static str, value: impl Into<Cow<'a, str>>) -> Self {
        Self { name, value: HeaderValue::Text(value.into()) }
    }
}

impl HeaderValue<'_> {
    /// The same, borrowing nothing.
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
    /// As it was written when the policy was loaded.
    Written(&'a [u8]),
    /// To be written: that of a limit which Envoy brought along.
    Named {
        /// The table's name.
        table: &'a str,
        /// The row's name.
        row: &'a str,
        /// The bucket in words.
        bucket: String,
    },
}

/// What Envoy keeps with the request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata<'a> {
    /// The lease taken, as text.
    pub lease: Option<String>,
    /// How many leases were released, where that was asked.
    pub released: Option<usize>,
    /// The bucket that denied.
    pub denied_by: Option<Place<'a>>,
    /// Shadow buckets that would have denied; 16 at most.
    pub shadow: Vec<Place<'a>>,
}

impl Metadata<'_> {
    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        let Self { lease, released, denied_by, shadow } = self;
        lease.is_none() && released.is_none() && denied_by.is_none() && shadow.is_empty()
    }
}

/// The answer, before it is protobuf. It borrows what the policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<'a> {
    /// Whether the request must not pass.
    pub is_over_limit: bool,
    /// One for each descriptor, in order.
    pub statuses: SmallVec<[Status<'a>; 2]>,
    /// Appended to what the client gets; on a denial, what its body brings comes after them.
    pub response_headers: Headers<'a>,
    /// Appended to what the upstream gets.
    pub request_headers: SmallVec<[Header<'a>; 1]>,
    /// The body of a denial, and the headers that go with it.
    pub body: Option<Body<'a>>,
    /// What Envoy keeps with the request.
    pub metadata: Metadata<'a>,
}

impl Reply<'_> {
    /// The reply to a request that meets no policy: no limit for any of so many descriptors.
    pub fn unlimited(descriptors: usize) -> Self {
        let status = Status { is_over_limit: false, limit: None };
        Self {
            is_over_limit: false,
            statuses: SmallVec::from_elem(status, descriptors),
            response_headers: Headers::new(),
            request_headers: SmallVec::new(),
            body: None,
            metadata: Metadata::default(),
        }
    }

    /// The reply to a request that is not read, since it is too large: a denial, and nothing else, since no table
    /// was asked.
    pub fn unread() -> Self {
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

/// What a denied client reads, with its header `content-type`, and with `retry-after` where it makes sense to try
/// again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body<'a> {
    /// Its media type.
    pub content_type: &'a str,
    /// Its texts, between which the seconds to wait belong.
    pub parts: Cow<'a, [Box<str>]>,
    /// Seconds until the same call would pass; none where it never would.
    pub retry_after: Option<u64>,
}

/// Headers of a response that tell how the tightest bucket stands.
pub type Headers<'a> = SmallVec<[Header<'a>; 3]>;

/// Writes the reply to a query of so many descriptors. `denials` are those of the policy that was asked.
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
    if let Some(tightest) = tightest {
        limit_headers(tightest, style, now, &mut response_headers);
    }
    let lease = verdict.lease.map(|lease| lease.to_string());
    Reply {
        is_over_limit: !verdict.is_admitted,
        statuses: of_each.into_iter().map(status).collect(),
        response_headers,
        request_headers: lease.iter().map(|id| Header::text(LEASE_HEADER, id.clone())).collect(),
        body: denied_by.map(|denied| body(denied, denials)),
        metadata: Metadata {
            lease,
            released: verdict.released,
            denied_by: denied_by.map(|denied| denials.place(denied.matched)),
            shadow: shadows(verdict, denials),
        },
    }
}

fn status<'a>(tightest: Option<&Decided<'a>>) -> Status<'a> {
    let limit = tightest.map(|Decided { matched, outcome }| {
        let (requests, period) = match matched.bucket {
            Bucket::Tokens(bucket) => (bucket.rate().tokens().get(), Some(bucket.rate().period())),
            Bucket::Concurrency(_) | Bucket::Blocked(_) => (matched.bucket.size(), None),
        };
        StatusLimit {
            name: matched.row.label(),
            requests,
            period,
            remaining: outcome.remaining,
            reset: reset(matched.bucket, outcome),
        }
    });
    Status { is_over_limit: tightest.is_some_and(Decided::denies), limit }
}

/// Time until the bucket is full again, or something passes; none where nothing ever does.
const fn reset(bucket: &Bucket, outcome: &Outcome) -> Option<Nanos> {
    match bucket {
        Bucket::Blocked(Blocked { until: None }) => None,
        _ => Some(outcome.reset),
    }
}

/// Seconds until the same call would pass, rounded up, at least 1. A call that asks for more than the bucket
/// holds is told when that is full; one that is blocked for good, nothing.
fn retry_after(Decided { matched, outcome }: &Decided<'_>) -> Option<u64> {
    let reset = reset(matched.bucket, outcome)?;
    let wait = match outcome.wait {
        Wait::None => Nanos::ZERO,
        Wait::For(wait) => wait,
        Wait::Never => reset,
    };
    Some(wait.as_secs_ceil().max(1))
}

fn limit_headers(
    tightest: &Decided<'_>,
    style: HeaderStyle,
    now: Timestamp,
    headers: &mut Headers<'_>,
) {
    let Decided { matched, outcome } = tightest;
    let told = |reset: Nanos| match style {
        HeaderStyle::Epoch => now.after(reset).as_unix_secs_ceil(),
        _ => reset.as_secs_ceil(),
    };
    match style {
        HeaderStyle::Off => return,
        HeaderStyle::Ietf => return ietf_headers(tightest, headers),
        HeaderStyle::Epoch | HeaderStyle::Delta => {}
    }
    headers.push(Header::number("x-ratelimit-limit", matched.bucket.size().into()));
    headers.push(Header::number("x-ratelimit-remaining", outcome.remaining.into()));
    if let Some(reset) = reset(matched.bucket, outcome) {
        headers.push(Header::number("x-ratelimit-reset", told(reset)));
    }
}

/// draft-ietf-httpapi-ratelimit-headers-10: a policy with its quota `q` and window `w` in seconds, and
/// what remains, `r`, with the time `t` until it is whole again. What is blocked has no window, and a `t` only
/// where an end is known. The names are a policy's own, which
/// may hold no quote and no backslash.
fn ietf_headers(tightest: &Decided<'_>, headers: &mut Headers<'_>) {
    let Decided { matched, outcome } = tightest;
    let name = matched.row.label();
    let size = matched.bucket.size();
    let policy = match matched.bucket {
        Bucket::Tokens(bucket) => {
            format!("\"{name}\";q={size};w={}", bucket.fill_time().as_secs_ceil())
        }
        Bucket::Concurrency(_) => format!("\"{name}\";q={size};qu=\"concurrent-requests\""),
        Bucket::Blocked(_) => format!("\"{name}\";q={size}"),
    };
    let reset = reset(matched.bucket, outcome).map(|reset| format!(";t={}", reset.as_secs_ceil()));
    let standing =
        format!("\"{name}\";r={}{}", outcome.remaining, reset.as_deref().unwrap_or_default());
    headers.push(Header::text("ratelimit-policy", policy));
    headers.push(Header::text("ratelimit", standing));
}

fn body<'a>(denied: &Decided<'a>, denials: &'a Denials) -> Body<'a> {
    Body {
        content_type: denials.content_type(),
        parts: denials.body(denied.matched),
        retry_after: retry_after(denied),
    }
}

fn shadows<'a>(verdict: &Verdict<'a>, denials: &'a Denials) -> Vec<Place<'a>> {
    let over = verdict.decided.iter().filter(|decided| decided.is_over() && !decided.denies());
    over.take(MAX_SHADOWS).map(|decided| denials.place(decided.matched)).collect()
}
