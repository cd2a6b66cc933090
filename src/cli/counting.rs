//! What the windows of ratelimit configurations count.

use clap::Args;

use crate::config::ratelimit::Settings;
use crate::limit::Counting;

#[derive(Debug, Args)]
pub(super) struct CountingArgs {
    /// What the limits of ratelimit configurations count if one of them is exceeded: `each` counts every request, as
    /// envoyproxy/ratelimit does; with `spare-others` only exceeded limits do; `all-or-none` counts admitted requests only.
    /// `DOMAIN=` before it is for one domain. Repeatable, or separated by commas; the last counts.
    #[arg(
        long = "counting",
        env = "TOLLGATE_COUNTING",
        value_name = "[DOMAIN=]each|spare-others|all-or-none",
        value_delimiter = ',',
        value_parser = choice
    )]
    choices: Vec<Choice>,
}

/// What is counted in a domain, or in all that have no choice of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Choice {
    domain: Option<Box<str>>,
    counting: Counting,
}

const COUNTING: [(&str, Counting); 3] = [
    ("each", Counting::Each),
    ("spare-others", Counting::SpareOthers),
    ("all-or-none", Counting::AllOrNone),
];

fn choice(text: &str) -> Result<Choice, String> {
    let (domain, name) = match text.rsplit_once('=') {
        Some(("", _)) => return Err("write the domain before `=`".to_owned()),
        Some((domain, name)) => (Some(domain.into()), name),
        None => (None, text),
    };
    let found = COUNTING.iter().find(|(known, _)| *known == name);
    let counting = found.map(|(_, counting)| *counting);
    let names = COUNTING.map(|(name, _)| name).join(", ");
    let counting = counting.ok_or_else(|| format!("choose one of {names}"))?;
    Ok(Choice { domain, counting })
}

impl CountingArgs {
    /// The settings of ratelimit configurations: those of the reference, but for what is counted.
    pub(super) fn settings(&self) -> Settings {
        self.applied_to(Settings::default())
    }

    /// These settings, but for what is counted where there is a choice.
    pub(super) fn applied_to(&self, mut settings: Settings) -> Settings {
        for Choice { domain, counting } in &self.choices {
            match domain {
                Some(domain) => drop(settings.counting.insert(domain.clone(), *counting)),
                None => settings.tree.counting = *counting,
            }
        }
        settings
    }

    /// A warning for each choice for a domain that has no descriptor tree.
    pub(super) fn warnings(&self, has_tree: impl Fn(&str) -> bool) -> Vec<String> {
        let named = self.choices.iter().filter_map(|choice| choice.domain.as_deref());
        let unknown = named.filter(|domain| !has_tree(domain));
        let warning = |domain: &str| {
            let domain = domain.escape_debug();
            format!(
                "--counting: no ratelimit configuration has the domain `{domain}`; correct the name, or omit it"
            )
        };
        unknown.map(warning).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_has_its_own_choice_or_that_of_all() {
        let choices = ["a=each", "spare-others", "b=c=all-or-none", "a=all-or-none"];
        let choices = choices.map(|text| choice(text).unwrap()).to_vec();
        let settings = CountingArgs { choices }.settings();
        assert_eq!(settings.tree.counting, Counting::SpareOthers);
        let own = |domain| settings.counting.get(domain).copied();
        let expected = [Some(Counting::AllOrNone), Some(Counting::AllOrNone), None];
        assert_eq!([own("a"), own("b=c"), own("b")], expected);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "Each", "d=", "=each", "each=d", "d=each "] {
            assert!(choice(text).is_err(), "{text}");
        }
    }
    #[test]
    fn a_choice_for_a_domain_without_a_tree_is_told() {
        let choices = ["a=each", "b=each", "each"].map(|text| choice(text).unwrap()).to_vec();
        let warnings = CountingArgs { choices }.warnings(|domain| domain == "a");
        let expected = "--counting: no ratelimit configuration has the domain `b`; correct the name, or omit it";
        assert_eq!(warnings, [expected]);
    }
}
