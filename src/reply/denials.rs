//! What is known of a policy's denials when the policy is loaded: all but the seconds to wait.
//!
//! It is written once, beside the handles of the policy's counters, so that a denial costs a call no more than an
//! admission.

use std::borrow::Cow;

use super::Place;
use crate::policy::denial::DenialBody;
use crate::policy::message::Message;
use crate::policy::rule::Rule;
use crate::policy::table::Row;
use crate::policy::{MatchedBucket, Policy};

/// The denials of one policy, by the number of their rule.
#[derive(Debug, Default)]
pub struct Denials {
    written: Box<[Denial]>,
    body: DenialBody,
}

#[derive(Debug)]
struct Denial {
    body: Box<[Box<str>]>,
    place: Box<[u8]>,
}

impl Denials {
    /// Writes the denials of a policy. `encode` gives the metadata that names a bucket's table, its row and the
    /// bucket in words, as it goes out.
    pub fn of(policy: &Policy, encode: impl Fn([&str; 3]) -> Box<[u8]>) -> Self {
        let body = policy.denial_body().clone();
        let mut written: Vec<_> = policy.rows().flat_map(rules).collect();
        written.sort_unstable_by_key(|(_, rule)| rule.id());
        let write = |(row, rule): (&Row, &Rule)| {
            let (table, name, bucket) = (row.table(), row.name(), rule.bucket());
            Denial {
                body: body.parts(row.message(), [table, name], bucket),
                place: encode([table, name, &bucket.to_string()]),
            }
        };
        Self { written: written.into_iter().map(write).collect(), body }
    }

    /// The media type of a body.
    pub fn content_type(&self) -> &str {
        self.body.content_type()
    }

    /// The body where this bucket denies, cut where the seconds to wait belong.
    pub fn body<'a>(&'a self, matched: &MatchedBucket<'_>) -> Cow<'a, [Box<str>]> {
        match self.written(matched) {
            Some(denial) => Cow::Borrowed(&denial.body),
            None => {
                let (message, names): (&Message, _) =
                    (matched.row.message(), [matched.row.table(), matched.row.name()]);
                Cow::Owned(self.body.parts(message, names, matched.bucket).into_vec())
            }
        }
    }

    /// Where this bucket stands.
    pub(super) fn place<'a>(&'a self, matched: &MatchedBucket<'a>) -> Place<'a> {
        match self.written(matched) {
            Some(denial) => Place::Written(&denial.place),
            None => {
                let (table, row) = (matched.row.table(), matched.row.name());
                Place::Named { table, row, bucket: matched.bucket.to_string() }
            }
        }
    }

    fn written(&self, matched: &MatchedBucket<'_>) -> Option<&Denial> {
        self.written.get(matched.rule?.id().get())
    }
}

fn rules(row: &Row) -> impl Iterator<Item = (&Row, &Rule)> {
    let of_overrides = row.overrides().iter().flat_map(|of| of.rules());
    row.rules().iter().chain(of_overrides).map(move |rule| (row, rule))
}
