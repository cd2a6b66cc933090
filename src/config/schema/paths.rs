//! Which entries are paths, and which spellings of a path are the same, as the file has it.

use super::super::document::Located;
use super::super::read::Node;
use super::{entry_keys, one_of};

/// Each rule as it is written, if it is.
#[derive(Default)]
pub(in crate::config) struct Paths {
    pub(in crate::config) merge_slashes: Option<bool>,
    pub(in crate::config) ignore_parameters: Option<bool>,
    pub(in crate::config) decode_unreserved: Option<bool>,
    pub(in crate::config) remove_dots: Option<bool>,
    pub(in crate::config) case: Option<Case>,
    /// `None` if the file does not say; an empty list is none.
    pub(in crate::config) entries: Option<Vec<Located<String>>>,
}

#[derive(Clone, Copy)]
pub(in crate::config) enum Case {
    Sensitive,
    Insensitive,
}

const CASES: [(&str, Case); 2] =
    [("sensitive", Case::Sensitive), ("insensitive", Case::Insensitive)];

pub(super) fn paths(node: &Node<'_>) -> Option<Paths> {
    let mut fields = node.fields("rules for paths, as in `{ case: insensitive }`")?;
    let mut flag = |name| fields.take(name).and_then(|node| node.flag());
    let paths = Paths {
        merge_slashes: flag("merge_slashes"),
        ignore_parameters: flag("ignore_parameters"),
        decode_unreserved: flag("decode_unreserved"),
        remove_dots: flag("remove_dots"),
        case: fields.take("case").and_then(|node| one_of(&node, "case", &CASES)),
        entries: fields.take("entries").map(|node| entry_keys(&node)),
    };
    fields.finish();
    Some(paths)
}
