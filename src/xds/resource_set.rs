//! The resources in force, and what becomes of them with the next response.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost_types::Any;

use super::digest::Digest;
use super::resource;
use crate::config::Problems;
use crate::config::ratelimit::schema::RateLimitConfig;
use crate::policy::{Policies, Policy};

/// The most problems that an answer tells.
const MAX_PROBLEMS: usize = 100;

/// The configurations in force, by domain. They are kept, since a compiled policy cannot be put in force twice.
#[derive(Debug, Clone, Default)]
pub(super) struct ResourceSet {
    by_domain: BTreeMap<String, Domain>,
}

/// The configurations of one domain; several if they are merged.
#[derive(Debug, Clone)]
struct Domain {
    configs: Arc<[RateLimitConfig]>,
    digest: Digest,
}

/// What a response comes to.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) policies: Policies,
    /// What is to be in force.
    pub(super) set: ResourceSet,
    /// Whether that is what is in force already.
    pub(super) is_unchanged: bool,
    /// What is wrong with the response, one problem per line; empty if nothing is.
    pub(super) problems: String,
}

/// One domain of a response.
#[derive(Default)]
struct NewDomain<'a> {
    configs: Vec<RateLimitConfig>,
    resources: Vec<&'a Any>,
}

/// Compiles the resources of a response, domain by domain. For a domain that does not compile, `before` stays. If there
/// are resources of which the domain is not known, each domain that the response lacks may be meant, and stays as well.
pub(super) fn judge(
    resources: &[Any],
    before: &ResourceSet,
    compile: impl Fn(&[RateLimitConfig]) -> Result<Policies, Problems>,
) -> Judged {
    let mut problems = Vec::new();
    let mut domains = BTreeMap::<String, NewDomain<'_>>::new();
    let mut is_any_unknown = false;
    for (at, resource) in resources.iter().enumerate() {
        match resource::read(resource, at) {
            Ok(config) => {
                is_any_unknown |= config.domain.is_empty();
                let domain = domains.entry(config.domain.clone()).or_default();
                domain.configs.push(config);
                domain.resources.push(resource);
            }
            Err(problem) => {
                is_any_unknown = true;
                problems.push(problem);
            }
        }
    }
    let mut policies: Vec<Policy> = Vec::new();
    let mut set = ResourceSet::default();
    let mut kept: Vec<&str> = Vec::new();
    for (domain, new) in &domains {
        match compile(&new.configs) {
            Ok(compiled) => {
                policies.extend(compiled.into_policies());
                let digest = Digest::of(new.resources.iter().copied());
                set.by_domain
                    .insert(domain.clone(), Domain { configs: (*new.configs).into(), digest });
            }
            Err(found) => {
                problems.extend(found.lines());
                kept.push(domain);
            }
        }
    }
    if is_any_unknown {
        kept.extend(
            before
                .by_domain
                .keys()
                .filter(|domain| !domains.contains_key(*domain))
                .map(|domain| &**domain),
        );
    }
    for domain in kept {
        let Some(old) = before.by_domain.get(domain) else { continue };
        match compile(&old.configs) {
            Ok(compiled) => {
                policies.extend(compiled.into_policies());
                set.by_domain.insert(domain.to_owned(), old.clone());
            }
            // It compiled before.
            Err(found) => problems.extend(found.lines()),
        }
    }
    let is_unchanged = set.has_content_of(before);
    Judged { policies: Policies::new(policies), set, is_unchanged, problems: told(&problems) }
}

impl ResourceSet {
    /// How many domains there are.
    pub(super) fn len(&self) -> usize {
        self.by_domain.len()
    }

    fn has_content_of(&self, other: &Self) -> bool {
        let digests =
            |set: &Self| set.by_domain.values().map(|domain| domain.digest).collect::<Vec<_>>();
        self.by_domain.keys().eq(other.by_domain.keys()) && digests(self) == digests(other)
    }
}

