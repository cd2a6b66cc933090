//! The sentence a denied client reads.

use crate::limit::{Blocked, Bucket};

const BODY_BEGINS: &str = r#"{"statusCode":429,"error":"Too Many Requests","message":""#;
const BODY_ENDS: &str = r#""}"#;

/// The default message.
const DEFAULT: &str =
    "Too many requests: the limit is {bucket}, please retry after {retry_after} s";

/// That where nothing passes until an end that is known.
const DEFAULT_BLOCKED: &str = "Requests like this are blocked, please retry after {retry_after} s";

/// That where nothing ever passes.
const DEFAULT_BLOCKED_FOR_GOOD: &str = "Requests like this are blocked";

/// What can be filled into a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// The denying bucket's size; 0 where nothing passes.
    Limit,
    /// The denying bucket in words: "10 per second", or "blocked".
    Bucket,
    /// The name of its table.
    Table,
    /// The name of its row.
    Row,
    /// Seconds until the same call would pass, rounded up.
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
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Goes out as it is.
    Text(Box<str>),
    /// To be filled in.
    Fill(Placeholder),
}

/// A message with its placeholders found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pieces: Box<[Piece]>,
    /// What is said where nothing passes until an end that is known.
    blocked: Box<[Piece]>,
    /// What is said where nothing ever passes, so that there is no time to fill in.
    blocked_for_good: Box<[Piece]>,
}

impl Message {
    /// Reads a message; `{name}` is a placeholder. One that asks for the time to wait says nothing to those who are
    /// blocked for good: they are told the default.
    ///
    /// # Errors
    /// The name of a placeholder that there is not.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let pieces = pieces(text)?;
        let blocked_for_good = if pieces.contains(&Piece::Fill(Placeholder::RetryAfter)) {
            [Piece::Text(DEFAULT_BLOCKED_FOR_GOOD.into())].into()
        } else {
            pieces.clone()
        };
        Ok(Self { blocked: pieces.clone(), pieces, blocked_for_good })
    }

    /// The parts of what it says of a bucket, in order.
    pub const fn pieces(&self, bucket: &Bucket) -> &[Piece] {
        match bucket {
            Bucket::Tokens(_) | Bucket::Concurrency(_) => &self.pieces,
            Bucket::Blocked(Blocked { until: Some(_) }) => &self.blocked,
            Bucket::Blocked(Blocked { until: None }) => &self.blocked_for_good,
        }
    }

    /// What it says of a bucket, or of those that a row would have, as it was written.
    pub fn text(&self, bucket: Option<&Bucket>) -> String {
        written(bucket.map_or(&self.pieces, |bucket| self.pieces(bucket)))
    }

    /// What it says of one bucket of a row, which is given as the names of its table and its own: the body
    /// of a response, cut where the seconds to wait belong. It is JSON, in the form of the API whose limits
    /// are the first policy.
    pub(crate) fn body(&self, [table, row]: [&str; 2], bucket: &Bucket) -> Box<[Box<str>]> {
        let mut parts = vec![String::from(BODY_BEGINS)];
        for piece in self.pieces(bucket) {
            let text = match piece {
                Piece::Text(text) => text,
                Piece::Fill(Placeholder::Limit) => &*bucket.size().to_string(),
                Piece::Fill(Placeholder::Bucket) => &*bucket.to_string(),
                Piece::Fill(Placeholder::Table) => table,
                Piece::Fill(Placeholder::Row) => row,
                Piece::Fill(Placeholder::RetryAfter) => {
                    parts.push(String::new());
                    continue;
                }
            };
            if let Some(last) = parts.last_mut() {
                last.push_str(&escaped(text));
            }
        }
        if let Some(last) = parts.last_mut() {
            last.push_str(BODY_ENDS);
        }
        parts.into_iter().map(Box::from).collect()
    }
}

/// What a client is told whom one bucket denies: all that is known when the policy is loaded, which is all
/// but the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    body: Box<[Box<str>]>,
    place: Box<[u8]>,
}

