//! Going through an object, without recursion.

use super::scan::{Cursor, MAX_DEPTH, TOO_DEEP};
use crate::error::LineError;
use crate::unescape::{Form, Raw};

/// Receives the fields of an object and of the objects in it.
pub(super) trait Visitor<'l> {
    /// Reads a key and its colon.
    fn key(&mut self, cursor: &mut Cursor<'l>) -> Result<(), LineError>;

    /// Whether the members of an object under the last key are of use.
    fn is_of_use(&self) -> bool;

    /// An object under the last key begins. Not called for the outermost.
    fn enter(&mut self);

    /// The object that was entered last ends.
    fn leave(&mut self);

    /// The value under the last key, unless it is null.
    fn value(&mut self, raw: Raw<'l>);
}

/// Goes through the object of a line.
pub(super) fn walk<'l>(line: &'l [u8], visitor: &mut impl Visitor<'l>) -> Result<(), LineError> {
    let mut cursor = Cursor::new(line);
    cursor.skip_space();
    if !cursor.take(b'{') {
        return Err(cursor.error("`{`"));
    }
    // The objects that enclose the current position, and what the walk reads next.
    let (mut depth, mut is_member) = (1_u8, true);
    cursor.skip_space();
    if cursor.take(b'}') {
        depth = 0;
    }
    while depth > 0 {
        if is_member {
            visitor.key(&mut cursor)?;
            cursor.skip_space();
            if enters(&mut cursor, visitor, depth)? {
                depth += 1;
                cursor.skip_space();
                is_member = cursor.peek() != Some(b'}');
                continue;
            }
            cursor.skip_space();
        }
        if cursor.take(b',') {
            cursor.skip_space();
            is_member = true;
        } else if cursor.take(b'}') {
            depth -= 1;
            if depth > 0 {
                visitor.leave();
            }
            cursor.skip_space();
            is_member = false;
        } else {
            return Err(cursor.error("`,` or `}`"));
        }
    }
    cursor.skip_space();
    if cursor.peek().is_none() { Ok(()) } else { Err(cursor.error("the end of the line")) }
}

/// Reads a value, or the first bracket of an object that is of use. Returns whether it is such an object.
#[inline]
fn enters<'l>(
    cursor: &mut Cursor<'l>,
    visitor: &mut impl Visitor<'l>,
    depth: u8,
) -> Result<bool, LineError> {
    match cursor.peek() {
        Some(b'"') => {
            cursor.skip(1);
            visitor.value(cursor.string()?);
        }
        Some(b'{') if visitor.is_of_use() => {
            if depth == MAX_DEPTH {
                return Err(cursor.error(TOO_DEEP));
            }
            cursor.skip(1);
            visitor.enter();
            return Ok(true);
        }
        Some(b'{') => cursor.skip_brackets(depth)?,
        Some(b'[') => {
            let start = cursor.at();
            cursor.skip_brackets(depth)?;
            visitor.value(Raw { bytes: cursor.since(start), form: Form::JsonArray });
        }
        _ => {
            let bytes = cursor.scalar()?;
            if bytes != b"null" {
                visitor.value(Raw::plain(bytes));
            }
        }
    }
    Ok(false)
}
