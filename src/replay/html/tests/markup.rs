//! Reads the markup of a page, strictly: as the page is written here, not as browsers forgive.

/// A tag that opens an element, with the names and values of its attributes.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) name: String,
    pub(super) attributes: Vec<(String, String)>,
    is_closed: bool,
}

/// The tags that open elements, in order. The texts of scripts and styles are left out.
pub(super) fn tags(page: &str) -> Vec<Tag> {
    all(page).into_iter().filter_map(Result::ok).collect()
}

/// Every element is closed, in order.
pub(super) fn check_balance(page: &str) {
    const WITHOUT_END: [&str; 3] = ["meta", "link", "br"];
    let mut open = Vec::new();
    for tag in all(page) {
        match tag {
            Ok(tag) if tag.is_closed || WITHOUT_END.contains(&&*tag.name) => {}
            Ok(tag) => open.push(tag.name),
            Err(end) => assert_eq!(open.pop(), Some(end)),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

/// Each tag that opens an element, or the name of one that closes it.
fn all(page: &str) -> Vec<Result<Tag, String>> {
    let mut found = Vec::new();
    let mut rest = page.strip_prefix("<!doctype html>").unwrap();
    while let Some((text, behind)) = rest.split_once('<') {
        assert!(!text.contains('>'), "{text}");
        if let Some(end) = behind.strip_prefix('/') {
            let (name, after) = end.split_once('>').unwrap();
            found.push(Err(name.to_owned()));
            rest = after;
            continue;
        }
        let (tag, after) = open(behind);
        rest = if ["script", "style"].contains(&&*tag.name) {
            &after[after.find(&format!("</{}>", tag.name)).unwrap()..]
        } else {
            after
        };
        found.push(Ok(tag));
    }
    found
}

/// A tag behind its `<`, and what follows it.
fn open(text: &str) -> (Tag, &str) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let end = text.find(|c| !is_name(c)).unwrap();
    let (name, mut rest) = text.split_at(end);
    assert!(!name.is_empty(), "{:?}", text.get(..40));
    let mut attributes = Vec::new();
    while let Some(attribute) = rest.strip_prefix(' ') {
        let (name, value) = attribute.split_once("=\"").unwrap();
        assert!(name.chars().all(is_name), "{name:?}");
        let (value, after) = value.split_once('"').unwrap();
        assert!(!value.contains(['<', '>']), "{value}");
        attributes.push((name.to_owned(), value.to_owned()));
        rest = after;
    }
    let (is_closed, rest) = rest.strip_prefix('/').map_or((false, rest), |rest| (true, rest));
    let rest = rest.strip_prefix('>').unwrap_or_else(|| panic!("{name}: {:?}", rest.get(..40)));
    (Tag { name: name.to_owned(), attributes, is_closed }, rest)
}
