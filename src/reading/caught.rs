//! A panic as an error.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Once;

/// A fault of the program's own, with what it said and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a fault in tollgate itself: {0}; please report it, with the file")]
pub struct Panicked(String);

thread_local! {
    /// Where a panic of this thread is to be told, if it is to be caught.
    static TOLD: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Does something, and makes a panic in it an error, which is told nowhere else.
///
/// # Errors
/// [`Panicked`] where it does.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !note(panic) {
                before(panic);
            }
        }));
    });
    let before = TOLD.replace(Some(String::new()));
    // What such work leaves behind half done is its own: what others see is swapped as a whole.
    let done = catch_unwind(AssertUnwindSafe(work));
    let told = TOLD.replace(before).unwrap_or_default();
    done.map_err(|_| Panicked(told))
}

/// Keeps what a panic says, where it is to be caught.
fn note(panic: &PanicHookInfo<'_>) -> bool {
    let said = panic.payload_as_str().unwrap_or("it does not say what");
    let place = panic.location().map(|place| format!(" ({}:{})", place.file(), place.line()));
    TOLD.try_with(|told| {
        let mut told = told.borrow_mut();
        let told = told.as_mut();
        told.is_some_and(|told| {
            *told = format!("{said}{}", place.unwrap_or_default());
            true
        })
    })
    .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_that_tells_what_and_where() {
        let panicked = caught(|| panic!("too {}", "much")).unwrap_err().to_string();
        let begins = "a fault in tollgate itself: too much (src/reading/caught.rs:";
        assert!(panicked.starts_with(begins), "{panicked}");
        assert_eq!(caught(|| 5), Ok(5));
        // Within another.
        let inner = caught(|| caught(|| panic!("inner")).is_err());
        assert_eq!(inner, Ok(true));
    }
}
