//! A script: requests to all services, one after another, in known windows.

use tollgate::wire::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tollgate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;
use tollgate::wire::{RateLimitRequest, RateLimitResponse};

use super::compare::{self, Times};
use super::sides::{Deployment, Said, Sides};
use super::windows;

/// A window ended while the services were asked: they may have counted in different ones.
#[derive(Debug)]
pub(super) struct Moved;

/// A domain for each attempt at a script, since counts remain of one that was given up.
const ATTEMPTS: usize = 5;

/// A script with the domain it is about.
pub(super) struct Case {
    name: &'static str,
    /// The shortest unit of its limits.
    unit: Unit,
    /// What the file says beside the domain.
    config: &'static str,
    steps: fn(&mut Script<'_>) -> Result<(), Moved>,
}

impl Case {
    /// With limits of a minute and longer.
    pub(super) const fn new(
        name: &'static str,
        config: &'static str,
        steps: fn(&mut Script<'_>) -> Result<(), Moved>,
    ) -> Self {
        Self { name, unit: Unit::Minute, config, steps }
    }

    /// With limits of a second.
    pub(super) const fn by_the_second(
        name: &'static str,
        config: &'static str,
        steps: fn(&mut Script<'_>) -> Result<(), Moved>,
    ) -> Self {
        Self { name, unit: Unit::Second, config, steps }
    }

    fn domain(&self, attempt: usize) -> String {
        format!("{} {attempt}", self.name)
    }
}

/// The files of these cases.
pub(super) fn deployment(cases: &[Case], environment: &[(&'static str, &str)]) -> Deployment {
    let mut deployment = Deployment::of(&[], environment);
    for (at, case) in cases.iter().enumerate() {
        for attempt in 0..ATTEMPTS {
            let text = format!("domain: {:?}\n{}", case.domain(attempt), case.config);
            deployment.files.push((format!("{at}-{attempt}.yaml"), text));
        }
    }
    deployment
}

/// Runs each, again where a window ended meanwhile.
pub(super) fn run(sides: &Sides, cases: &[Case]) {
    for case in cases {
        attempt(case.name, case.unit, |attempt| {
            let mut script = Script::begin(sides, case.domain(attempt), case.unit);
            (case.steps)(&mut script)
        });
    }
}

/// Tries until no window of this unit ended meanwhile.
pub(super) fn attempt(what: &str, unit: Unit, mut steps: impl FnMut(usize) -> Result<(), Moved>) {
    let ended = (0..ATTEMPTS).any(|attempt| {
        windows::begin(unit);
        steps(attempt).is_ok()
    });
    assert!(ended, "{what}: not within one window in {ATTEMPTS} attempts");
}

/// One attempt at a script.
pub(super) struct Script<'a> {
    sides: &'a Sides,
    domain: String,
    unit: Unit,
    window: u64,
    /// What was said up to now, for who has to find out why they differ.
    told: Vec<String>,
}

impl<'a> Script<'a> {
    pub(super) fn begin(sides: &'a Sides, domain: String, unit: Unit) -> Self {
        let window = windows::now() / windows::length(unit);
        Self { sides, domain, unit, window, told: Vec::new() }
    }

    pub(super) fn domain(&self) -> &str {
        &self.domain
    }

    /// For who has to find out why they differ.
    pub(super) fn note(&mut self, text: String) {
        self.told.push(text);
    }

    /// A request in the domain of the script.
    pub(super) fn request(&self, descriptors: &[RateLimitDescriptor]) -> RateLimitRequest {
        super::support::request(&self.domain, descriptors)
    }

    /// What all say to these descriptors, in one line.
    pub(super) fn ask(&mut self, descriptors: &[RateLimitDescriptor]) -> Result<String, Moved> {
        Ok(compare::line(&self.answer(descriptors)?))
    }

    /// What all say to these descriptors.
    pub(super) fn answer(
        &mut self,
        descriptors: &[RateLimitDescriptor],
    ) -> Result<RateLimitResponse, Moved> {
        let request = self.request(descriptors);
        Ok(self.send(&request)?.unwrap())
    }

    /// What all say to a request.
    pub(super) fn send(&mut self, request: &RateLimitRequest) -> Result<Said, Moved> {
        let before = windows::now();
        let said = self.sides.ask(request);
        let after = windows::now();
        if after / windows::length(self.unit) != self.window {
            return Err(Moved);
        }
        let told = &self.told;
        let context = || format!("{request:?}\nafter\n{}", told.join("\n"));
        let said = compare::same(said, Times { before, after }, &context);
        let line = said.as_ref().map(compare::line);
        self.told.push(format!("{request:?}\n  {line:?}"));
        Ok(said)
    }

    /// Goes on in the next window of its unit.
    pub(super) fn next_window(&mut self) {
        windows::sleep_until_next(self.unit);
        self.window = windows::now() / windows::length(self.unit);
    }
}
