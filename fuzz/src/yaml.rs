//! Texts within YAML.

/// A text in quotes, whatever is in it.
pub fn quoted(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        ' ' | '-' | '/' | '*' | '{' | '}' => c.to_string(),
        _ if c.is_ascii_alphanumeric() => c.to_string(),
        _ => format!("\\U{:08x}", u32::from(c)),
    });
    format!("\"{}\"", escaped.collect::<String>())
}
