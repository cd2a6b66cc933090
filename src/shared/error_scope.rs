//! Which calls an error of the store affects.

use redis::RedisError;

use crate::text::{printable, truncate};

/// Codes of a server that decides no call until it is replaced or its state changes.
const SERVER_CODES: [&str; 6] = ["READONLY", "OOM", "LOADING", "MISCONF", "NOREPLICAS", "BUSY"];

/// Codes that mean that no call succeeds over the connection.
const CONNECTION_CODES: [&str; 4] = ["NOAUTH", "WRONGPASS", "CLUSTERDOWN", "MASTERDOWN"];

/// Which calls an error affects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorScope {
    /// Calls with the same keys: a key has another type, or the user may not write it. Other calls may be affected,
    /// too; a probe finds out.
    Keys,
    /// All calls to the same server.
    Server,
    /// All calls over the connection.
    All,
}

impl ErrorScope {
    /// The scope of an error: all calls if it has no code, since then no server has replied.
    pub(super) fn of(error: &RedisError) -> Self {
        let Some(code) = error.code() else { return Self::All };
        // Servers before Redis 7 wrap the error of a command within a script in a message of their own.
        let is_wrapped = |code: &str| error.detail().is_some_and(|detail| detail.contains(code));
        let is_one_of = |codes: &[&str]| {
            codes.iter().any(|one| *one == code || is_wrapped(&format!("-{one} ")))
        };
        if is_one_of(&SERVER_CODES) {
            Self::Server
        } else if is_one_of(&CONNECTION_CODES) {
            Self::All
        } else {
            Self::Keys
        }
    }
}

/// An error in the server's own words, as `OOM command not allowed when used memory > 'maxmemory'.`; without a reply of
/// the server, in the client's. Control characters are escaped, and it is cut after
/// [`MAX_CHARS`](crate::text::MAX_CHARS) characters, since it goes into the log.
pub(super) fn words(error: &RedisError) -> Box<str> {
    let text = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    };
    truncate(&printable(&text))
}

/// Why the store is unavailable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DownReason {
    /// A description.
    pub(super) text: String,
    /// The server's error code, if it sent one.
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
        Self { text: words(error).into(), code: error.code().filter(is_plain).map(str::to_owned) }
    }
}

#[cfg(test)]
mod tests {
    use redis::ErrorKind;

    use super::*;

    fn error(line: &str) -> RedisError {
        let answer = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        answer.extract_error().unwrap_err()
    }

    fn scope(line: &str) -> ErrorScope {
        ErrorScope::of(&error(line))
    }

    #[test]
    fn an_error_of_one_key_affects_calls_with_that_key() {
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
    fn an_error_of_a_server_affects_all_calls_to_it() {
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
    #[test]
    fn an_error_is_told_in_the_servers_words_which_cannot_fill_or_break_a_line() {
        for line in [
            "READONLY You can't write against a read only replica.",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "NOAUTH Authentication required.",
            "ERR unknown command 'FCALL'",
        ] {
            assert_eq!(&*words(&error(line)), line);
        }
        assert_eq!(&*words(&error("OOM a\x1b[31m\tb")), "OOM a\\u{1b}[31m\\tb");
        let long = words(&error(&format!("OOM {}", "x".repeat(500))));
        assert_eq!(*long, format!("OOM {}…", "x".repeat(124)));
        let broken = RedisError::from((ErrorKind::Io, "broken pipe"));
        assert_eq!(*words(&broken), *broken.to_string());
    }
}
