//! The body of a denial.

use super::super::document::{Document, Located};
use super::super::path::shown;
use super::super::schema::{self, Content, Json};
use crate::policy::denial::{self, BodyPiece, DenialBody};
use crate::policy::message::{self, Placeholder};

/// Bytes of a body before its placeholders are filled in: each denial carries it.
const MAX_BODY_LENGTH: usize = 4096;

/// The quotation mark of JSON.
const QUOTE: char = '\u{22}';

/// The placeholder for the message of the table.
const MESSAGE: &str = "message";

/// The body of the policy, or the default. Problems go to the document.
pub(super) fn body(written: Option<&schema::DenialBody>, document: &Document<'_>) -> DenialBody {
    let Some(schema::DenialBody { content_type, content }) = written else {
        return DenialBody::default();
    };
    let mut writer = Writer { document, pieces: Vec::new(), text: String::new() };
    let (usual, is_json, path) = match content {
        Content::Text(text) => {
            writer.template(text, str::to_owned);
            (denial::TEXT, false, &text.path)
        }
        Content::Json(Located { value, path }) => {
            writer.json(value);
            (denial::JSON, true, path)
        }
    };
    let pieces = writer.finish();
    let text = |piece: &BodyPiece| match piece {
        BodyPiece::Text(text) => text.len(),
        BodyPiece::Message | BodyPiece::Fill(_) => 0,
    };
    if pieces.iter().map(text).sum::<usize>() > MAX_BODY_LENGTH {
        document.report(path, format!("a body has at most {MAX_BODY_LENGTH} bytes; shorten it"));
    }
    let media_type = content_type.as_ref().map_or(usual, |media_type| {
        check_media_type(media_type, document);
        &media_type.value
    });
    DenialBody::new(media_type, is_json, pieces)
}

/// Reports a media type that a header cannot carry.
fn check_media_type(Located { value, path }: &Located<String>, document: &Document<'_>) {
    let is_plain = value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if !is_plain || !value.contains('/') || !(1..=100).contains(&value.len()) {
        let what = format!(
            "`{}` is not a media type; write 1 to 100 printable ASCII characters, as in \
             `application/problem+json`",
            shown(value)
        );
        document.report(path, what);
    }
}

struct Writer<'a> {
    document: &'a Document<'a>,
    pieces: Vec<BodyPiece>,
    /// The text after the last piece.
    text: String,
}

impl Writer<'_> {
    fn finish(mut self) -> Vec<BodyPiece> {
        self.pieces.push(BodyPiece::Text(self.text.into()));
        self.pieces
    }

    fn json(&mut self, json: &Json) {
        match json {
            Json::Word(word) => self.text.push_str(word),
            Json::Text(text) => {
                self.text.push(QUOTE);
                self.template(text, denial::escape_json);
                self.text.push(QUOTE);
            }
            Json::List(items) => {
                self.text.push('[');
                for (at, item) in items.iter().enumerate() {
                    self.comma(at);
                    self.json(item);
                }
                self.text.push(']');
            }
            Json::Object(entries) => {
                self.text.push('{');
                for (at, (name, value)) in entries.iter().enumerate() {
                    self.comma(at);
                    self.text.push_str(&format!("\"{}\":", denial::escape_json(name)));
                    self.json(value);
                }
                self.text.push('}');
            }
        }
    }

    fn comma(&mut self, at: usize) {
        if at > 0 {
            self.text.push(',');
        }
    }

    /// Appends a text with placeholders; `escape` applies to the text between them.
    fn template(
        &mut self,
        Located { value, path }: &Located<String>,
        escape: impl Fn(&str) -> String,
    ) {
        let placeholder = |name: &str| match name {
            MESSAGE => Some(BodyPiece::Message),
            _ => Placeholder::from_name(name).map(BodyPiece::Fill),
        };
        match message::split(value, BodyPiece::Text, placeholder) {
            Ok(pieces) => pieces.into_iter().for_each(|piece| match piece {
                BodyPiece::Text(text) => self.text.push_str(&escape(&text)),
                piece @ (BodyPiece::Message | BodyPiece::Fill(_)) => {
                    self.pieces.push(BodyPiece::Text(std::mem::take(&mut self.text).into()));
                    self.pieces.push(piece);
                }
            }),
            Err(unknown) => {
                let known = Placeholder::ALL.map(|(name, _)| name);
                let known: Vec<&str> = [MESSAGE].into_iter().chain(known).collect();
                super::report_placeholder(self.document, path, value, &unknown, &known);
            }
        }
    }
}
