//! What is answered to each response: an acceptance (ACK) or a refusal (NACK), and when. Without I/O and without a clock.

use std::time::Duration;

use super::backoff::{Backoff, Pauses};
use super::digest::Digest;

/// The pauses before a refusal is repeated. A control plane may answer a refusal at once with what was refused; without
/// pauses both would go on as fast as they can.
const REFUSAL_PAUSES: Backoff = Backoff {
    initial: Duration::from_secs(1),
    max: Duration::from_secs(60),
    factor: 2.0,
    jitter: true,
};

/// What of a response decides on the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) version: String,
    pub(super) nonce: String,
    /// Of its resources.
    pub(super) digest: Digest,
}

/// What to do about a response.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Compile it, and answer with what [`Exchange::judged`] returns.
    Judge,
    /// It is in force already: answer at once.
    Accept(Answer),
    /// It is what was refused last: answer after a pause, unless another response comes meanwhile.
    RefuseAgain(Answer, Duration),
}

/// The answer to a response; empty, the first request of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// The version that was accepted last; empty if none was.
    pub(super) version: String,
    /// The nonce of the response.
    pub(super) nonce: String,
    /// Why the response is refused; `None` if it is accepted.
    pub(super) refusal: Option<String>,
}

/// The responses so far, over all streams.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    accepted: Option<Accepted>,
    /// The last response, if it was refused.
    refused: Option<Refused>,
}

#[derive(Debug)]
struct Accepted {
    version: String,
    digest: Digest,
}

#[derive(Debug)]
struct Refused {
    digest: Digest,
    reason: String,
    pauses: Pauses,
}

impl Exchange {
    /// Takes a response. `random` is from 0 to 1.
    pub(super) fn receive(&mut self, response: &Received, random: f64) -> Step {
        let accepted = self.accepted_version();
        if let Some(refused) = &mut self.refused {
            if refused.digest != response.digest {
                return Step::Judge;
            }
            let refusal = Some(refused.reason.clone());
            let answer = Answer { version: accepted, nonce: response.nonce.clone(), refusal };
            return Step::RefuseAgain(answer, refused.pauses.next(random));
        }
        let is_in_force = self.accepted.as_ref().is_some_and(|accepted| {
            accepted.version == response.version && accepted.digest == response.digest
        });
        if is_in_force { Step::Accept(response.accept()) } else { Step::Judge }
    }

    /// Records what came of a response that was compiled, and returns the answer to it.
    pub(super) fn judged(&mut self, response: Received, judgement: Result<(), String>) -> Answer {
        match judgement {
            Ok(()) => {
                let answer = response.accept();
                let Received { version, digest, .. } = response;
                self.accepted = Some(Accepted { version, digest });
                self.refused = None;
                answer
            }
            Err(reason) => {
                let version = self.accepted_version();
                let pauses = REFUSAL_PAUSES.pauses();
                let refusal = Some(reason.clone());
                self.refused = Some(Refused { digest: response.digest, reason, pauses });
                Answer { version, nonce: response.nonce, refusal }
            }
        }
    }

    fn accepted_version(&self) -> String {
        self.accepted.as_ref().map(|accepted| accepted.version.clone()).unwrap_or_default()
    }
}

impl Received {
    fn accept(&self) -> Answer {
        Answer { version: self.version.clone(), nonce: self.nonce.clone(), refusal: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(version: &str, nonce: &str, content: u8) -> Received {
        let digest = Digest::of_bytes(&[content]);
        Received { version: version.to_owned(), nonce: nonce.to_owned(), digest }
    }

    fn answer(version: &str, nonce: &str, refusal: Option<&str>) -> Answer {
        let refusal = refusal.map(str::to_owned);
        Answer { version: version.to_owned(), nonce: nonce.to_owned(), refusal }
    }

    /// Has a response compiled, which it must be.
    fn judge(exchange: &mut Exchange, response: Received, result: Result<(), &str>) -> Answer {
        assert_eq!(exchange.receive(&response, 1.0), Step::Judge);
        exchange.judged(response, result.map_err(str::to_owned))
    }

    #[test]
    fn an_acceptance_has_the_version_of_the_response_and_a_refusal_the_one_before() {
        let mut exchange = Exchange::default();
        // Nothing was accepted yet.
        let refused = judge(&mut exchange, received("1", "a", 1), Err("bad"));
        assert_eq!(refused, answer("", "a", Some("bad")));
        let accepted = judge(&mut exchange, received("2", "b", 2), Ok(()));
        assert_eq!(accepted, answer("2", "b", None));
        let refused = judge(&mut exchange, received("3", "c", 3), Err("worse"));
        assert_eq!(refused, answer("2", "c", Some("worse")));
    }

    #[test]
    fn what_was_refused_is_refused_again_after_pauses_that_grow_to_a_minute() {
        let mut exchange = Exchange::default();
        judge(&mut exchange, received("1", "a", 1), Ok(()));
        judge(&mut exchange, received("2", "b", 2), Err("bad"));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            // The version may change without the content.
            let step = exchange.receive(&received("3", "c", 2), 1.0);
            let Step::RefuseAgain(again, pause) = step else { panic!("{step:?}") };
            assert_eq!(again, answer("1", "c", Some("bad")));
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        let step = exchange.receive(&received("3", "c", 2), 0.0);
        assert!(matches!(step, Step::RefuseAgain(_, pause) if pause.as_secs() == 30), "{step:?}");
    }

    #[test]
    fn other_content_is_judged_at_once_and_begins_the_pauses_anew() {
        let mut exchange = Exchange::default();
        judge(&mut exchange, received("1", "a", 1), Err("bad"));
        for _ in 0..5 {
            exchange.receive(&received("1", "b", 1), 1.0);
        }
        judge(&mut exchange, received("1", "c", 2), Err("bad, too"));
        let step = exchange.receive(&received("1", "d", 2), 1.0);
        assert!(matches!(step, Step::RefuseAgain(_, pause) if pause.as_secs() == 1), "{step:?}");
    }

    #[test]
    fn what_is_in_force_is_accepted_without_being_compiled_again() {
        let mut exchange = Exchange::default();
        judge(&mut exchange, received("1", "a", 1), Ok(()));
        // As after a new connection.
        let again = exchange.receive(&received("1", "x", 1), 1.0);
        assert_eq!(again, Step::Accept(answer("1", "x", None)));
        // Another version of it has to be told.
        let accepted = judge(&mut exchange, received("2", "b", 1), Ok(()));
        assert_eq!(accepted, answer("2", "b", None));
        // A part of what was refused may be in force, so that going back is a change.
        judge(&mut exchange, received("3", "c", 3), Err("bad"));
        judge(&mut exchange, received("2", "d", 1), Ok(()));
    }
}
