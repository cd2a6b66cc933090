//! The language of a text: that of policies, or that of envoyproxy/ratelimit.

use granit_parser::{Event, Options, Parser, StrInput, options};

use super::bounds::MAX_LEVELS;

/// A language of configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    /// A policy, with `tables`, in YAML 1.2.
    Policy,
    /// A ratelimit configuration, with `descriptors`, in YAML 1.1 as gopkg.in/yaml.v2 reads it.
    RateLimit,
}

impl Language {
    /// The language of a text, by the keys of its root: only a ratelimit configuration has `descriptors` and no
    /// `tables`.
    pub(super) fn of(text: &str) -> Self {
        let mut language = Self::Policy;
        // Lists and mappings that are open, and whether the next value in the outermost one is a key.
        let (mut depth, mut is_key) = (0_usize, true);
        for event in parser(text) {
            let Ok((event, _)) = event else { break };
            let is_at_root = depth == 1;
            match event {
                Event::DocumentEnd => break,
                Event::SequenceStart(..) if depth == 0 => break,
                Event::Scalar(key, ..) if is_at_root && is_key && key == "tables" => {
                    return Self::Policy;
                }
                Event::Scalar(key, ..) if is_at_root && is_key && key == "descriptors" => {
                    language = Self::RateLimit;
                    is_key = false;
                }
                Event::Scalar(..) | Event::Alias(..) if is_at_root => is_key = !is_key,
                Event::MappingStart(..) | Event::SequenceStart(..) => depth += 1,
                Event::MappingEnd | Event::SequenceEnd => {
                    depth = depth.saturating_sub(1);
                    if depth == 1 {
                        is_key = !is_key;
                    }
                }
                _ => {}
            }
        }
        language
    }
}

/// The events of a text, with nesting bounded.
pub(super) fn parser(text: &str) -> Parser<'_, StrInput<'_>> {
    Parser::new_from_str_with_options(text, options())
}

fn options() -> Options {
    let mut options = options! {
        flow_nesting_limit: MAX_LEVELS,
        block_nesting_limit: MAX_LEVELS,
    };
    options.set_emit_comments(false);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_descriptors_and_no_tables_is_a_ratelimit_configuration() {
        for text in [
            "domain: d\ndescriptors:\n- key: tables\n",
            "descriptors: []\ndomain: tables\n",
            "{? a : [tables, {tables: 1}], 'descriptors': ~}",
            "descriptors:\n- {\n",
            "descriptors: []\n---\ntables: []\n",
            "name: &descriptors x\ndescriptors: *descriptors\n",
        ] {
            assert_eq!(Language::of(text), Language::RateLimit, "{text}");
        }
    }

    #[test]
    fn any_other_text_is_a_policy() {
        for text in [
            "",
            "descriptors",
            "[descriptors]",
            "domain: descriptors\n",
            "a: { descriptors: 1 }\n",
            "[{ descriptors: 1 }]",
            "descriptors: []\ntables: []\n",
            "tables: []\ndescriptors: []\n",
            "{{",
        ] {
            assert_eq!(Language::of(text), Language::Policy, "{text}");
        }
    }
}
