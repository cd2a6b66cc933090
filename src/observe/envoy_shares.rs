//! The shares of Envoys that limit by themselves, as they were last published: for the API and the page.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::shares::Share;

/// The most shares that are listed.
pub const MAX_LISTED: usize = 1000;

/// The largest shares.
#[derive(Debug, Default)]
pub struct EnvoyShares(ArcSwap<Listed>);

/// The largest shares at one time.
#[derive(Debug, Default)]
pub struct Listed {
    /// The shares, the largest first; at most [`MAX_LISTED`].
    pub shares: Vec<Share>,
    /// How many others there are.
    pub omitted: usize,
}

impl EnvoyShares {
    /// Replaces the list.
    pub fn publish(&self, shares: Vec<Share>, omitted: usize) {
        if shares.is_empty() && self.0.load().shares.is_empty() {
            return;
        }
        self.0.store(Arc::new(Listed { shares, omitted }));
    }

    /// The list as it was published last.
    pub fn list(&self) -> Arc<Listed> {
        self.0.load_full()
    }
}
