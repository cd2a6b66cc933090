//! Lines of fields that come by name, in any order.

use std::collections::{HashMap, HashSet};

use smallvec::SmallVec;

use crate::error::LineError;
use crate::names;
use crate::record::{self, Asked, Found, Record, When};
use crate::request::Part;
use crate::time::Time;
use crate::unescape::Raw;

/// What a field is used for, and how many others would be better for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Use {
    target: Target,
    rank: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// A part of it is the wanted field at this position.
    Field(usize, Part),
    Time,
    Duration,
}

/// The names of all fields that are of use.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    uses: HashMap<Box<[u8]>, Box<[Use]>>,
    /// What these names begin with, up to each dot.
    prefixes: HashSet<Box<[u8]>>,
    /// The length of the longest: a longer name is not looked at, however often it comes.
    longest: usize,
    asked: Asked,
}

impl Names {
    pub(crate) fn new(asked: &Asked) -> Self {
        let mut uses: HashMap<&str, Vec<Use>> = HashMap::new();
        let rank = |at: usize| u8::try_from(at).unwrap_or(u8::MAX - 1);
        for (position, aliases) in asked.fields.iter().enumerate() {
            for (at, alias) in aliases.iter().enumerate() {
                let target = Target::Field(position, alias.part);
                uses.entry(&alias.name).or_default().push(Use { target, rank: rank(at) });
            }
        }
        for (at, time) in asked.times.iter().enumerate() {
            uses.entry(&time.name).or_default().push(Use { target: Target::Time, rank: rank(at) });
        }
        for (at, duration) in asked.durations.iter().enumerate() {
            // Several that add up are columns of a load balancer's text.
            if let [name] = duration.names.as_slice() {
                let of = Use { target: Target::Duration, rank: rank(at) };
                uses.entry(name).or_default().push(of);
            }
        }
        let dots =
            uses.keys().flat_map(|name| name.match_indices('.').map(|(at, _)| name.split_at(at).0));
        let prefixes = dots.map(|prefix| prefix.as_bytes().into()).collect();
        let longest = uses.keys().map(|name| name.len()).max().unwrap_or(0);
        let uses = uses.into_iter().map(|(name, uses)| (name.as_bytes().into(), uses.into()));
        Self { uses: uses.collect(), prefixes, longest, asked: asked.clone() }
    }

    /// What the field of this name is used for.
    pub(crate) fn uses(&self, name: &[u8]) -> &[Use] {
        if name.len() > self.longest {
            return &[];
        }
        self.uses.get(name).map_or(&[], |uses| uses)
    }

    /// Whether fields are of use whose names begin with this one and a dot.
    pub(crate) fn has_below(&self, name: &[u8]) -> bool {
        name.len() <= self.longest && self.prefixes.contains(name)
    }

    /// The fields of one record, of which none was seen yet.
    pub(crate) fn gather<'l>(&self) -> Gathered<'l> {
        let fields = self.asked.fields.iter().map(|_| (u8::MAX, None)).collect();
        Gathered { fields, time: None, duration: None }
    }

    /// Hands over a record. The names that were gathered are those of this.
    pub(crate) fn finish(
        &self,
        gathered: &Gathered<'_>,
        scratch: &mut Vec<u8>,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<(), LineError> {
        self.emit(self.when(gathered)?, gathered, scratch, each);
        Ok(())
    }

    /// Hands over a record of this time.
    pub(crate) fn emit(
        &self,
        when: When,
        gathered: &Gathered<'_>,
        scratch: &mut Vec<u8>,
        each: &mut dyn FnMut(Record<'_>),
    ) {
        record::emit(when, gathered.fields.iter().map(|(_, found)| *found), scratch, each);
    }

    fn when(&self, gathered: &Gathered<'_>) -> Result<When, LineError> {
        let Some((rank, raw)) = gathered.time else { return Err(self.no_time()) };
        let Some(name) = self.asked.times.get(usize::from(rank)) else {
            return Err(self.no_time());
        };
        let Some(time) = Time::read(&raw.value()) else {
            let name = name.name.escape_debug();
            let message =
                format!("a time in `{name}`, such as 2024-05-17T10:05:03.123Z or 1715940303.123");
            return Err(LineError::new(0, message));
        };
        let of = gathered
            .duration
            .and_then(|(rank, raw)| Some((self.asked.durations.get(usize::from(rank))?, raw)));
        let duration = of.and_then(|(of, raw)| {
            let may_be_caddys = of.may_be_caddys && names::may_be_caddys(&name.name);
            record::duration([Some(&*raw.value())], of.unit, may_be_caddys)
        });
        let is_beside_end = of.is_some_and(|(of, _)| of.is_beside_end);
        let is_end = name.is_end.unwrap_or(is_beside_end || self.asked.is_end);
        Ok(When { time, is_end, duration })
    }

    fn no_time(&self) -> LineError {
        let names: Vec<_> =
            self.asked.times.iter().map(|time| time.name.escape_debug().to_string()).collect();
        LineError::new(0, format!("a field with the time, one of: {}", names.join(", ")))
    }
}

/// What was seen of one record.
#[derive(Debug)]
pub(crate) struct Gathered<'l> {
    /// With the rank of the name under which each was found.
    fields: SmallVec<[(u8, Option<Found<'l>>); 16]>,
    time: Option<(u8, Raw<'l>)>,
    duration: Option<(u8, Raw<'l>)>,
}

impl<'l> Gathered<'l> {
    /// Takes a field. Of two with the same name the last counts, of two names the better one.
    pub(crate) fn put(&mut self, uses: &[Use], raw: Raw<'l>) {
        for of in uses {
            let is_better = |than: &Option<(u8, Raw<'_>)>| {
                than.is_none_or(|(rank, _)| of.rank <= rank) && !raw.is_absent()
            };
            match of.target {
                Target::Field(position, part) => {
                    if let Some(slot) = self.fields.get_mut(position)
                        && of.rank <= slot.0
                        && let Some(found) = record::found(raw, part)
                    {
                        *slot = (of.rank, Some(found));
                    }
                }
                Target::Time if is_better(&self.time) => self.time = Some((of.rank, raw)),
                Target::Duration if is_better(&self.duration) => {
                    self.duration = Some((of.rank, raw))
                }
                Target::Time | Target::Duration => {}
            }
        }
    }
}
