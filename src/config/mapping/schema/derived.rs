//! A value from a field, as the file has it.

use super::text::{Text, read};
use crate::config::document::Located;
use crate::config::path::shown;
use crate::config::read::Node;
use crate::config::value::Kind;
use crate::mapping::Element;

/// A value from a field, and what is done to it.
#[derive(Clone)]
pub(in crate::config::mapping) struct Derived {
    pub(in crate::config::mapping) fields: Vec<String>,
    /// The names that lead to a claim.
    pub(in crate::config::mapping) jwt: Option<Vec<String>>,
    pub(in crate::config::mapping) element: Option<Element>,
    pub(in crate::config::mapping) pattern: Option<Located<String>>,
    pub(in crate::config::mapping) lookup: Option<Located<String>>,
    pub(in crate::config::mapping) default: Option<String>,
    pub(in crate::config::mapping) is_required: bool,
    pub(in crate::config::mapping) is_optional: bool,
}

impl Derived {
    /// The field as it is.
    pub(in crate::config::mapping) fn field(name: String) -> Self {
        Self {
            fields: vec![name],
            jwt: None,
            element: None,
            pattern: None,
            lookup: None,
            default: None,
            is_required: false,
            is_optional: false,
        }
    }
}

/// The most fields in one list: each is looked for in each line.
const MAX_ALTERNATIVES: usize = 16;

/// The most names that lead to a claim.
const MAX_CLAIM_LEVELS: usize = 16;

pub(super) fn derived(node: &Node<'_>) -> Option<Derived> {
    let mut fields = node.fields("a source")?;
    let from = fields.take("from");
    if from.is_none() {
        node.report("`from` is missing; name the field, as in `{ from: $path }`");
    }
    let listed = from.and_then(|node| field_names(&node));
    let jwt = fields.take("jwt").map(|node| claim(&node));
    let hop = fields.take("hop").and_then(|node| hop(&node));
    let trusted_hops = fields.take("trusted_hops").and_then(|node| trusted_hops(&node));
    let pattern = fields.take("match").and_then(|node| node.text());
    let lookup = fields.take("lookup").and_then(|node| node.text());
    let default = fields.take("default").and_then(|node| constant(&node));
    let mut flag = |name| fields.take(name).and_then(|node| node.flag()).unwrap_or(false);
    let (is_required, is_optional) = (flag("required"), flag("optional"));
    fields.finish();
    if hop.is_some() && trusted_hops.is_some() {
        node.report("keep one of `hop` and `trusted_hops`; `trusted_hops: 1` is `hop: -2`");
    }
    if is_required && (is_optional || default.is_some()) {
        node.report(
            "`required` leaves out the descriptor of a line without a value; keep it, or `optional` and `default`",
        );
    }
    Some(Derived {
        jwt,
        element: hop.or(trusted_hops),
        pattern,
        lookup,
        default,
        is_required,
        is_optional,
        fields: listed?,
    })
}

/// A field, or a list of them.
pub(super) fn field_names(node: &Node<'_>) -> Option<Vec<String>> {
    if !node.value.is_sequence() {
        return Some(vec![field_name(node)?]);
    }
    let listed = node.list("fields");
    if !(1..=MAX_ALTERNATIVES).contains(&listed.len()) {
        node.report(format!("list from 1 to {MAX_ALTERNATIVES} fields"));
        return None;
    }
    let names: Vec<_> = listed.iter().filter_map(field_name).collect();
    (names.len() == listed.len()).then_some(names)
}

/// The name of a field, without the `$`.
pub(super) fn field_name(node: &Node<'_>) -> Option<String> {
    let text = node.text_of("a field, as in `$path`", scalar_hint(node))?.value;
    match read(&text) {
        Ok(Text::Field(name)) => return Some(name),
        Ok(Text::Constant(text)) => {
            let text = shown(&text);
            node.report(format!(
                "`{text}` is no field; the name of a field begins with `$`, as in `${text}`"
            ));
        }
        Err(what) => node.report(what),
    }
    None
}

/// A text that is no field.
fn constant(node: &Node<'_>) -> Option<String> {
    match read(&node.text()?.value) {
        Ok(Text::Constant(text)) => return Some(text),
        Ok(Text::Field(name)) => node.report(format!(
            "a default is a constant; to take the first field that a line has, list them, as in `from: [$a, ${}]`",
            shown(&name)
        )),
        Err(what) => node.report(what),
    }
    None
}

/// The names that lead to a claim; none if they cannot be read.
fn claim(node: &Node<'_>) -> Vec<String> {
    if !node.value.is_sequence() {
        let name =
            node.text_of("the name of a claim, as in `sub`, or a list of names", scalar_hint(node));
        return name.map(|name| name.value).into_iter().collect();
    }
    let listed = node.list("names");
    if !(1..=MAX_CLAIM_LEVELS).contains(&listed.len()) {
        node.report(format!("list from 1 to {MAX_CLAIM_LEVELS} names, which lead to the claim"));
        return Vec::new();
    }
    listed.iter().filter_map(Node::text).map(|name| name.value).collect()
}

fn hop(node: &Node<'_>) -> Option<Element> {
    let written = match &node.value.kind {
        Kind::Whole(_) | Kind::Number(_) => node.value.scalar(),
        _ => None,
    };
    let number = written.and_then(|written| written.parse::<i16>().ok());
    let element = number.and_then(|number| match number {
        0.. => u8::try_from(number).ok().map(Element::First),
        _ => u8::try_from(-1 - i32::from(number)).ok().map(Element::Last),
    });
    if element.is_none() {
        node.report(format!(
            "expected a whole number from -256 to 255, found {}; -1 is the last element of the list, 0 the first",
            node.value.describe()
        ));
    }
    element
}

fn trusted_hops(node: &Node<'_>) -> Option<Element> {
    let written = node.whole(0..=u32::from(u8::MAX))?;
    let hops = u8::try_from(written.value).ok();
    if hops.is_none() {
        node.report("`trusted_hops` is the number of your own proxies whose addresses end the list, at most 255");
    }
    hops.map(Element::BeforeHops)
}

/// What to do about a scalar that is no text.
pub(super) fn scalar_hint(node: &Node<'_>) -> &'static str {
    match node.value.kind {
        Kind::Whole(_) | Kind::Number(_) | Kind::Flag(_) => "; put it in quotes",
        _ => "",
    }
}
