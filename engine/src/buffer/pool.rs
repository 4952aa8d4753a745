//! What a pool's handles and buffers share.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::Registrar;
use super::block::{Block, Returns};
use super::handle::BufferMut;
use super::region::{Change, Memory};
use crate::limits::BLOCK;

/// Lets go of buffers that can be had again; told the bytes wanted.
type Reclaimer = Rc<dyn Fn(usize)>;

pub(super) struct Pool {
    budget: usize,
    memory: RefCell<Memory>,
    returns: Arc<Returns>,
    waiters: RefCell<VecDeque<(u64, Waker)>>,
    next_waiter: Cell<u64>,
    reclaimer: RefCell<Option<Reclaimer>>,
    reclaiming: Cell<bool>,
    registrar: RefCell<Option<Rc<dyn Registrar>>>,
    /// The ring refused a region, and is asked no more until one is unregistered.
    is_refused: Cell<bool>,
}

impl Pool {
    pub(super) fn new(budget: usize) -> Self {
        Self {
            budget,
            memory: RefCell::default(),
            returns: Arc::new(Returns::new()),
            waiters: RefCell::default(),
            next_waiter: Cell::new(0),
            reclaimer: RefCell::default(),
            reclaiming: Cell::new(false),
            registrar: RefCell::default(),
            is_refused: Cell::new(false),
        }
    }

    pub(super) fn try_acquire(self: &Rc<Self>, capacity: usize) -> Option<BufferMut> {
        let capacity = capacity.max(1).checked_next_multiple_of(BLOCK)?;
        let mut block = self.take(capacity);
        let reclaim = self.reclaimer.borrow().clone();
        if let Some(reclaim) = reclaim {
            while block.is_none() && !self.reclaiming.get() {
                let used_before = self.used();
                self.reclaiming.set(true);
                reclaim(capacity);
                self.reclaiming.set(false);
                if self.used() >= used_before {
                    break;
                }
                block = self.take(capacity);
            }
        }
        // SAFETY: the block was free until now, so the new handle is its only one.
        block.map(|block| unsafe { BufferMut::new(block, capacity, Rc::clone(self)) })
    }

    pub(super) fn try_acquire_spare(self: &Rc<Self>, capacity: usize) -> Option<BufferMut> {
        if self.has_waiters() {
            return None;
        }
        let capacity = capacity.max(1).checked_next_multiple_of(BLOCK)?;
        let used_before = self.used();
        let block = self.take(capacity)?;
        // SAFETY: the block was free until now, so the new handle is its only one.
        let buffer = unsafe { BufferMut::new(block, capacity, Rc::clone(self)) };
        let taken = self.memory.borrow().used - used_before;
        // A class is less than twice what is asked of it.
        (taken < 2 * capacity).then_some(buffer)
    }

    fn take(&self, bytes: usize) -> Option<NonNull<Block>> {
        self.drain();
        // Allocates only when memory is mapped or unmapped.
        let mut changes = Vec::new();
        let block = self.memory.borrow_mut().take(bytes, self.budget, &mut changes);
        for change in changes {
            match change {
                Change::Mapped(number) => self.register(number),
                Change::Unmapping(region) => {
                    if let (Some(fixed), Some(registrar)) =
                        (region.fixed(), self.registrar.borrow().as_ref())
                    {
                        registrar.unregister(fixed);
                        // What limits the memory that may be registered has become less.
                        self.is_refused.set(false);
                    }
                }
            }
        }
        block
    }

    /// Offers one region to the ring. At the first refusal the ring is asked no more, unless it
    /// refused a large one, where it may still take a small one.
    fn register(&self, number: u32) {
        if self.is_refused.get() {
            return;
        }
        let Some(registrar) = self.registrar.borrow().clone() else { return };
        let mut memory = self.memory.borrow_mut();
        let Some(region) = memory.region_mut(number) else { return };
        match registrar.register(region.address(), region.length()) {
            Some(fixed) => region.set_fixed(Some(fixed)),
            None => self.is_refused.set(region.class.is_some()),
        }
    }

    pub(super) fn set_registrar(&self, registrar: Rc<dyn Registrar>) {
        *self.registrar.borrow_mut() = Some(registrar);
        self.is_refused.set(false);
        let numbers: Vec<u32> = self.memory.borrow().regions().map(|(number, _)| number).collect();
        numbers.into_iter().for_each(|number| self.register(number));
    }

    pub(super) fn set_reclaimer(&self, reclaimer: Reclaimer) {
        *self.reclaimer.borrow_mut() = Some(reclaimer);
    }

    pub(super) fn budget(&self) -> usize {
        self.budget
    }

    pub(super) fn used(&self) -> usize {
        self.drain();
        self.memory.borrow().used
    }

    pub(super) fn mapped(&self) -> usize {
        self.memory.borrow().mapped
    }

    pub(super) fn returns(&self) -> &Arc<Returns> {
        &self.returns
    }

    /// Takes in what other threads let go.
    fn drain(&self) {
        self.returns.drain(|block| {
            // SAFETY: a block on the return stack has no holder any more.
            unsafe { self.memory.borrow_mut().give_back(block) };
        });
    }

    /// Takes back a block on the pool's own thread.
    ///
    /// # Safety
    ///
    /// Nobody holds the block or any part of it any more.
    pub(super) unsafe fn give_back(&self, block: NonNull<Block>) {
        // SAFETY: passed on to the caller.
        unsafe { self.memory.borrow_mut().give_back(block) };
        self.wake_first();
    }

    pub(super) fn has_waiters(&self) -> bool {
        !self.waiters.borrow().is_empty()
    }

    fn wake_first(&self) {
        let first = self.waiters.borrow().front().map(|(_, waker)| waker.clone());
        if let Some(waker) = first {
            waker.wake();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.drain();
        let memory = self.memory.take();
        if let Some(registrar) = self.registrar.take() {
            let fixed: Vec<_> = memory.regions().filter_map(|(_, r)| r.fixed()).collect();
            fixed.into_iter().for_each(|fixed| registrar.unregister(fixed));
        }
        // SAFETY: called once, here, and the reference in `self.returns` goes with `self`. Every
        // handle on this thread holds the pool, so what is left out are views, which hold
        // `returns`.
        unsafe { self.returns.adopt(memory) };
    }
}

/// A place in the queue of those who wait for a buffer; given up on drop.
pub(super) struct Wait<'a> {
    pool: &'a Rc<Pool>,
    ticket: u64,
    queued: bool,
}

impl<'a> Wait<'a> {
    pub(super) fn new(pool: &'a Rc<Pool>) -> Self {
        let ticket = pool.next_waiter.get();
        pool.next_waiter.set(ticket + 1);
        Self { pool, ticket, queued: false }
    }

    /// Ready when it is this waiter's turn to try. The waker is woken when a buffer comes back.
    pub(super) fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut waiters = self.pool.waiters.borrow_mut();
        if self.queued {
            if let Some((_, waker)) = waiters.iter_mut().find(|(t, _)| *t == self.ticket) {
                waker.clone_from(context.waker());
            }
        } else {
            waiters.push_back((self.ticket, context.waker().clone()));
            self.queued = true;
        }
        if waiters.front().is_some_and(|(ticket, _)| *ticket == self.ticket) {
            // Before the caller looks, so that a return in between wakes us.
            self.pool.returns.wake_on_return(context.waker());
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.queued {
            self.pool.waiters.borrow_mut().retain(|(ticket, _)| *ticket != self.ticket);
            // There may be enough for the next one too.
            self.pool.wake_first();
        }
    }
}
