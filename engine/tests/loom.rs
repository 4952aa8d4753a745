//! What other threads reach of the engine, in every interleaving and with every stale value that
//! the memory model allows.
//!
//! The files under test are the shipped ones, compiled here against loom's atomics.

#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../src/buffer/returns.rs"]
mod returns;
#[path = "loom_support/sync.rs"]
mod sync;
#[path = "../src/io/wakes.rs"]
mod wakes;

use std::future::poll_fn;
use std::ptr::{self, NonNull};
use std::task::Poll;

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Notify};
use loom::thread;
use returns::{Link, ReturnStack};
use sync::{AtomicBool, AtomicPtr, Ordering};
use wakes::{Queued, RemoteList};

/// A buffer: its holder reads or writes it, and then sends it home.
struct Node {
    link: AtomicPtr<Node>,
    content: UnsafeCell<u32>,
}

impl Link for Node {
    fn link(&self) -> &AtomicPtr<Self> {
        &self.link
    }
}

fn node() -> NonNull<Node> {
    let link = AtomicPtr::new(ptr::null_mut());
    NonNull::from(Box::leak(Box::new(Node { link, content: UnsafeCell::new(0) })))
}

/// A node on its way to another thread.
struct Sent(NonNull<Node>);

// SAFETY: a node is used by one thread at a time; loom watches that.
unsafe impl Send for Sent {}

impl Sent {
    /// Uses the node, as a holder does, and sends it home.
    fn go(self, stack: &ReturnStack<Node>, value: u32) {
        // SAFETY: the node is alive until the owner frees it, after the drain.
        unsafe {
            self.0.as_ref().content.with_mut(|content| *content = value);
            stack.push(self.0);
        }
    }
}

/// Reads a node that came home, and frees it.
fn take(node: NonNull<Node>) -> u32 {
    // SAFETY: it came from `Box::leak`, and the stack gives it out once.
    let node = unsafe { Box::from_raw(node.as_ptr()) };
    // SAFETY: the owner has the node for itself; loom objects otherwise.
    node.content.with(|content| unsafe { *content })
}

/// Every interleaving with at most two changes of threads at other points than waits: with all of
/// them, three threads take minutes.
fn bounded(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

#[test]
fn every_buffer_comes_home_once_with_all_that_was_done_to_it() {
    bounded(|| {
        let stack = Arc::new(ReturnStack::new());
        let threads: Vec<_> = [1, 2]
            .map(|value| {
                let (stack, sent) = (Arc::clone(&stack), Sent(node()));
                thread::spawn(move || sent.go(&stack, value))
            })
            .into();
        let mut seen = Vec::new();
        stack.drain(|node| seen.push(take(node)));
        for thread in threads {
            thread.join().unwrap();
        }
        stack.drain(|node| seen.push(take(node)));
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
    });
}

#[test]
fn an_owner_that_waits_for_a_buffer_is_woken_by_its_return() {
    loom::model(|| {
        let stack = Arc::new(ReturnStack::new());
        let (there, sent) = (Arc::clone(&stack), Sent(node()));
        let holder = thread::spawn(move || sent.go(&there, 7));
        let mut seen = None;
        // As the pool does it: the waker first, then the look.
        loom::future::block_on(poll_fn(|context| {
            stack.wake_on_return(context.waker());
            stack.drain(|node| seen = Some(take(node)));
            if seen.is_some() { Poll::Ready(()) } else { Poll::Pending }
        }));
        assert_eq!(seen, Some(7));
        holder.join().unwrap();
        stack.forget_waker();
    });
}

/// A task of the executor and what it waits for.
struct Task {
    queued: Queued,
    remote: RemoteList<()>,
    ready: [AtomicBool; 2],
    /// The eventfd, or what parks the thread.
    unpark: Notify,
}

/// Wakes the task from a thread of its own, as `Wakeup::wake_by_ref` does it.
fn wake(task: &Task, which: usize) {
    task.ready[which].store(true, Ordering::Relaxed);
    if task.queued.enter() && task.remote.push(()) {
        task.unpark.notify();
    }
}

/// Polls the task, queued once already, until it has seen everything, as `Executor::block_on` does it.
fn run(task: &Task, wanted: usize) {
    let mut local = 1;
    loop {
        task.remote.take(|()| local += 1);
        if local == 0 {
            task.unpark.wait();
            continue;
        }
        local -= 1;
        task.queued.leave();
        let ready = task.ready.iter().filter(|ready| ready.load(Ordering::Relaxed)).count();
        if ready == wanted {
            return;
        }
    }
}

fn wakers(count: usize) {
    bounded(move || {
        let task = Arc::new(Task {
            queued: Queued::new(),
            remote: RemoteList::new(),
            ready: [AtomicBool::new(false), AtomicBool::new(false)],
            unpark: Notify::new(),
        });
        assert!(task.queued.enter(), "the first wake is the owner's own");
        let threads: Vec<_> = (0..count)
            .map(|which| {
                let task = Arc::clone(&task);
                thread::spawn(move || wake(&task, which))
            })
            .collect();
        run(&task, count);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_task_that_another_thread_wakes_sees_what_it_was_woken_for() {
    wakers(1);
}

#[test]
fn no_wake_is_lost_between_two_threads_that_wake_the_same_task() {
    wakers(2);
}

#[test]
fn of_two_threads_that_wake_two_tasks_one_unparks_the_owner_for_both() {
    bounded(|| {
        let shared = Arc::new((RemoteList::new(), Notify::new()));
        let threads: Vec<_> = (0..2)
            .map(|task| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    if shared.0.push(task) {
                        shared.1.notify();
                    }
                })
            })
            .collect();
        let mut woken = 0;
        loop {
            shared.0.take(|_| woken += 1);
            if woken == 2 {
                break;
            }
            shared.1.wait();
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_wake_while_the_owner_goes_is_dropped_by_one_of_them() {
    bounded(|| {
        let (list, item) = (Arc::new(RemoteList::new()), Arc::new(()));
        let waker = {
            let (list, item) = (Arc::clone(&list), Arc::clone(&item));
            thread::spawn(move || list.push(item))
        };
        list.close();
        let _unparks = waker.join().unwrap();
        assert_eq!(Arc::strong_count(&item), 1);
    });
}
