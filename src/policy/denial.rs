//! The body of a denial, as a policy defines it.

use super::message::{Message, Piece, Placeholder};
use crate::limit::Bucket;

/// The default content type of a JSON body.
pub(crate) const JSON: &str = "application/json";

/// The default content type of a text body.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// A part of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BodyPiece {
    /// Literal text.
    Text(Box<str>),
    /// The message of the table.
    Message,
    /// A placeholder.
    Fill(Placeholder),
}

/// The parsed body of a denial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenialBody {
    content_type: Box<str>,
    /// Whether the placeholders are inside JSON strings, so that their values are escaped.
    is_json: bool,
    pieces: Box<[BodyPiece]>,
}

impl DenialBody {
    /// A body. If it is JSON, its placeholders must be inside strings.
    pub(crate) fn new(content_type: &str, is_json: bool, pieces: Vec<BodyPiece>) -> Self {
        Self { content_type: content_type.into(), is_json, pieces: pieces.into() }
    }

    /// Its media type, the value of the header `content-type`.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The body of a denial by one bucket, with this message, split at each `{retry_after}`. `names` are those of its
    /// table and row.
    pub(crate) fn parts(
        &self,
        message: &[Piece],
        names: [&str; 2],
        bucket: &Bucket,
    ) -> Box<[Box<str>]> {
        let mut parts = Parts { parts: vec![String::new()], is_json: self.is_json, names, bucket };
        for piece in &self.pieces {
            match piece {
                BodyPiece::Text(text) => parts.push(text),
                BodyPiece::Fill(placeholder) => parts.fill(*placeholder),
                BodyPiece::Message => message.iter().for_each(|piece| match piece {
                    Piece::Text(text) => parts.value(text),
                    Piece::Fill(placeholder) => parts.fill(*placeholder),
                }),
            }
        }
        parts.parts.into_iter().map(Box::from).collect()
    }

    /// The memory, in bytes, of an encoded denial by a bucket, its metadata included.
    pub(crate) fn size(&self, message: &Message, names: [&str; 2], bucket: &Bucket) -> usize {
        let parts = self.parts(message.pieces(bucket), names, bucket);
        let parts = parts.iter().map(|part| size_of::<Box<str>>() + part.len());
        let metadata = names.map(str::len).iter().sum::<usize>() + bucket.to_string().len();
        2 * size_of::<Box<[u8]>>() + parts.sum::<usize>() + METADATA + metadata
    }
}

/// The size, in bytes, of a denial's metadata without its three values: three keys, and lengths.
const METADATA: usize = 38;

impl Default for DenialBody {
    /// JSON with `statusCode`, `error` and `message`.
    fn default() -> Self {
        let text = |text: &str| BodyPiece::Text(text.into());
        let begins = text(r#"{"statusCode":429,"error":"Too Many Requests","message":""#);
        Self::new(JSON, true, vec![begins, BodyPiece::Message, text(r#""}"#)])
    }
}

/// The parts of a body under construction.
struct Parts<'a> {
    parts: Vec<String>,
    is_json: bool,
    names: [&'a str; 2],
    bucket: &'a Bucket,
}

impl Parts<'_> {
    fn push(&mut self, text: &str) {
        if let Some(last) = self.parts.last_mut() {
            last.push_str(text);
        }
    }

    fn value(&mut self, text: &str) {
        if self.is_json { self.push(&escape_json(text)) } else { self.push(text) }
    }

    fn fill(&mut self, placeholder: Placeholder) {
        let [table, row] = self.names;
        match placeholder {
            Placeholder::Limit => self.value(&self.bucket.size().to_string()),
            Placeholder::Bucket => self.value(&self.bucket.to_string()),
            Placeholder::Table => self.value(table),
            Placeholder::Row => self.value(row),
            Placeholder::RetryAfter => self.parts.push(String::new()),
        }
    }
}

/// Escapes a text for use inside a JSON string.
pub(crate) fn escape_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    let between = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    between.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::limit::{Blocked, Period, Rate, TokenBucket, Unit};

    fn ten_per_second() -> Bucket {
        let rate = Rate::new(10, Period::one(Unit::Second)).unwrap();
        Bucket::Tokens(TokenBucket::new(10, rate).unwrap())
    }

    #[test]
    fn a_denial_is_valid_json_with_any_message() {
        let body = |message| {
            let message = Message::parse(message).unwrap();
            let bucket = ten_per_second();
            let message = message.pieces(&bucket);
            let parts = DenialBody::default().parts(message, ["tenant", "free"], &bucket);
            let value: serde_json::Value = serde_json::from_str(&parts.join("7")).unwrap();
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
    fn a_text_body_is_not_escaped() {
        let pieces = vec![
            BodyPiece::Message,
            BodyPiece::Text(" (".into()),
            BodyPiece::Fill(Placeholder::RetryAfter),
            BodyPiece::Text(" s)".into()),
        ];
        let message = Message::parse("no \"more\" than {limit}").unwrap();
        let bucket = ten_per_second();
        let body = DenialBody::new(TEXT, false, pieces);
        let parts = body.parts(message.pieces(&bucket), ["t", "r"], &bucket);
        assert_eq!(parts.join("7"), "no \"more\" than 10 (7 s)");
    }

    #[test]
    fn a_block_without_end_has_no_time_to_wait() {
        let blocked = |until| Bucket::Blocked(Blocked { until });
        let body = |message: &Message, until| {
            let bucket = blocked(until);
            DenialBody::default().parts(message.pieces(&bucket), ["t", "r"], &bucket).join("7")
        };
        let message = Message::parse("no: {limit}, {bucket}").unwrap();
        assert!(body(&message, None).contains(r#""message":"no: 0, blocked""#));
        let message = Message::parse("wait {retry_after} s").unwrap();
        assert!(body(&message, Some(Timestamp::default())).contains("wait 7 s"));
        let forever = body(&message, None);
        assert!(
            forever.contains("Requests like this are blocked") && !forever.contains('7'),
            "{forever}"
        );
    }
}
