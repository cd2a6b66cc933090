//! What the published limits come to, by counting credit.

use tollgate::clock::Nanos;
use tollgate::wire::RateLimitRequest;

use super::published::TENANTS;
use crate::support::{Client, TestServer};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const DAY: u64 = 86_400 * SECOND;

/// A bucket of plain credit: starts full, gains steadily, is spent in whole tokens.
pub(crate) struct Credit {
    pub(crate) place: (&'static str, String),
    pub(crate) size: u64,
    /// In units of which `period` make a token.
    pub(crate) credit: u64,
    pub(crate) period: u64,
}

impl Credit {
    pub(crate) fn new(table: &'static str, row: &str, size: u64, period: u64) -> Self {
        Self { place: (table, row.to_owned()), size, credit: size * period, period }
    }

    pub(crate) fn gain(&mut self, span: u64) {
        self.credit = (self.credit + span * self.size).min(self.size * self.period);
    }

    pub(crate) fn left(&self) -> u64 {
        self.credit / self.period
    }
}

/// Spends all there is: how many calls all of them admit.
pub(crate) fn drain(model: &mut [Credit]) -> u64 {
    let admitted = model.iter().map(Credit::left).min().unwrap();
    model.iter_mut().for_each(|bucket| bucket.credit -= admitted * bucket.period);
    admitted
}

pub(crate) fn pair(
    table: &'static str,
    row: &str,
    per_second: u64,
    per_minute: u64,
) -> Vec<Credit> {
    vec![Credit::new(table, row, per_second, SECOND), Credit::new(table, row, per_minute, MINUTE)]
}

pub(crate) fn tenant(kind: &str) -> Vec<Credit> {
    let (row, per_second, per_minute) = TENANTS.into_iter().find(|(row, ..)| *row == kind).unwrap();
    let known = TENANTS[..6].iter().any(|(known, ..)| *known == row);
    pair("tenant", if known { row } else { "default" }, per_second, per_minute)
}

/// Drains the server and the model at each second for a while: the same number of calls every time, and
/// each denial names a bucket that has nothing left in the model.
pub(crate) fn run(
    server: &TestServer,
    client: &mut Client,
    call: &RateLimitRequest,
    mut model: Vec<Credit>,
    seconds: u32,
) {
    for second in 0..seconds {
        let expected = drain(&mut model);
        let (admitted, denial) = client.drain(call, 1200);
        assert_eq!(u64::from(admitted), expected, "{call:?} at second {second}");
        let (table, row, _) = denial.denied_by();
        let empty = model.iter().filter(|bucket| bucket.left() == 0);
        let named = empty.filter(|bucket| bucket.place == (table, row.to_owned())).count();
        assert!(named > 0, "{table}/{row} denied {call:?} at second {second}");
        server.advance(Nanos::from_secs(1));
        model.iter_mut().for_each(|bucket| bucket.gain(SECOND));
    }
}
