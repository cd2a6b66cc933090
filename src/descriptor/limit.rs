//! A limit that Envoy brings along with a descriptor.

use crate::limit::{Bucket, Unit, Window};

/// A limit that Envoy brings along, in both forms, since the policy is not known yet when a request is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BroughtLimit {
    tokens: Bucket,
    window: Bucket,
}

impl BroughtLimit {
    /// So many requests in `count` units. Any numbers make a limit: see [`Bucket::nearest`]. A window is one unit long,
    /// whatever the count, as in envoyproxy/ratelimit.
    pub fn new(requests: u32, count: u32, unit: Unit) -> Self {
        let window = Bucket::Window(Window::new(requests, unit));
        Self { tokens: Bucket::nearest(requests, count, unit), window }
    }

    /// The limit in a policy of tables: a token bucket, or blocked.
    pub const fn tokens(&self) -> &Bucket {
        &self.tokens
    }

    /// The limit in a descriptor tree.
    pub const fn window(&self) -> &Bucket {
        &self.window
    }
}
