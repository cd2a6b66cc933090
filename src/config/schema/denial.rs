//! The body of a denial as the file has it.

use super::super::document::Located;
use super::super::path::NodePath;
use super::super::read::Node;
use super::super::value::{Kind, Value};

pub(in crate::config) struct DenialBody {
    pub(in crate::config) content_type: Option<Located<String>>,
    pub(in crate::config) content: Content,
}

pub(in crate::config) enum Content {
    Text(Located<String>),
    Json(Located<Json>),
}

/// A JSON value whose texts may contain placeholders.
pub(in crate::config) enum Json {
    /// `null`, a boolean or a number, in JSON syntax.
    Word(String),
    Text(Located<String>),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

pub(super) fn body(node: &Node<'_>) -> Option<DenialBody> {
    let mut fields = node.fields("a body: `json` or `text`, and `content_type`")?;
    let content_type = fields.take("content_type").and_then(|node| node.text());
    let (written, text) = (fields.take("json"), fields.take("text"));
    fields.finish();
    let content = match (written, text) {
        (Some(node), None) => Content::Json(node.at(json(&node, node.value, &node.path))),
        (None, Some(node)) => Content::Text(node.text()?),
        _ => {
            node.report(
                "a body needs one of `json` and `text`, as in `{ text: \"{message}\" }` or \
                 `{ json: { error: \"{message}\" } }`",
            );
            return None;
        }
    };
    Some(DenialBody { content_type, content })
}

/// A value; `null` instead of one that JSON cannot represent.
fn json(node: &Node<'_>, value: &Value<'_>, path: &NodePath) -> Json {
    let null = || Json::Word("null".to_owned());
    let invalid = |path: &NodePath, what: &str| {
        node.document.report(path, what);
        null()
    };
    match &value.kind {
        Kind::Nothing => null(),
        Kind::Flag(flag) => Json::Word(flag.to_string()),
        Kind::Whole(number) => Json::Word(number.to_string()),
        Kind::Number(number) => match serde_json::from_str::<serde_json::Number>(number) {
            Ok(_) => Json::Word(number.to_string()),
            Err(_) => {
                invalid(path, "JSON has no such number; put it in quotes, or write it as in `-1.5`")
            }
        },
        Kind::Text(text) | Kind::Plain(text) => {
            Json::Text(Located { value: text.to_string(), path: path.clone() })
        }
        Kind::List(items) => {
            let item = |(at, value): (usize, &Value<'_>)| {
                json(node, value, &path.index(at, value.position))
            };
            Json::List(items.iter().enumerate().map(item).collect())
        }
        Kind::Mapping(entries) => {
            let entry = |(key, value): &(Value<'_>, Value<'_>)| match key.as_str() {
                Some(name) => (name.to_owned(), json(node, value, &path.key(name, value.position))),
                None => {
                    let what = format!("a name must be text, found {}", key.describe());
                    (String::new(), invalid(&path.clone().at(key.position), &what))
                }
            };
            Json::Object(entries.iter().map(entry).collect())
        }
        Kind::Tagged(tag) => invalid(path, &format!("JSON has no tags; remove {tag}")),
    }
}
