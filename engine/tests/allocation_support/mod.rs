//! An allocator that counts what one thread asks of it, and remembers where that was.

#![allow(unreachable_pub, reason = "a test's own module")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};

/// Places that are remembered.
const PLACES: usize = 3;

struct Counting;

thread_local! {
    /// Whether allocations of this thread count now.
    static ON: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static FIRST: RefCell<Vec<(usize, Backtrace)>> = const { RefCell::new(Vec::new()) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn note(bytes: usize) {
    if !ON.try_with(Cell::get).unwrap_or(false) {
        return;
    }
    COUNT.set(COUNT.get() + 1);
    // What follows allocates, and does not count.
    ON.set(false);
    FIRST.with_borrow_mut(|first| {
        if first.len() < PLACES {
            first.push((bytes, Backtrace::force_capture()));
        }
    });
    ON.set(true);
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note(bytes);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

/// What some work did.
pub struct Counted<T> {
    pub output: T,
    allocations: usize,
    first: Vec<(usize, Backtrace)>,
}

impl<T> Counted<T> {
    /// Fails, and shows where memory was asked for, if that was more than `most` times.
    pub fn expect_at_most(&self, most: usize, what: &str) {
        for (bytes, place) in self.first.iter().filter(|_| self.allocations > most) {
            eprintln!("{bytes} bytes were asked for here:\n{place}");
        }
        assert!(
            self.allocations <= most,
            "{what}: {} allocations, {most} are promised",
            self.allocations
        );
    }
}

/// Does some work and counts the allocations of this thread meanwhile, those of other tasks on it
/// included.
pub async fn count<T>(work: impl AsyncFnOnce() -> T) -> Counted<T> {
    COUNT.set(0);
    FIRST.with_borrow_mut(Vec::clear);
    ON.set(true);
    let output = work().await;
    ON.set(false);
    Counted { output, allocations: COUNT.get(), first: FIRST.take() }
}
