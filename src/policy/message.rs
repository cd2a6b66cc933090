//! The message that a denied client reads.

use crate::limit::{Blocked, Bucket};

/// The default message of a token or concurrency bucket.
const DEFAULT: &str =
    "Too many requests: the limit is {bucket}, please retry after {retry_after} s";

/// The default message to a call of more hits than the bucket ever has.
const DEFAULT_NEVER: &str =
    "Too many requests: the limit is {bucket}, and this request alone exceeds it";

/// The default message of a block that ends at a known time.
const DEFAULT_BLOCKED: &str = "Requests like this are blocked, please retry after {retry_after} s";

/// The default message of a block without end.
const DEFAULT_BLOCKED_FOREVER: &str = "Requests like this are blocked";

/// A placeholder of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// The denying bucket's size; 0 for a block.
    Limit,
    /// The denying bucket in words: "10 per second", or "blocked".
    Bucket,
    /// The name of its table.
    Table,
    /// The name of its row.
    Row,
    /// Seconds until the same call would be admitted, rounded up.
    RetryAfter,
}

impl Placeholder {
    /// Every placeholder with its name.
    pub const ALL: [(&str, Self); 5] = [
        ("limit", Self::Limit),
        ("bucket", Self::Bucket),
        ("table", Self::Table),
        ("row", Self::Row),
        ("retry_after", Self::RetryAfter),
    ];

    /// The placeholder of this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|(known, _)| *known == name);
        known.map(|(_, placeholder)| placeholder)
    }
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Literal text.
    Text(Box<str>),
    /// A placeholder.
    Fill(Placeholder),
}

/// A parsed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pieces: Box<[Piece]>,
    /// The message to a call of more hits than the bucket ever has, which has no time to retry after.
    never: Box<[Piece]>,
    /// The message of a block that ends at a known time.
    blocked: Box<[Piece]>,
    /// The message of a block without end, which has no time to retry after.
    blocked_forever: Box<[Piece]>,
    is_own: bool,
}

impl Message {
    /// Parses a message; `{name}` is a placeholder. A message with `{retry_after}` does not fit where there is no such
    /// time: a block without end, and a call of more hits than its bucket ever has, then have their default messages.
    ///
    /// # Errors
    /// The name of the first unknown placeholder.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let pieces = pieces(text)?;
        let [never, blocked_forever] = if pieces.contains(&Piece::Fill(Placeholder::RetryAfter)) {
            let Self { never, blocked_forever, .. } = Self::default();
            [never, blocked_forever]
        } else {
            [pieces.clone(), pieces.clone()]
        };
        Ok(Self { blocked: pieces.clone(), pieces, never, blocked_forever, is_own: true })
    }

    /// Whether the policy has it, and it is not the default message.
    pub const fn is_own(&self) -> bool {
        self.is_own
    }

    /// The pieces of the message about a bucket, in order.
    pub const fn pieces(&self, bucket: &Bucket) -> &[Piece] {
        match bucket {
            Bucket::Tokens(_) | Bucket::Concurrency(_) | Bucket::Window(_) => &self.pieces,
            Bucket::Blocked(Blocked { until: Some(_) }) => &self.blocked,
            Bucket::Blocked(Blocked { until: None }) => &self.blocked_forever,
        }
    }

    /// The pieces of the message to a call of more hits than its bucket ever has, in order.
    pub const fn never(&self) -> &[Piece] {
        &self.never
    }

    /// The message about a bucket, with its placeholders unfilled. Without a bucket, the message of a token bucket.
    pub fn text(&self, bucket: Option<&Bucket>) -> String {
        source_text(bucket.map_or(&self.pieces, |bucket| self.pieces(bucket)))
    }
}

/// Splits a text at its placeholders.
///
/// # Errors
/// The name of the first unknown placeholder, or the text after a brace that is not closed.
pub(crate) fn split<T>(
    text: &str,
    literal: impl Fn(Box<str>) -> T,
    placeholder: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, opened)) = rest.split_once('{') {
        let (name, after) = opened.split_once('}').ok_or_else(|| opened.to_owned())?;
        pieces.push(literal(before.into()));
        pieces.push(placeholder(name).ok_or_else(|| name.to_owned())?);
        rest = after;
    }
    pieces.push(literal(rest.into()));
    Ok(pieces)
}

fn pieces(text: &str) -> Result<Box<[Piece]>, String> {
    let fill = |name: &str| Placeholder::from_name(name).map(Piece::Fill);
    Ok(split(text, Piece::Text, fill)?.into())
}

fn source_text(pieces: &[Piece]) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.to_string(),
        Piece::Fill(placeholder) => {
            let name = Placeholder::ALL.iter().find(|(_, other)| other == placeholder);
            format!("{{{}}}", name.map_or("", |(name, _)| name))
        }
    };
    pieces.iter().map(piece).collect()
}

impl Default for Message {
    fn default() -> Self {
        let [pieces, never, blocked, blocked_forever] =
            [DEFAULT, DEFAULT_NEVER, DEFAULT_BLOCKED, DEFAULT_BLOCKED_FOREVER]
                .map(|text| pieces(text).unwrap_or_default());
        Self { pieces, never, blocked, blocked_forever, is_own: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::limit::{Period, Rate, TokenBucket, Unit};

    #[test]
    fn placeholders_are_found_between_texts() {
        let message = Message::parse("There are {limit} jobs").unwrap();
        let expected = [
            Piece::Text("There are ".into()),
            Piece::Fill(Placeholder::Limit),
            Piece::Text(" jobs".into()),
        ];
        let any = Bucket::Blocked(Blocked { until: None });
        assert_eq!(message.pieces(&any), expected);
        assert_eq!(message.text(Some(&any)), "There are {limit} jobs");
    }

    #[test]
    fn an_unknown_placeholder_is_named() {
        assert_eq!(Message::parse("{limits}"), Err("limits".into()));
        assert_eq!(Message::parse("open {limit"), Err("limit".into()));
    }

    #[test]
    fn each_kind_of_bucket_has_a_default_message() {
        let rate = Rate::new(10, Period::one(Unit::Second)).unwrap();
        let limited = Bucket::Tokens(TokenBucket::new(10, rate).unwrap());
        let blocked = |until| Bucket::Blocked(Blocked { until });
        let default = Message::default();
        assert_eq!(default.text(Some(&limited)), DEFAULT);
        assert_eq!(default.text(Some(&blocked(Some(Timestamp::default())))), DEFAULT_BLOCKED);
        assert_eq!(default.text(Some(&blocked(None))), DEFAULT_BLOCKED_FOREVER);
        assert_eq!(source_text(default.never()), DEFAULT_NEVER);
    }

    #[test]
    fn a_message_with_a_time_to_retry_after_does_not_fit_where_there_is_none() {
        let forever = Bucket::Blocked(Blocked { until: None });
        let timed = Message::parse("wait {retry_after} s").unwrap();
        assert_eq!(source_text(timed.never()), DEFAULT_NEVER);
        assert_eq!(timed.text(Some(&forever)), DEFAULT_BLOCKED_FOREVER);
        let timeless = Message::parse("{limit} at most").unwrap();
        assert_eq!(source_text(timeless.never()), "{limit} at most");
        assert_eq!(timeless.text(Some(&forever)), "{limit} at most");
    }
}
