//! Elements that several sections have.

use std::fmt::{self, Display, Formatter};

/// Writes the beginning of a section: its title, and a quiet remark beside that.
pub(super) fn begin_section(
    id: &str,
    title: &str,
    remark: impl Display,
    f: &mut Formatter<'_>,
) -> fmt::Result {
    write!(f, "<section aria-labelledby=\"{id}-title\"><div class=\"title\">")?;
    write!(f, "<h2 id=\"{id}-title\">{title}</h2>{remark}</div>")
}

/// Writes the head of a table: the first column has names, the others numbers.
pub(super) fn write_head(first: &str, numbers: &[&str], f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "<thead><tr><th scope=\"col\">{first}</th>")?;
    for name in numbers {
        write!(f, "<th scope=\"col\" class=\"number\">{name}</th>")?;
    }
    f.write_str("</tr></thead>")
}

/// Writes one of a list of facts. The value is escaped by the caller, if it is not of this program.
pub(super) fn write_fact(name: &str, value: impl Display, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "<div><dt>{name}</dt><dd>{value}</dd></div>")
}

/// A mark behind a name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tag(Option<&'static str>);

impl Tag {
    /// Of a row in shadow.
    pub(super) fn shadow(is_shadow: bool) -> Self {
        Self(is_shadow.then_some("shadow"))
    }

    /// Of a limit of an override.
    pub(super) fn of_override(is_override: bool) -> Self {
        Self(is_override.then_some("override"))
    }
}

impl Display for Tag {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, " <span class=\"tag\">{name}</span>"),
            None => Ok(()),
        }
    }
}
