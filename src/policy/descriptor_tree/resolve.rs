//! From a query to the buckets that its descriptors match in a tree.

use smallvec::SmallVec;

use super::{Base, DescriptorTree, NameId, Row, Salt, entries_in_tree};
use crate::descriptor::{Descriptor, Entry, Query};
use crate::limit::Bucket;
use crate::policy::fingerprint::Fingerprint;
use crate::policy::rule::Rule;
use crate::policy::{MatchedBucket, Plan, Policy};

/// The names that the limits of a query replace.
type Replaced = SmallVec<[NameId; 8]>;

impl Policy {
    /// Adds every bucket that a query matches in the policy's tree to an empty plan.
    pub(in crate::policy) fn resolve_in_tree<'a>(
        &'a self,
        tree: &'a DescriptorTree,
        query: &'a Query<'_>,
        plan: &mut Plan<'a>,
    ) {
        plan.is_tree = true;
        plan.is_excused = tree.settings.is_shadow;
        let mut replaced = Replaced::new();
        for (at, descriptor) in query.descriptors().enumerate() {
            if let Some(limit) = descriptor.limit_override() {
                let row = &self.limit_override;
                plan.matched.push(self.window_of(tree, at, descriptor, row, limit.window(), None));
            } else if let Some(row) = tree.find(descriptor.entries()) {
                if let Some(of_tree) = &row.of_tree {
                    replaced.extend_from_slice(&of_tree.replaces);
                }
                match row.rules.first() {
                    Some(rule) => {
                        let (bucket, rule) = (&rule.bucket, Some(rule));
                        plan.matched.push(self.window_of(tree, at, descriptor, row, bucket, rule));
                    }
                    None => plan.unlimited.push(at),
                }
                plan.is_matched = true;
            } else {
                plan.has_open_quota |= tree.settings.is_quota;
            }
        }
        if !replaced.is_empty() {
            replace(replaced, tree, plan);
        }
    }

    fn window_of<'a>(
        &self,
        tree: &DescriptorTree,
        descriptor: usize,
        of: Descriptor<'a>,
        row: &'a Row,
        bucket: &'a Bucket,
        rule: Option<&'a Rule>,
    ) -> MatchedBucket<'a> {
        let salt = rule.map_or_else(|| tree.salt_of(bucket), |rule| rule.salt);
        let fingerprint = self.name_in_tree(of.entries(), row, salt);
        MatchedBucket { descriptor, row, bucket, rule, fingerprint, hits: of.hits(), debt: None }
    }

    /// The name of the bucket of a descriptor with these entries.
    pub(in crate::policy) fn name_in_tree(
        &self,
        entries: &[Entry<'_>],
        row: &Row,
        salt: Salt,
    ) -> Fingerprint {
        let base = match &row.of_tree {
            Some(of_tree) if !of_tree.shared.is_empty() => {
                Base::of_entries(self.key, entries_in_tree(row, entries))
            }
            _ => Base::of_entries(self.key, entries.iter().copied()),
        };
        base.salted(salt)
    }
}

/// Removes the limits with these names from a plan. Each replaces others even if it is itself replaced.
#[cold] // Few configurations have such limits.
fn replace(mut replaced: Replaced, tree: &DescriptorTree, plan: &mut Plan<'_>) {
    replaced.sort_unstable();
    let before = plan.matched.len();
    plan.matched.retain(|matched| {
        let name = matched.row.of_tree.as_ref().and_then(|of_tree| of_tree.name);
        name.is_none_or(|name| replaced.binary_search(&name).is_err())
    });
    plan.has_open_quota |= tree.settings.is_quota && plan.matched.len() < before;
}
