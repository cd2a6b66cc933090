//! The sentence a denied client reads.

use std::fmt;

use crate::limit::Bucket;

const BODY_BEGINS: &str = r#"{"statusCode":429,"error":"Too Many Requests","message":""#;
const BODY_ENDS: &str = r#""}"#;

/// The default message.
const DEFAULT: &str =
    "Too many requests: the limit is {bucket}, please retry after {retry_after} s";

/// What can be filled into a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// The denying bucket's size.
    Limit,
    /// The denying bucket in words: "10 per second".
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
pub struct Message(Box<[Piece]>);

impl Message {
    /// Reads a message; `{name}` is a placeholder.
    ///
    /// # Errors
    /// The name of a placeholder that there is not.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
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
        Ok(Self(pieces.into()))
    }

    /// The message's parts, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// What it says of one bucket of a row, which is given as the names of its table and its own: the body
    /// of a response, cut where the seconds to wait belong. It is JSON, in the form of the API whose limits
    /// are the first policy.
    pub(crate) fn body(&self, [table, row]: [&str; 2], bucket: &Bucket) -> Box<[Box<str>]> {
        let mut parts = vec![String::from(BODY_BEGINS)];
        for piece in self.pieces() {
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

/// The message as it was written.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Fill(placeholder) => {
                let name = Placeholder::ALL.iter().find(|(_, other)| other == placeholder);
                write!(f, "{{{}}}", name.map_or("", |(name, _)| name))
            }
        })
    }
}

impl Default for Message {
    fn default() -> Self {
        Self::parse(DEFAULT).unwrap_or_else(|_| Self(Box::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Period, Rate, TokenBucket, Unit};

    #[test]
    fn placeholders_are_found_between_texts() {
        let message = Message::parse("There are {limit} jobs").unwrap();
        let expected = [
            Piece::Text("There are ".into()),
            Piece::Fill(Placeholder::Limit),
            Piece::Text(" jobs".into()),
        ];
        assert_eq!(message.pieces(), expected);
        assert_eq!(message.to_string(), "There are {limit} jobs");
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
    fn the_default_message_is_complete() {
        assert!(Message::default().pieces().len() > 4);
    }
}
