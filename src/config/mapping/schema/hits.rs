//! How many hits a line has, as the file has it.

use super::derived::field_names;
use crate::config::read::Node;
use crate::config::value::Kind;

#[derive(Clone)]
pub(in crate::config::mapping) enum Hits {
    Constant(u32),
    From(HitsFrom),
}

#[derive(Clone)]
pub(in crate::config::mapping) struct HitsFrom {
    pub(in crate::config::mapping) fields: Vec<String>,
    pub(in crate::config::mapping) divide: Option<u32>,
    pub(in crate::config::mapping) default: Option<u32>,
}

pub(super) fn hits(node: &Node<'_>) -> Option<Hits> {
    if let Kind::Whole(_) | Kind::Number(_) = node.value.kind {
        return node.whole(0..=u32::MAX).map(|count| Hits::Constant(count.value));
    }
    if !node.value.is_mapping() {
        let fields = field_names(node)?;
        return Some(Hits::From(HitsFrom { fields, divide: None, default: None }));
    }
    let mut fields = node.fields("hits")?;
    let from = fields.take("from");
    if from.is_none() {
        node.report("`from` is missing; name the field, as in `{ from: $bytes_sent }`");
    }
    let listed = from.and_then(|node| field_names(&node));
    let divide = fields.take("divide").and_then(|node| divisor(&node));
    let default = fields.take("default").and_then(|node| node.whole(0..=u32::MAX));
    fields.finish();
    Some(Hits::From(HitsFrom {
        fields: listed?,
        divide,
        default: default.map(|count| count.value),
    }))
}

fn divisor(node: &Node<'_>) -> Option<u32> {
    let divisor = node.whole(1..=u32::MAX)?.value;
    if divisor == 0 {
        node.report(
            "nothing can be divided by 0; write how much of the field is one hit, as in `1024`",
        );
    }
    Some(divisor)
}
