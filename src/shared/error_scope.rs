//! Whom an error concerns that comes instead of a decision.

use redis::RedisError;

/// The server decides nothing for anybody until it is another or in another state.
const SERVER_CODES: [&str; 6] = ["READONLY", "OOM", "LOADING", "MISCONF", "NOREPLICAS", "BUSY"];

/// Nobody is decided for over such a connection.
const CONNECTION_CODES: [&str; 4] = ["NOAUTH", "WRONGPASS", "CLUSTERDOWN", "MASTERDOWN"];

/// Whom an error concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorScope {
    /// Calls with the same keys, as far as one can see: a key holds something else, or this user may not write it.
    /// Others may be concerned as well; a probe tells.
    Keys,
    /// All calls that the same server decides.
    Server,
    /// All calls: the connection is of no use.
    All,
}

impl ErrorScope {
    /// That of an error. What no server answered concerns all.
    pub(super) fn of(error: &RedisError) -> Self {
        let Some(code) = error.code() else { return Self::All };
        // Servers before Redis 7 say what went wrong within a script behind words of their own.
        let within = |code: &str| error.detail().is_some_and(|detail| detail.contains(code));
        let is_one_of =
            |codes: &[&str]| codes.iter().any(|one| *one == code || within(&format!("-{one} ")));
        if is_one_of(&SERVER_CODES) {
            Self::Server
        } else if is_one_of(&CONNECTION_CODES) {
            Self::All
        } else {
            Self::Keys
        }
    }
}

/// Why the store is away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DownReason {
    /// In words.
    pub(super) text: String,
    /// The server's word for it, if it said one.
    pub(super) code: Option<String>,
}

impl From<&str> for DownReason {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), code: None }
    }
}

impl From<&RedisError> for DownReason {
    fn from(error: &RedisError) -> Self {
        let is_plain = |code: &&str| code.bytes().all(|byte| byte.is_ascii_uppercase());
        Self { text: error.to_string(), code: error.code().filter(is_plain).map(str::to_owned) }
    }
}

#[cfg(test)]
mod tests {
    use redis::ErrorKind;

    use super::*;

    fn scope(line: &str) -> ErrorScope {
        let answer = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        ErrorScope::of(&answer.extract_error().unwrap_err())
    }

    #[test]
    fn what_one_key_is_at_fault_for_concerns_its_calls() {
        for line in [
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "NOPERM No permissions to access a key",
            "ERR Error running script (call to f_1): @user_script:1: -WRONGTYPE Operation against a key",
            "ERR value is not an integer or out of range",
            "MOVED 1 127.0.0.1:1",
        ] {
            assert_eq!(scope(line), ErrorScope::Keys, "{line}");
        }
    }

    #[test]
    fn what_the_server_does_for_nobody_concerns_all_that_it_decides() {
        for line in [
            "READONLY You can't write against a read only replica.",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "LOADING Redis is loading the dataset in memory",
            "MISCONF Errors writing to the AOF file",
            "NOREPLICAS Not enough good replicas to write.",
            "BUSY Redis is busy running a script.",
            "ERR Error running script (call to f_1): @user_script:1: -OOM command not allowed",
        ] {
            assert_eq!(scope(line), ErrorScope::Server, "{line}");
        }
        for line in ["NOAUTH Authentication required.", "CLUSTERDOWN Hash slot not served"] {
            assert_eq!(scope(line), ErrorScope::All, "{line}");
        }
        let broken = RedisError::from((ErrorKind::Io, "broken pipe"));
        assert_eq!(ErrorScope::of(&broken), ErrorScope::All);
    }
}