impl Denial {
    /// What is told: the body of [`Message::body`], and where the bucket stands, as it is told in metadata.
    pub(crate) const fn new(body: Box<[Box<str>]>, place: Box<[u8]>) -> Self {
        Self { body, place }
    }

    /// The body of a response, between whose parts the seconds to wait belong.
    pub fn body(&self) -> &[Box<str>] {
        &self.body
    }

    /// How many bytes of memory it takes, itself left out.
    pub(crate) fn size(&self) -> usize {
        let parts = self.body.iter().map(|part| size_of::<Box<str>>() + part.len());
        self.place.len() + parts.sum::<usize>()
    }

    /// Where the bucket stands, as bytes that go out as they are.
    pub fn place(&self) -> &[u8] {
        &self.place
    }
}

/// A text as it stands between the quotes of a JSON string.
fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    let between = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    between.unwrap_or_default().to_owned()
}

fn pieces(text: &str) -> Result<Box<[Piece]>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, opened)) = rest.split_once('{') {
        let (name, after) = opened.split_once('}').ok_or_else(|| opened.to_owned())?;
        let known = Placeholder::ALL.into_iter().find(|(known, _)| *known == name);
        let (_, placeholder) = known.ok_or_else(|| name.to_owned())?;
        pieces.push(Piece::Text(before.into()));
        pieces.push(Piece::Fill(placeholder));
        rest = after;
    }
    pieces.push(Piece::Text(rest.into()));
    Ok(pieces.into())
}

fn written(pieces: &[Piece]) -> String {
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
        let [pieces, blocked, blocked_for_good] =
            [DEFAULT, DEFAULT_BLOCKED, DEFAULT_BLOCKED_FOR_GOOD]
                .map(|text| pieces(text).unwrap_or_default());
        Self { pieces, blocked, blocked_for_good }
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
    fn a_denial_is_json_whatever_the_message_says() {
        let rate = Rate::new(10, Period::one(Unit::Second)).unwrap();
        let bucket = Bucket::Tokens(TokenBucket::new(10, rate).unwrap());
        let body = |message| {
            let message = Message::parse(message).unwrap();
            let body = message.body(["tenant", "free"], &bucket).join("7");
            let value: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(
                (&value["statusCode"], &value["error"]),
                (&429.into(), &"Too Many Requests".into())
            );
            value["message"].as_str().unwrap().to_owned()
        };
        assert_eq!(body(""), "");
        assert_eq!(body("{retry_after}{retry_after}"), "77");
        assert_eq!(body("{table}/{row}: {bucket}, {limit}"), "tenant/free: 10 per second, 10");
        assert_eq!(body("\"wait\" \\ \n {retry_after} s\""), "\"wait\" \\ \n 7 s\"");
    }

    #[test]
    fn each_kind_of_bucket_has_a_default_message() {
        let rate = Rate::new(10, Period::one(Unit::Second)).unwrap();
        let limited = Bucket::Tokens(TokenBucket::new(10, rate).unwrap());
        let blocked = |until| Bucket::Blocked(Blocked { until });
        let default = Message::default();
        assert_eq!(default.text(Some(&limited)), DEFAULT);
        assert_eq!(default.text(Some(&blocked(Some(Timestamp::default())))), DEFAULT_BLOCKED);
        assert_eq!(default.text(Some(&blocked(None))), DEFAULT_BLOCKED_FOR_GOOD);
    }

    #[test]
    fn who_is_blocked_for_good_is_told_no_time_to_wait() {
        let message = Message::parse("no: {limit}, {bucket}").unwrap();
        let blocked = |until| Bucket::Blocked(Blocked { until });
        let body = |message: &Message, until| message.body(["t", "r"], &blocked(until)).join("7");
        assert!(body(&message, None).contains(r#""message":"no: 0, blocked""#));
        let message = Message::parse("wait {retry_after} s").unwrap();
        assert!(body(&message, Some(Timestamp::default())).contains("wait 7 s"));
        let for_good = body(&message, None);
        assert!(
            for_good.contains(DEFAULT_BLOCKED_FOR_GOOD) && !for_good.contains('7'),
            "{for_good}"
        );
    }
}
