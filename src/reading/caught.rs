//! A panic as an error.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Once;

/// A bug in tollgate: the message of a panic and its location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a fault in tollgate itself: {0}; please report it, with the file")]
pub struct Panicked(String);

thread_local! {
    /// The message of a panic on this thread, if [`caught`] runs.
    static MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Calls `work`, and returns a panic in it as an error. The panic is not printed.
///
/// # Errors
/// [`Panicked`] if `work` panics.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !record(panic) {
                before(panic);
            }
        }));
    });
    let before = MESSAGE.replace(Some(String::new()));
    // Sound to assert: `work` publishes its results as a whole, so that others see no half-done state.
    let done = catch_unwind(AssertUnwindSafe(work));
    let message = MESSAGE.replace(before).unwrap_or_default();
    done.map_err(|_| Panicked(message))
}

/// Keeps the message of a panic if [`caught`] runs, and returns whether it does.
fn record(panic: &PanicHookInfo<'_>) -> bool {
    let text = panic.payload_as_str().unwrap_or("no message");
    let location =
        panic.location().map(|location| format!(" ({}:{})", location.file(), location.line()));
    MESSAGE
        .try_with(|message| {
            let mut message = message.borrow_mut();
            let message = message.as_mut();
            message.is_some_and(|message| {
                *message = format!("{text}{}", location.unwrap_or_default());
                true
            })
        })
        .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_message_and_location() {
        let panicked = caught(|| panic!("too {}", "much")).unwrap_err().to_string();
        let begins = "a fault in tollgate itself: too much (src/reading/caught.rs:";
        assert!(panicked.starts_with(begins), "{panicked}");
        assert_eq!(caught(|| 5), Ok(5));
        // Nested.
        let inner = caught(|| caught(|| panic!("inner")).is_err());
        assert_eq!(inner, Ok(true));
    }
}
