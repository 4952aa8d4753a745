//! Whether a bell has been rung since its owner last looked.

use crate::sync::{AtomicBool, Ordering};

/// One flag: set by those who push, cleared by the one who looks.
pub(crate) struct Rung(AtomicBool);

impl Rung {
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// After a push: whether the caller is the first since the owner looked, and so must wake it.
    pub(crate) fn ring(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Before the owner looks.
    ///
    /// It reads what it overwrites: whoever found the bell rung, and so left it at that, has pushed
    /// what the owner is about to see.
    pub(crate) fn clear(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }
}
