//! The templates of one method.

use std::collections::BTreeMap;

use matchit::Router;

use super::TemplateError;
use super::template::{Segment, Template};

/// Templates with their groups.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// Those without a rest.
    whole: Router<Target>,
    /// Those with a rest, without it, by the number of segments before it. `matchit` has rests of its own, but not beside a
    /// placeholder: `/a/{x}` and `/a/{*rest}` are a conflict there.
    before_rest: BTreeMap<usize, Router<Target>>,
}

#[derive(Debug)]
struct Target {
    group: Box<str>,
    segments: Box<[Segment]>,
}

impl Routes {
    pub(super) fn insert(&mut self, template: &Template, group: &str) -> Result<(), TemplateError> {
        let target = Target { group: group.into(), segments: template.segments.clone() };
        let router = match template.before_rest() {
            None => &mut self.whole,
            Some(before) => self.before_rest.entry(before).or_default(),
        };
        if router.insert(&*template.text, target).is_ok() {
            return Ok(());
        }
        let owner = router.at(&template.text).map_or("", |found| &found.value.group);
        Err(TemplateError::Taken(owner.to_owned()))
    }

    /// The group of the most specific template that matches: at the first segment in which two differ, a literal
    /// goes before a placeholder, and both go before a rest.
    pub(super) fn group(&self, path: &str) -> Option<&str> {
        let whole = self.whole.at(path).ok().map(|found| found.value);
        if self.before_rest.is_empty() {
            return whole.map(|target| &*target.group);
        }
        let rests = self.before_rest.iter().filter_map(|(before, router)| {
            Some(router.at(before_rest(path, *before)?).ok()?.value)
        });
        let found = rests.chain(whole).min_by(|one, other| one.segments.cmp(&other.segments));
        found.map(|target| &*target.group)
    }
}

/// The path up to and including the slash after `segments` segments; `None` if nothing follows it.
fn before_rest(path: &str, segments: usize) -> Option<&str> {
    let slash = memchr::memchr_iter(b'/', path.as_bytes()).nth(segments)?;
    let (before, rest) = path.split_at_checked(slash + 1)?;
    (!rest.is_empty()).then_some(before)
}
