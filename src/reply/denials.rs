//! Denials, encoded when a policy is loaded: all of a denial but its seconds of `retry_after`, so that a denial costs a
//! call no more than an admission.

use std::borrow::Cow;

use super::Place;
use super::ietf::QuotaPolicies;
use crate::policy::denial::DenialBody;
use crate::policy::message::Piece;
use crate::policy::rule::Rule;
use crate::policy::table::Row;
use crate::policy::{MatchedBucket, Policy};

/// The encoded denials of one policy, by the number of their rule.
#[derive(Debug, Default)]
pub struct Denials {
    encoded: Box<[Denial]>,
    body: DenialBody,
    quota_policies: QuotaPolicies,
}

#[derive(Debug)]
struct Denial {
    body: Box<[Box<str>]>,
    place: Box<[u8]>,
}

impl Denials {
    /// Encodes the denials of a policy. `encode` encodes the metadata with a bucket's table, its row, and the
    /// bucket in words.
    pub fn of(policy: &Policy, encode: impl Fn([&str; 3]) -> Box<[u8]>) -> Self {
        if policy.is_tree() {
            // Its denials have neither a body nor a place.
            return Self::default();
        }
        let body = policy.denial_body().clone();
        let mut rules: Vec<_> = policy.rows().flat_map(rules).collect();
        rules.sort_unstable_by_key(|(_, rule)| rule.id());
        let denial = |(row, rule): (&Row, &Rule)| {
            let (table, name, bucket) = (row.table(), row.name(), rule.bucket());
            Denial {
                body: body.parts(row.message().pieces(bucket), [table, name], bucket),
                place: encode([table, name, &bucket.to_string()]),
            }
        };
        let encoded = rules.into_iter().map(denial).collect();
        Self { encoded, body, quota_policies: QuotaPolicies::of(policy) }
    }

    /// The quota policies that the headers of the IETF style name, on denials and other replies.
    pub(super) const fn quota_policies(&self) -> &QuotaPolicies {
        &self.quota_policies
    }

    /// The media type of the bodies.
    pub fn content_type(&self) -> &str {
        self.body.content_type()
    }

    /// The body of a denial by this bucket, split where the seconds of `retry_after` belong, and the bucket's place in
    /// the policy.
    pub(super) fn denial<'a>(
        &'a self,
        matched: &MatchedBucket<'a>,
    ) -> (Cow<'a, [Box<str>]>, Place<'a>) {
        match self.encoded(matched) {
            Some(denial) => (Cow::Borrowed(&denial.body), Place::Encoded(&denial.place)),
            None => {
                let body = self.body_of(matched.row.message().pieces(matched.bucket), matched);
                (body, Self::named_place(matched))
            }
        }
    }

    /// As [`Self::denial`], of a call of more hits than the bucket ever has. It is rare, and encoded when it happens.
    #[cold]
    pub(super) fn never<'a>(
        &'a self,
        matched: &MatchedBucket<'a>,
    ) -> (Cow<'a, [Box<str>]>, Place<'a>) {
        (self.body_of(matched.row.message().never(), matched), self.place(matched))
    }

    #[cold]
    fn body_of(&self, message: &[Piece], matched: &MatchedBucket<'_>) -> Cow<'_, [Box<str>]> {
        let names = [matched.row.table(), matched.row.name()];
        Cow::Owned(self.body.parts(message, names, matched.bucket).into_vec())
    }

    /// The bucket's place in the policy.
    pub(super) fn place<'a>(&'a self, matched: &MatchedBucket<'a>) -> Place<'a> {
        match self.encoded(matched) {
            Some(denial) => Place::Encoded(&denial.place),
            None => Self::named_place(matched),
        }
    }

    fn named_place<'a>(matched: &MatchedBucket<'a>) -> Place<'a> {
        let (table, row) = (matched.row.table(), matched.row.name());
        Place::Named { table, row, bucket: matched.bucket.to_string() }
    }

    fn encoded(&self, matched: &MatchedBucket<'_>) -> Option<&Denial> {
        self.encoded.get(matched.rule?.id().get())
    }
}

fn rules(row: &Row) -> impl Iterator<Item = (&Row, &Rule)> {
    let of_overrides = row.overrides().iter().flat_map(|of| of.rules());
    row.rules().iter().chain(of_overrides).map(move |rule| (row, rule))
}
