//! The value of a scalar by its style and its tag.

use std::borrow::Cow;

use granit_parser::{ScalarStyle, Tag};

use crate::config::value::{Kind, plain};
use crate::config::yaml_1_1::{Scalar, resolve};

/// A scalar of a policy. Quotes or the tag `!!str` make it text; a custom tag is kept for the report.
pub(super) fn core_schema<'t>(
    text: Cow<'t, str>,
    style: ScalarStyle,
    tag: Option<Cow<'t, Tag>>,
) -> Kind<'t> {
    match tag {
        None if style == ScalarStyle::Plain => plain(text),
        None => Kind::Text(text),
        Some(tag) => match tag.core_suffix() {
            Some("str") => Kind::Text(text),
            Some(_) => plain(text),
            None => Kind::Tagged(tag.to_string()),
        },
    }
}

/// A scalar of a ratelimit configuration. Quotes and tags that YAML does not define make it text. A tag that YAML does
/// define must fit.
pub(super) fn yaml_1_1<'t>(
    text: Cow<'t, str>,
    style: ScalarStyle,
    tag: Option<Cow<'t, Tag>>,
) -> Kind<'t> {
    let Some(tag) = tag else {
        return match style {
            ScalarStyle::Plain => Kind::Plain(text),
            _ => Kind::Text(text),
        };
    };
    match (tag.core_suffix(), resolve(&text)) {
        (Some("float"), Scalar::Whole(_) | Scalar::Number(_)) => Kind::Number(text),
        (Some("int"), Scalar::Whole(_)) => Kind::Plain(text),
        (Some("bool"), Scalar::Flag(_)) => Kind::Plain(text),
        (Some("null"), Scalar::Nothing) => Kind::Plain(text),
        (Some("float" | "int" | "bool" | "null"), _) => Kind::Tagged(tag.to_string()),
        // It would be in base64.
        _ if tag.suffix_in_namespace(YAML).as_deref() == Some("binary") => {
            Kind::Tagged(tag.to_string())
        }
        _ => Kind::Text(text),
    }
}

/// What the tags that YAML defines begin with.
const YAML: &str = "tag:yaml.org,2002:";
