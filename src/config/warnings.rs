//! Warnings about a valid policy that limits less than it seems to.

mod charging;
mod endpoints;
mod keys;
mod rows;

use super::document::Document;
use super::schema::File;

/// Reports what the file says that its author may not mean. The file has no problems.
pub(super) fn warn(file: &File, document: &Document<'_>) {
    charging::warn(file, document);
    endpoints::warn(&file.groups, document);
    keys::warn(file, document);
    file.tables.iter().for_each(|table| rows::warn(table, document));
}