/// Faults as lines, and how many are omitted.
fn told(problems: &[String]) -> String {
    let mut lines: Vec<_> = problems.iter().take(MAX_PROBLEMS).cloned().collect();
    let omitted = problems.len().saturating_sub(MAX_PROBLEMS);
    if omitted > 0 {
        lines.push(format!("and {omitted} more; fix these first"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{self, Source};
    use crate::policy::fingerprint::FingerprintKey;
    use crate::xds::pb::ratelimit::config::ratelimit::v3 as wire;

    /// A resource whose only node has this key.
    fn config(name: &str, domain: &str, key: &str) -> Any {
        let node = wire::RateLimitDescriptor { key: key.to_owned(), ..Default::default() };
        resource::of(&wire::RateLimitConfig {
            name: name.to_owned(),
            domain: domain.to_owned(),
            descriptors: vec![node],
        })
    }

    /// Compiles to a policy whose table has the name of the key. Empty names are wrong, and so are two of a domain.
    fn compile(configs: &[RateLimitConfig]) -> Result<Policies, Problems> {
        let [RateLimitConfig { source, domain, descriptors, .. }] = configs else {
            return Err(Problems::of_path(Path::new("several"), "of one domain"));
        };
        let key = &descriptors[0].key;
        let text = format!(
            "domain: '{domain}'\ntables: [{{ name: '{key}', key: [k], rows: {{ all: unlimited }} }}]"
        );
        config::compile(&[Source { name: source.clone(), text }], FingerprintKey::fixed(0))
    }

    fn after(before: &ResourceSet, resources: &[Any]) -> Judged {
        judge(resources, before, compile)
    }

    fn of_policy(policy: &Policy) -> (&str, &str) {
        (policy.domain(), policy.tables()[0].name())
    }

    /// Each domain with the key of its configuration.
    fn in_force(judged: &Judged) -> Vec<(&str, &str)> {
        let set: Vec<_> = judged.set.by_domain.keys().map(|domain| &**domain).collect();
        let policies: Vec<_> = judged.policies.iter().map(of_policy).collect();
        assert!(policies.iter().map(|(domain, _)| *domain).eq(set), "{:?}", judged.set);
        policies
    }

    #[test]
    fn a_set_replaces_the_one_before() {
        let first = after(&ResourceSet::default(), &[config("a", "a", "1"), config("b", "b", "1")]);
        assert_eq!((in_force(&first), &*first.problems), (vec![("a", "1"), ("b", "1")], ""));
        assert!(!first.is_unchanged);
        let second = after(&first.set, &[config("a", "a", "2")]);
        assert_eq!((in_force(&second), &*second.problems), (vec![("a", "2")], ""));
        let none = after(&second.set, &[]);
        assert!(none.problems.is_empty() && none.set.len() == 0 && !none.is_unchanged);
        assert_eq!(in_force(&none), []);
    }

    #[test]
    fn a_bad_domain_stays_as_it_was_and_the_others_come_into_force() {
        let first = after(&ResourceSet::default(), &[config("a", "a", "1"), config("b", "b", "1")]);
        let bad = config("the resource", "a", "");
        let second = after(&first.set, &[bad.clone(), config("c", "c", "1")]);
        let is_told = second.problems.starts_with("the resource:");
        assert!(is_told && !second.is_unchanged, "{}", second.problems);
        // `b` is no longer there, and that is no problem.
        assert_eq!(in_force(&second), [("a", "1"), ("c", "1")]);
        // It stays through any number of bad ones.
        let third = after(&second.set, std::slice::from_ref(&bad));
        assert_eq!(in_force(&third), [("a", "1")]);
        let fourth = after(&third.set, &[bad]);
        assert!(fourth.is_unchanged && !fourth.problems.is_empty());
    }

    #[test]
    fn a_bad_domain_that_was_never_good_is_left_out() {
        let first = after(&ResourceSet::default(), &[config("a", "a", ""), config("b", "b", "1")]);
        assert_eq!((in_force(&first), first.is_unchanged), (vec![("b", "1")], false));
        let only_bad = after(&ResourceSet::default(), &[config("a", "a", "")]);
        assert!(only_bad.is_unchanged && !only_bad.problems.is_empty());
    }

    #[test]
    fn no_domain_is_removed_while_a_resource_may_be_its_own() {
        let first = after(&ResourceSet::default(), &[config("a", "a", "1"), config("b", "b", "1")]);
        let other = Any { type_url: "a.B".to_owned(), value: Vec::new() };
        for unknown in [other, config("b", "", "1")] {
            let next = after(&first.set, &[config("a", "a", "2"), unknown]);
            assert_eq!(in_force(&next), [("a", "2"), ("b", "1")]);
            assert_eq!(next.problems.lines().count(), 1, "{}", next.problems);
        }
    }

    #[test]
    fn resources_of_one_domain_are_compiled_together() {
        let twice = [config("a", "d", "1"), config("c", "c", "1"), config("b", "d", "2")];
        let judged = after(&ResourceSet::default(), &twice);
        assert_eq!(
            (in_force(&judged), &*judged.problems),
            (vec![("c", "1")], "several: of one domain")
        );
    }

    #[test]
    fn every_problem_is_told_up_to_a_number() {
        let bad: Vec<_> =
            (0..105).map(|at| config(&format!("r{at}"), &format!("d{at}"), "")).collect();
        let judged = after(&ResourceSet::default(), &bad);
        assert_eq!(judged.problems.lines().count(), MAX_PROBLEMS + 1);
        assert!(judged.problems.ends_with("\nand 5 more; fix these first"), "{}", judged.problems);
    }
}
