//! The calls of the script in Redis or Valkey, and its replies; the connections are elsewhere.
//!
//! The server decides a request in one step, by the script on its own clock. The script only compares and adds. It
//! returns the time and the state of each bucket before the charge. Outcomes are computed from these by the functions
//! that decide in memory, so that both stores give the same ones.

mod reply;
mod request;

use super::Charge;
use super::counter::Counter;
use crate::limit::Bucket;

pub use self::reply::{ObservedState, Released, ScriptReply, State, written_interval};
pub use self::request::{
    KeyNames, LimitTimes, NewLease, ScriptCall, charge, decide, lease_key, lease_partition,
    lengthen, probe, refund, release,
};
pub use super::field::Field;

/// The script, in Lua. It defines three functions with keys and arguments: `decide`, `release` and `lengthen`.
const DECIDE: &str = include_str!("script/decide.lua");

/// The usual calls of `decide`, in Lua: `charge`, and `spelled_out` for those that it leaves to `decide`. It needs nothing
/// of [`DECIDE`].
const CHARGE: &str = include_str!("script/charge.lua");

/// A function of the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// What a call of [`charge`] calls.
    Charge,
    /// What a call of [`decide`] or [`refund`] calls.
    Decide,
    /// What a call of [`release`] calls.
    Release,
    /// What a call of [`lengthen`] calls.
    Lengthen,
}

impl Function {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Charge, Self::Decide, Self::Release, Self::Lengthen];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Decide => "decide",
            Self::Release => "release",
            Self::Lengthen => "lengthen",
        }
    }

    /// The script that calls it with its keys and arguments.
    pub fn script(self) -> String {
        let decide = without_comments(DECIDE);
        match self {
            // Each call runs the whole text, so that what is usual comes before what it does not need.
            Self::Charge => {
                let charge = without_comments(CHARGE);
                format!(
                    "{charge}\nlocal charged = charge(KEYS, ARGV)\nif charged then return charged end\n{decide}\n\
                     return decide(KEYS, spelled_out(KEYS, ARGV))\n"
                )
            }
            other => format!("{decide}\nreturn {}(KEYS, ARGV)\n", other.name()),
        }
    }

    /// What calls it among the functions of [`library`].
    fn registered(self) -> &'static str {
        match self {
            Self::Charge => {
                "function(KEYS, ARGV) return charge(KEYS, ARGV) or decide(KEYS, spelled_out(KEYS, ARGV)) end"
            }
            other => other.name(),
        }
    }
}

/// The library of all functions, which are named `tollgate_`, `version` and their [names](Function::name).
pub fn library(version: &str) -> String {
    let code = [DECIDE, CHARGE].map(without_comments).concat();
    let registered = Function::ALL.map(|function| {
        let (name, own) = (function.name(), function.registered());
        format!("redis.register_function('tollgate_{version}_{name}', {own})\n")
    });
    format!("#!lua name=tollgate_{version}\n{code}\n{}", registered.concat())
}

/// Lua as it is sent: without comments and indentation. Redis reads at most 16 KiB of a client that has not logged in,
/// and would close the connection without saying that a login is needed.
pub fn without_comments(text: &str) -> String {
    let lines = text.lines().map(str::trim_start);
    let code = lines.filter(|line| !line.is_empty() && !line.starts_with("--"));
    code.flat_map(|line| [line, "\n"]).collect()
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Whether a charge takes slots if it is admitted.
pub fn takes_slots(charge: &Charge<'_>) -> bool {
    is_concurrency(charge) && charge.hits.charged() > 0
}

/// Whether a bucket has a key. A blocked one has none, since it has no state.
pub const fn has_key(charge: &Charge<'_>) -> bool {
    !matches!(charge.bucket, Bucket::Blocked(_))
}

const fn is_counter(charge: &Charge<'_>) -> bool {
    Counter::of(charge.bucket).is_some()
}

const fn is_concurrency(charge: &Charge<'_>) -> bool {
    matches!(charge.bucket, Bucket::Concurrency(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_reads_the_whole_script_before_a_login() {
        // The command around it takes a few more.
        let most = 16 * 1024 - 100;
        assert!(library("0123456789ab").len() < most, "{}", library("0123456789ab").len());
        for function in Function::ALL {
            assert!(function.script().len() < most, "{function:?}: {}", function.script().len());
        }
    }
}
