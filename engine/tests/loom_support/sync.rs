//! The names of `engine/src/sync.rs`, as loom models them.
//!
//! loom takes a sequentially consistent access for an acquiring or releasing one, which is less than
//! the language promises. Here each is led by a step in one order that all threads agree on, as
//! compilers lead it by a fence for machines that know no other: what is proved with these needs no
//! more than that. (A fence of loom's own would do, were it a point at which loom changes threads.)

#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test file uses its part")]

pub use loom::sync::Mutex;
use loom::sync::atomic::AtomicUsize;
pub use loom::sync::atomic::Ordering;
pub use std::sync::PoisonError;

loom::lazy_static! {
    static ref ORDER: AtomicUsize = AtomicUsize::new(0);
}

fn lead(ordering: Ordering) {
    if ordering == Ordering::SeqCst {
        ORDER.fetch_add(1, Ordering::AcqRel);
    }
}

#[derive(Debug)]
pub struct AtomicBool(loom::sync::atomic::AtomicBool);

impl AtomicBool {
    pub fn new(value: bool) -> Self {
        Self(loom::sync::atomic::AtomicBool::new(value))
    }

    pub fn load(&self, ordering: Ordering) -> bool {
        lead(ordering);
        self.0.load(ordering)
    }

    pub fn store(&self, value: bool, ordering: Ordering) {
        lead(ordering);
        self.0.store(value, ordering);
    }

    pub fn swap(&self, value: bool, ordering: Ordering) -> bool {
        lead(ordering);
        self.0.swap(value, ordering)
    }
}

#[derive(Debug)]
pub struct AtomicPtr<T>(loom::sync::atomic::AtomicPtr<T>);

impl<T> AtomicPtr<T> {
    pub fn new(value: *mut T) -> Self {
        Self(loom::sync::atomic::AtomicPtr::new(value))
    }

    pub fn load(&self, ordering: Ordering) -> *mut T {
        lead(ordering);
        self.0.load(ordering)
    }

    pub fn store(&self, value: *mut T, ordering: Ordering) {
        lead(ordering);
        self.0.store(value, ordering);
    }

    pub fn swap(&self, value: *mut T, ordering: Ordering) -> *mut T {
        lead(ordering);
        self.0.swap(value, ordering)
    }

    pub fn compare_exchange_weak(
        &self,
        current: *mut T,
        new: *mut T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<*mut T, *mut T> {
        lead(success);
        self.0.compare_exchange_weak(current, new, success, failure)
    }
}
