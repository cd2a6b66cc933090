//! One run of a policy over the requests, beside the one that it is compared with.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::ReplayError;
use super::comparison::Comparison;
use super::figures::Figures;
use super::simulation::{Plans, Request, Simulation};
use super::suggest::Ladders;
use crate::policy::Policy;

/// The policies that are tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tried<'p> {
    pub(super) policy: &'p Policy,
    /// The policy of the same domain that it is compared with.
    pub(super) against: Option<&'p Policy>,
    /// The rates at which it is found what keys need, if limits are to be suggested.
    pub(super) ladders: Option<&'p Ladders>,
}

/// A policy, the one that it is compared with, and the states of their buckets.
#[derive(Debug)]
pub(super) struct Trial<'p> {
    simulation: Simulation<'p>,
    against: Option<(Simulation<'p>, Comparison)>,
}

/// What came of a trial.
#[derive(Debug)]
pub(super) struct Tally<'p> {
    pub(super) figures: Figures<'p>,
    pub(super) against: Option<(Figures<'p>, Comparison)>,
}

impl<'p> Trial<'p> {
    /// A trial with at most `max_keys` keys of each policy, together with all trials that count in `keys`.
    pub(super) fn new(tried: Tried<'p>, max_keys: usize, keys: &TrialKeys) -> Self {
        let [own, other] = &keys.0;
        let simulation = Simulation::new(tried.policy, max_keys, own).with_ladders(tried.ladders);
        let against = tried.against.map(|policy| Simulation::new(policy, max_keys, other));
        match against {
            None => Self { simulation, against: None },
            Some(against) => Self {
                simulation: simulation.with_denials(),
                against: Some((against.with_denials(), Comparison::default())),
            },
        }
    }

    /// Decides at most [`PLANNED`](super::simulation::PLANNED) requests. They come in order of time.
    ///
    /// # Errors
    /// As of [`Simulation::decide`].
    pub(super) fn decide(&mut self, requests: &[Request<'_>]) -> Result<(), ReplayError> {
        let mut plans = Plans::default();
        self.simulation.plan(requests, &mut plans);
        let Some((other, comparison)) = &mut self.against else {
            for (request, plan) in requests.iter().zip(&plans) {
                self.simulation.decide(request, plan)?;
            }
            return Ok(());
        };
        let mut plans_of_other = Plans::default();
        other.plan(requests, &mut plans_of_other);
        for ((request, plan), by_other) in requests.iter().zip(&plans).zip(&plans_of_other) {
            let denied = self.simulation.decide(request, plan)?;
            let denied_by_other = other.decide(request, by_other)?;
            comparison.count(denied, denied_by_other, request.event.part, request.now);
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Tally<'p> {
        let against = self.against.map(|(other, comparison)| (other.finish(), comparison));
        Tally { figures: self.simulation.finish(), against }
    }
}

impl Tally<'_> {
    /// Adds what came of other parts of the requests.
    pub(super) fn merge(&mut self, other: Self) {
        self.figures.merge(other.figures);
        if let (Some((figures, comparison)), Some((others, compared))) =
            (&mut self.against, other.against)
        {
            figures.merge(others);
            comparison.merge(compared);
        }
    }
}

/// How many keys the trials have together, of either policy.
#[derive(Debug, Clone, Default)]
pub(super) struct TrialKeys([Arc<AtomicUsize>; 2]);
