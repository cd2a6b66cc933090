//! An exact server beside what was seen.

use super::load::Answer;

/// A token bucket: its size, and the tokens that it gains in a second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    pub(crate) size: f64,
    pub(crate) rate: f64,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    of: Bucket,
    left: f64,
    at: f64,
}

impl Level {
    const fn full(of: Bucket) -> Self {
        Self { of, left: of.size, at: 0.0 }
    }

    fn advance(&mut self, at: f64) {
        self.left = (self.left + self.of.rate * (at - self.at).max(0.0)).min(self.of.size);
        self.at = self.at.max(at);
    }
}

/// All answers in the order in which they came.
pub(crate) fn merge<'a>(of: impl IntoIterator<Item = &'a Vec<Answer>>) -> Vec<Answer> {
    let mut all: Vec<_> = of.into_iter().flatten().copied().collect();
    all.sort_by(|a, b| a.at.total_cmp(&b.at));
    all
}

/// The most by which requests that were admitted exceed size + rate x t, over any time t.
pub(crate) fn worst_excess(answers: &[Answer], of: Bucket) -> f64 {
    let mut level = Level::full(of);
    let mut worst = 0.0_f64;
    for answer in answers.iter().filter(|answer| answer.is_admitted) {
        level.advance(answer.at);
        level.left -= 1.0;
        worst = worst.max(-level.left);
    }
    worst
}

/// How many of these requests an exact server admits. Each comes with the buckets that must all have a token.
pub(crate) fn admitted<const N: usize>(requests: &[(f64, [bool; N])], of: [Bucket; N]) -> usize {
    let mut levels = of.map(Level::full);
    let admits = |(at, meets): &&(f64, [bool; N])| {
        levels.iter_mut().for_each(|level| level.advance(*at));
        let mut met = levels.iter_mut().zip(meets).filter(|(_, is_met)| **is_met);
        let is_admitted = met.all(|(level, _)| level.left >= 1.0);
        if is_admitted {
            let met = levels.iter_mut().zip(meets).filter(|(_, is_met)| **is_met);
            met.for_each(|(level, _)| level.left -= 1.0);
        }
        is_admitted
    };
    requests.iter().filter(admits).count()
}

/// Admitted requests a second, from one time to another.
pub(crate) fn rate(answers: &[Answer], from: f64, to: f64) -> f64 {
    let within = answers.iter().filter(|answer| (from..to).contains(&answer.at));
    let count = within.filter(|answer| answer.is_admitted).count();
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / (to - from)
}
