//! Panics of the engine are failures like others: caught, and told with where they happened.

use std::cell::RefCell;

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps what a panic says instead of printing it.
pub(crate) fn keep_quiet() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        LAST.with(|last| last.replace(text));
    }));
}

/// What this thread's last panic said.
pub(crate) fn last() -> String {
    LAST.with(|last| last.borrow().replace('\n', " "))
}
