//! The lines of statsd and of DogStatsD, and how many of them are sent together.

use std::fmt::Write;
use std::time::Duration;

/// How tags are written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Behind the name, as envoyproxy/ratelimit does: `.__key=value`.
    Names(String),
    /// Behind the value, as DogStatsD reads them: `|#key:value,key:value`.
    Tags(String),
}

impl Style {
    /// With these tags behind names.
    pub(super) fn names(tags: &[(String, String)]) -> Self {
        let tags = cleaned(tags).into_iter();
        Self::Names(tags.map(|(key, value)| format!(".__{key}={value}")).collect())
    }

    /// With these tags behind values.
    pub(super) fn tags(tags: &[(String, String)]) -> Self {
        let tags: Vec<_> =
            cleaned(tags).into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
        Self::Tags(if tags.is_empty() { String::new() } else { format!("|#{}", tags.join(",")) })
    }

    /// A counter that has risen.
    pub(super) fn counter(&self, name: &str, increase: u64) -> String {
        self.line(name, &format!("{increase}|c"))
    }

    /// A time, in milliseconds, that stands for the times of as many calls.
    pub(super) fn timer(&self, name: &str, time: Duration, weight: f64) -> String {
        let micros = time.as_micros();
        let value = format!("{}.{:03}", micros / 1000, micros % 1000);
        let mut value = value.trim_end_matches('0').trim_end_matches('.').to_owned();
        value.push_str("|ms");
        if weight > 1.0 {
            // Writing to a String does not fail.
            let _ = write!(value, "|@{}", 1.0 / weight);
        }
        self.line(name, &value)
    }

    fn line(&self, name: &str, value: &str) -> String {
        match self {
            Self::Names(tags) => format!("{name}{tags}:{value}\n"),
            Self::Tags(tags) => format!("{name}:{value}{tags}\n"),
        }
    }
}

/// The tags that have a key and a value, in the order of their keys, without characters that end a name or a line.
fn cleaned(tags: &[(String, String)]) -> Vec<(String, String)> {
    let clean = |text: &str| -> String {
        let is_bad = |c: char| ".:|".contains(c) || c.is_control();
        text.chars().map(|c| if is_bad(c) { '_' } else { c }).collect()
    };
    let tags = tags.iter().filter(|(key, value)| !key.is_empty() && !value.is_empty());
    let mut tags: Vec<_> = tags.map(|(key, value)| (clean(key), clean(value))).collect();
    tags.sort_unstable();
    tags
}

/// Lines that are sent together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) text: String,
    /// The counters whose increases are in it, with their values.
    pub(super) counters: Vec<(String, u64)>,
}

/// Batches that are filled one after another.
#[derive(Debug)]
pub(super) struct Batches {
    max: usize,
    full: Vec<Batch>,
    last: Batch,
}

impl Batch {
    /// An empty list of batches of at most `max` bytes. A longer line has a batch of its own.
    pub(super) fn list(max: usize) -> Batches {
        Batches { max, full: Vec::new(), last: Self::default() }
    }
}

impl Batches {
    pub(super) fn push(&mut self, line: &str, counter: Option<(String, u64)>) {
        if !self.last.text.is_empty() && self.last.text.len() + line.len() > self.max {
            self.full.push(std::mem::take(&mut self.last));
        }
        self.last.text.push_str(line);
        self.last.counters.extend(counter);
    }

    /// The batches that have lines.
    pub(super) fn finish(self) -> Vec<Batch> {
        let Self { mut full, last, .. } = self;
        if !last.text.is_empty() {
            full.push(last);
        }
        full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags() -> Vec<(String, String)> {
        let tags = [("zone", "eu.1"), ("app", "a:b|c\n"), ("", "x"), ("x", "")];
        tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn tags_stand_behind_the_name_in_the_order_of_their_keys() {
        assert_eq!(Style::names(&tags()).counter("a.b", 5), "a.b.__app=a_b_c_.__zone=eu_1:5|c\n");
        assert_eq!(Style::names(&[]).counter("a.b", 5), "a.b:5|c\n");
    }

    #[test]
    fn tags_of_dogstatsd_stand_behind_the_value() {
        let style = Style::tags(&tags());
        assert_eq!(style.counter("a.b", 5), "a.b:5|c|#app:a_b_c_,zone:eu_1\n");
        let time = Duration::from_micros(1500);
        assert_eq!(style.timer("t", time, 64.0), "t:1.5|ms|@0.015625|#app:a_b_c_,zone:eu_1\n");
        assert_eq!(Style::tags(&[]).counter("a.b", 5), "a.b:5|c\n");
    }

    #[test]
    fn a_time_is_in_milliseconds_and_has_three_places_at_most() {
        let style = Style::names(&[]);
        for (nanos, expected) in [
            (0, "t:0|ms\n"),
            (2_000_000, "t:2|ms\n"),
            (112_999, "t:0.112|ms\n"),
            (7, "t:0|ms\n"),
            (1_234_567_891, "t:1234.567|ms\n"),
        ] {
            assert_eq!(style.timer("t", Duration::from_nanos(nanos), 1.0), expected);
        }
    }

    #[test]
    fn whole_lines_fill_a_batch_and_a_long_one_goes_alone() {
        let mut batches = Batch::list(10);
        for (at, line) in ["aaaa\n", "bbbb\n", "c\n", "longer than ten\n", "d\n"].iter().enumerate()
        {
            batches.push(line, (at != 1).then(|| (line.trim().to_owned(), 1)));
        }
        let batches = batches.finish();
        let texts: Vec<_> = batches.iter().map(|batch| &*batch.text).collect();
        assert_eq!(texts, ["aaaa\nbbbb\n", "c\n", "longer than ten\n", "d\n"]);
        let of_first: Vec<_> = batches[0].counters.iter().map(|(name, _)| &**name).collect();
        assert_eq!(of_first, ["aaaa"]);
        assert_eq!(Batch::list(10).finish(), []);
    }
}
