//! Whether a command printed what its page shows.

/// Names of what is counted: how much is counted depends on how fast the calls before came.
const COUNTS: [&str; 1] = ["cluster.upstream.ratelimit."];

/// Seconds since 1970 have so many digits.
const UNIX_TIME: u64 = 1_000_000_000;

/// Where a wait is so long that seconds of it may pass during the test.
const LONG_WAIT: u64 = 1000;
const PASSED: u64 = 60;

/// Whether the lines that came are those that a page shows. A line `...` stands for any number of lines, and `...` at
/// the end of a line for the rest of it. Within a line, lease ids and Unix times may be any, and what is a thousand
/// seconds or more may be a minute less. A word that is repeated may be repeated more or less often: how many calls a
/// bucket of a second admits depends on how fast they come.
pub fn matches(shown: &[String], came: &[&str]) -> bool {
    let mut parts = shown.split(|line| line.trim() == "...");
    let first = parts.next().unwrap_or_default();
    let rest: Vec<_> = parts.collect();
    let Some((last, middle)) = rest.split_last() else {
        return is_same(first, came);
    };
    if came.len() < first.len() + last.len() || !is_same(first, &came[..first.len()]) {
        return false;
    }
    let (mut between, end) = came[first.len()..].split_at(came.len() - first.len() - last.len());
    for part in middle {
        let mut places = 0..=between.len().saturating_sub(part.len());
        let place = places.find(|at| {
            between.get(*at..*at + part.len()).is_some_and(|lines| is_same(part, lines))
        });
        let Some(place) = place else { return false };
        between = &between[place + part.len()..];
    }
    is_same(last, end)
}

fn is_same(shown: &[String], came: &[&str]) -> bool {
    shown.len() == came.len() && shown.iter().zip(came).all(|(shown, came)| is_alike(shown, came))
}

fn is_alike(shown: &str, came: &str) -> bool {
    let (shown, came) = (shown.trim_end(), came.trim_end());
    if let Some((name, _)) = shown.split_once(": ")
        && COUNTS.iter().any(|counted| name.starts_with(counted))
    {
        let count = came.strip_prefix(name).and_then(|rest| rest.strip_prefix(": "));
        return count.is_some_and(|count| count.parse::<u64>().is_ok());
    }
    let begin = shown.strip_suffix("...");
    let (shown, mut came) = (parts(&once(begin.unwrap_or(shown))), parts(&once(came)));
    if begin.is_some() {
        came.truncate(shown.len());
    }
    shown.len() == came.len() && shown.iter().zip(&came).all(|(shown, came)| is_worth(shown, came))
}

/// A line with each run of the same word as one.
fn once(line: &str) -> String {
    let mut words: Vec<_> = line.split(' ').collect();
    words.dedup_by(|next, word| next == word && !word.is_empty());
    words.join(" ")
}

/// Runs of letters and digits, and what is between them.
fn parts(line: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for c in line.chars() {
        match parts.last_mut() {
            Some(part) if c.is_alphanumeric() && part.ends_with(char::is_alphanumeric) => {
                part.push(c);
            }
            _ => parts.push(c.into()),
        }
    }
    parts
}

fn is_worth(shown: &str, came: &str) -> bool {
    let is_id = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let (Ok(shown), Ok(came)) = (shown.parse::<u64>(), came.parse::<u64>()) {
        let is_time = shown >= UNIX_TIME && came >= UNIX_TIME;
        let is_wait = shown >= LONG_WAIT && (shown.saturating_sub(PASSED)..=shown).contains(&came);
        return is_time || is_wait || shown == came;
    }
    shown == came || is_id(shown) && is_id(came)
}

#[test]
fn what_a_page_shows_is_compared_but_for_what_depends_on_the_hour() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let matches =
        |shown: &str, came: &str| matches(&lines(shown), &came.lines().collect::<Vec<_>>());
    for (shown, came) in [
        ("", ""),
        ("a\nb", "a\nb"),
        ("a\n...\nd", "a\nb\nc\nd"),
        ("...\nb\n...", "a\nb"),
        ("...\nb\n...\nc", "a\nb\na\nc"),
        ("a\n...", "a"),
        (r#"{"a":1,..."#, r#"{"a":1,"b":2}"#),
        ("full in 51840 s", "full in 51839 s"),
        ("reset: 1795958451", "reset: 1795958000"),
        ("lease=4b35e3ed525ea43be95af45df2205795", "lease=00000000000000000000000000000000"),
        ("200 200 200 429", "200 200 429 429 "),
        ("cluster.upstream.ratelimit.ok: 11", "cluster.upstream.ratelimit.ok: 9"),
    ] {
        assert!(matches(shown, came), "{shown:?} {came:?}");
    }
    for (shown, came) in [
        ("", "a"),
        ("a", ""),
        ("a\nb", "a"),
        ("a\n...\na", "a"),
        ("a\n...\nd", "a\nb"),
        ("...\nb\n...", "a\nc"),
        ("full in 51840 s", "full in 51841 s"),
        ("full in 51840 s", "full in 51000 s"),
        ("9 left", "8 left"),
        (r#"{"a":1,..."#, r#"{"a":2,"b":2}"#),
        ("reset: 1795958451", "reset: 10"),
        ("lease=4b35e3ed525ea43be95af45df2205795", "lease=null"),
        ("200 429", "200 200"),
        ("cluster.upstream.ratelimit.ok: 11", "cluster.upstream.ratelimit.error: 11"),
    ] {
        assert!(!matches(shown, came), "{shown:?} {came:?}");
    }
}
