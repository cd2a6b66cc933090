//! Arrays as values: the elements, joined as HTTP joins the values of a header.

use super::scan::Cursor;
use crate::unescape::Raw;

/// Appends the elements of an array, with `, ` between them. An array of arrays or objects stays JSON, and null is left
/// out.
pub(crate) fn append(array: &[u8], to: &mut Vec<u8>) {
    let length = to.len();
    if append_elements(array, to).is_none() {
        to.truncate(length);
        to.extend_from_slice(array);
    }
}

fn append_elements(array: &[u8], to: &mut Vec<u8>) -> Option<()> {
    let mut cursor = Cursor::new(array);
    cursor.take(b'[').then_some(())?;
    cursor.skip_space();
    if cursor.take(b']') {
        return Some(());
    }
    let mut separator: &[u8] = b"";
    loop {
        cursor.skip_space();
        let raw = match cursor.peek()? {
            b'"' => {
                cursor.skip(1);
                Some(cursor.string().ok()?)
            }
            _ => Some(cursor.scalar().ok()?).filter(|word| *word != b"null").map(Raw::plain),
        };
        if let Some(raw) = raw {
            to.extend_from_slice(std::mem::replace(&mut separator, b", "));
            raw.append_to(to);
        }
        cursor.skip_space();
        if cursor.take(b']') {
            return Some(());
        }
        cursor.take(b',').then_some(())?;
    }
}

#[cfg(test)]
mod tests {
    fn joined(array: &str) -> String {
        let mut to = b"before ".to_vec();
        super::append(array.as_bytes(), &mut to);
        String::from_utf8(to).unwrap().strip_prefix("before ").unwrap().to_owned()
    }

    #[test]
    fn the_elements_are_joined() {
        assert_eq!(joined("[]"), "");
        assert_eq!(joined(r#"[ "curl\/8" ]"#), "curl/8");
        assert_eq!(joined(r#"["a" , "b",3 ,true,null]"#), "a, b, 3, true");
        assert_eq!(joined(r#"[null,"a"]"#), "a");
        assert_eq!(joined(r#"["","a"]"#), ", a");
    }

    #[test]
    fn what_is_no_list_stays_json() {
        for array in [r#"["a",["b"]]"#, r#"[{"a":1}]"#, "[x]", "[1"] {
            assert_eq!(joined(array), array);
        }
    }
}
