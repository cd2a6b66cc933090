//! A text that is a field or a constant.

/// A field or a constant.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::config::mapping) enum Text {
    /// The name of a field, which is written with a `$` before it.
    Field(String),
    /// Anything else; `$$` at its beginning stands for `$`.
    Constant(String),
}

/// Bytes of the name of a field.
const MAX_NAME_LENGTH: usize = 1024;

/// Reads a text.
///
/// # Errors
/// If it begins like a field and names none.
pub(in crate::config::mapping) fn read(text: &str) -> Result<Text, String> {
    let Some(name) = text.strip_prefix('$') else { return Ok(Text::Constant(text.to_owned())) };
    if name.starts_with('$') {
        return Ok(Text::Constant(name.to_owned()));
    }
    match name {
        "" => {
            Err("`$` names no field; write its name behind it, as in `$path`, or `$$` for a dollar"
                .to_owned())
        }
        _ if name.len() > MAX_NAME_LENGTH => {
            Err(format!("the name of a field has at most {MAX_NAME_LENGTH} bytes; shorten it"))
        }
        _ => Ok(Text::Field(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dollar_begins_a_field_and_two_begin_a_constant() {
        let field = |name: &str| Ok(Text::Field(name.to_owned()));
        let constant = |text: &str| Ok(Text::Constant(text.to_owned()));
        for (text, expected) in [
            ("$path", field("path")),
            ("$x-tenant.id[0]", field("x-tenant.id[0]")),
            ("$a$b", field("a$b")),
            ("free", constant("free")),
            ("", constant("")),
            ("a$b", constant("a$b")),
            ("$$", constant("$")),
            ("$$5", constant("$5")),
            ("$$$5", constant("$$5")),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert!(read("$").is_err());
        assert!(read(&format!("${}", "x".repeat(MAX_NAME_LENGTH))).is_ok());
        assert!(read(&format!("${}", "x".repeat(MAX_NAME_LENGTH + 1))).is_err());
    }
}
