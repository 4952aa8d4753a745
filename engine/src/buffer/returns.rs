//! The way home for buffers that are let go on another thread.

use std::ptr::{self, NonNull};
use std::task::Waker;

use crate::sync::{AtomicPtr, Ordering};

/// What can lie on a [`ReturnStack`].
pub(crate) trait Link: Sized {
    /// The link to the next below; it belongs to the stack from the push to the drain.
    fn link(&self) -> &AtomicPtr<Self>;
}

/// A stack of nodes on their way home (a Treiber stack that is only ever emptied whole, so that it
/// has no ABA problem), and the owner's waker while it waits for one.
pub(crate) struct ReturnStack<N> {
    head: AtomicPtr<N>,
    /// A boxed waker of the owner's thread that waits for a node, or null.
    waiting: AtomicPtr<Waker>,
}

impl<N: Link> ReturnStack<N> {
    pub(crate) fn new() -> Self {
        Self { head: AtomicPtr::new(ptr::null_mut()), waiting: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Sends a node home, from any thread. The node is the owner's again from here on.
    ///
    /// # Safety
    ///
    /// The node is alive until it is drained, and nobody uses it but through the stack.
    pub(crate) unsafe fn push(&self, node: NonNull<N>) {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // SAFETY: until the exchange succeeds the node is ours, and alive.
            unsafe { node.as_ref() }.link().store(head, Ordering::Relaxed);
            match self.head.compare_exchange_weak(
                head,
                node.as_ptr(),
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(current) => head = current,
            }
        }
        // The owner stores its waker before it looks at the stack, and we look for a waker after
        // the node lies on it; both are sequentially consistent, so one of us sees the other.
        if let Some(waker) = self.take_waker() {
            waker.wake();
        }
    }

    fn take_waker(&self) -> Option<Waker> {
        if self.waiting.load(Ordering::SeqCst).is_null() {
            return None;
        }
        let waker = self.waiting.swap(ptr::null_mut(), Ordering::SeqCst);
        // SAFETY: a non-null pointer here came from `Box::into_raw`, and the swap made it ours.
        (!waker.is_null()).then(|| *unsafe { Box::from_raw(waker) })
    }

    /// Asks for `waker` to be woken by the next node that comes home.
    pub(crate) fn wake_on_return(&self, waker: &Waker) {
        let new = Box::into_raw(Box::new(waker.clone()));
        let old = self.waiting.swap(new, Ordering::SeqCst);
        if !old.is_null() {
            // SAFETY: it came from `Box::into_raw`, and the swap made it ours.
            drop(unsafe { Box::from_raw(old) });
        }
    }

    /// Takes every node that came home. Only the owner's thread calls this.
    pub(crate) fn drain(&self, mut each: impl FnMut(NonNull<N>)) {
        if self.head.load(Ordering::SeqCst).is_null() {
            return;
        }
        let mut next = self.head.swap(ptr::null_mut(), Ordering::SeqCst);
        while let Some(node) = NonNull::new(next) {
            // SAFETY: nodes on the stack are alive; the link is read before the node is reused.
            next = unsafe { node.as_ref() }.link().load(Ordering::Relaxed);
            each(node);
        }
    }

    /// Forgets the waker, if one waits. For the end of the stack's life.
    pub(crate) fn forget_waker(&self) {
        drop(self.take_waker());
    }
}
