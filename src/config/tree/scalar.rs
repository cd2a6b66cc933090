//! The value of a scalar by its style and its tag.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use granit_parser::{ScalarStyle, Tag};

use super::timestamp::is_timestamp;
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
    match (tag.suffix_in_namespace(YAML).as_deref(), resolve(&text)) {
        (Some("float"), Scalar::Whole(_) | Scalar::Number(_)) => Kind::Number(text),
        (Some("int"), Scalar::Whole(_)) => Kind::Plain(text),
        (Some("bool"), Scalar::Flag(_)) => Kind::Plain(text),
        (Some("null"), Scalar::Nothing) => Kind::Plain(text),
        (Some("float" | "int" | "bool" | "null"), _) => Kind::Tagged(tag.to_string()),
        (Some("timestamp"), _) if !is_timestamp(&text) => Kind::Tagged(tag.to_string()),
        (Some("binary"), _) => binary(&text),
        (Some("merge"), _) => Kind::Plain(text),
        _ => Kind::Text(text),
    }
}

/// The text that a scalar has in base64. The requests that a text is compared with are UTF-8, and so must it be.
fn binary<'t>(base64: &str) -> Kind<'t> {
    let digits = base64.replace(['\r', '\n'], "");
    let Ok(bytes) = BASE64.decode(digits) else {
        return Kind::Tagged("!!binary, which is not base64".to_owned());
    };
    String::from_utf8(bytes).map_or_else(
        |_| Kind::Tagged("!!binary, which is not UTF-8".to_owned()),
        |text| Kind::Text(text.into()),
    )
}

/// As the reference reads it: with its padding, whatever the bits are that the last digit has too many.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// What the tags that YAML defines begin with.
const YAML: &str = "tag:yaml.org,2002:";
