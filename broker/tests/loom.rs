//! The bell between shards, in every interleaving and with every stale value that the memory model
//! allows.
//!
//! The file under test is the shipped one, compiled here against loom's atomics.

#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../src/shard/rung.rs"]
mod rung;
#[path = "../../engine/tests/loom_support/sync.rs"]
mod sync;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Notify};
use loom::thread;
use rung::Rung;

/// A shard's inbox: the ends of the rings from two others, as those publish them (a release by the
/// one who pushes, an acquire by the one who pops), and the bell with its eventfd.
struct Inbox {
    tails: [AtomicUsize; 2],
    rung: Rung,
    event: Notify,
}

impl Inbox {
    /// As `Links::push` and `Bell::ring`.
    fn push(&self, from: usize, tail: usize) {
        self.tails[from].store(tail, Ordering::Release);
        if self.rung.ring() {
            self.event.notify();
        }
    }

    /// As `Inbox::run`.
    fn take(&self, wanted: [usize; 2]) {
        loop {
            self.rung.clear();
            let seen = [0, 1].map(|from| self.tails[from].load(Ordering::Acquire));
            if seen == wanted {
                return;
            }
            self.event.wait();
        }
    }
}

fn model(pushes: [usize; 2]) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let inbox = Arc::new(Inbox {
            tails: [AtomicUsize::new(0), AtomicUsize::new(0)],
            rung: Rung::new(),
            event: Notify::new(),
        });
        let senders: Vec<_> = (0..2)
            .filter(|from| pushes[*from] > 0)
            .map(|from| {
                let inbox = Arc::clone(&inbox);
                thread::spawn(move || (1..=pushes[from]).for_each(|tail| inbox.push(from, tail)))
            })
            .collect();
        inbox.take(pushes);
        for sender in senders {
            sender.join().unwrap();
        }
    });
}

#[test]
fn a_shard_sees_every_call_of_one_that_found_the_bell_rung() {
    model([2, 0]);
}

#[test]
fn a_shard_sees_the_calls_of_two_others() {
    model([1, 1]);
}
