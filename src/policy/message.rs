//! The sentence a denied client reads.

use std::fmt;

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
    fn the_default_message_is_complete() {
        assert!(Message::default().pieces().len() > 4);
    }
}
