//! Calls between shards: bounded single-producer single-consumer queues with one wake-up a batch.
//!
//! ```text
//!   shard a                                            shard b
//!   Router::call ──► [ a→b ring: call  ] ──► Inbox::drain ──► a task that answers
//!   slot wakes  ◄── Inbox::drain ◄── [ b→a ring: reply ] ◄── Replier::reply
//!
//!   Router::wait ──► [ queue of b ] ──► Waits ──► a task that answers when there is news
//! ```
//!
//! There is one ring for each ordered pair of shards. A shard may have [`CALLS_IN_FLIGHT`] calls
//! open at another; the next caller waits for a reply, which is how a full queue comes to stop the
//! reading of sockets. A ring holds all that these calls can put into it (a call each one way, a
//! reply for each of the other side's calls), so a push never fails and nothing is dropped.
//!
//! Calls end by themselves: they need a disk, and no other call. What may wait for something that
//! another call brings about (a fetch for records, a member for its group) must not hold a slot
//! meanwhile, or the one that would end the waiting could find none. It goes another way:
//! [`Router::wait`], of which a connection has at most one open at each shard.
//!
//! A shard sleeps in its ring. The first push after it last looked rings its eventfd; the
//! pushes that follow find the bell already rung and cost no syscall.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ringlog_engine::io::uring::UringIo;
use rtrb::{Consumer, Producer, RingBuffer};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::rung::Rung;
use crate::limits::CALLS_IN_FLIGHT;
use crate::timer::yield_now;

/// The number of a shard within its broker, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub usize);

/// Which of a caller's slots a reply belongs to.
type SlotId = usize;

/// What crosses a ring.
enum Envelope<C, R> {
    Call { slot: SlotId, call: C },
    Reply { slot: SlotId, reply: R },
}

/// Rings a shard's bell at most once between two looks of that shard.
struct Bell {
    event: OwnedFd,
    rung: Rung,
}

impl Bell {
    fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        let event = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Self { event, rung: Rung::new() })
    }

    fn ring(&self) {
        if self.rung.ring() {
            // It never blocks: the counter grows by one a look, and is full after 2^64.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }
}

/// One shard's end of the mesh, before it moves to its thread.
pub struct Endpoint<C, R> {
    id: ShardId,
    bells: Vec<Arc<Bell>>,
    outgoing: Vec<Option<Producer<Envelope<C, R>>>>,
    incoming: Vec<Option<Consumer<Envelope<C, R>>>>,
    patience: Vec<mpsc::UnboundedSender<Wait<C, R>>>,
    waits: Waits<C, R>,
}

/// A call that may wait long for its answer. When the answer is no longer wanted, it is closed.
pub struct Wait<C, R> {
    /// What is asked.
    pub call: C,
    /// Where the answer goes.
    pub answer: oneshot::Sender<R>,
}

/// The long calls that other shards make to this one, in order per sender.
pub type Waits<C, R> = mpsc::UnboundedReceiver<Wait<C, R>>;

/// Connects `shards` shards, each with each.
///
/// # Errors
///
/// When the kernel gives no eventfd.
pub fn mesh<C, R>(shards: usize) -> io::Result<Vec<Endpoint<C, R>>> {
    let bells = (0..shards).map(|_| Bell::new().map(Arc::new)).collect::<io::Result<Vec<_>>>()?;
    let (patience, waits): (Vec<_>, Vec<_>) =
        (0..shards).map(|_| mpsc::unbounded_channel()).unzip();
    let mut endpoints: Vec<Endpoint<C, R>> = waits
        .into_iter()
        .enumerate()
        .map(|(id, waits)| Endpoint {
            id: ShardId(id),
            bells: bells.clone(),
            outgoing: (0..shards).map(|_| None).collect(),
            incoming: (0..shards).map(|_| None).collect(),
            patience: patience.clone(),
            waits,
        })
        .collect();
    for from in 0..shards {
        for to in (0..shards).filter(|to| *to != from) {
            let (producer, consumer) = RingBuffer::new(2 * CALLS_IN_FLIGHT);
            endpoints[from].outgoing[to] = Some(producer);
            endpoints[to].incoming[from] = Some(consumer);
        }
    }
    Ok(endpoints)
}

enum Slot<R> {
    Free,
    Open(Option<Waker>),
    Answered(R),
    Abandoned,
}

/// The calls that one shard has open at one other.
struct Peer<C, R> {
    ring: Producer<Envelope<C, R>>,
    slots: Vec<Slot<R>>,
    free: Vec<SlotId>,
}

struct Links<C, R> {
    id: ShardId,
    bells: Vec<Arc<Bell>>,
    peers: Vec<Option<RefCell<Peer<C, R>>>>,
    /// One permit for each free slot, given out in order.
    permits: Vec<Semaphore>,
    patience: Vec<mpsc::UnboundedSender<Wait<C, R>>>,
}

impl<C, R> Links<C, R> {
    fn peer(&self, shard: ShardId) -> &RefCell<Peer<C, R>> {
        self.peers[shard.0].as_ref().expect("a shard never calls itself through the mailbox")
    }

    fn release(&self, to: ShardId, peer: &mut Peer<C, R>, slot: SlotId) {
        peer.slots[slot] = Slot::Free;
        peer.free.push(slot);
        self.permits[to.0].add_permits(1);
    }

    fn push(&self, to: ShardId, peer: &mut Peer<C, R>, envelope: Envelope<C, R>) {
        let pushed = peer.ring.push(envelope);
        assert!(pushed.is_ok(), "a ring holds all that the open calls can put into it");
        self.bells[to.0].ring();
    }
}

/// Calls other shards. Cloning gives another handle to the same slots.
pub struct Router<C, R> {
    links: Rc<Links<C, R>>,
}

impl<C, R> Clone for Router<C, R> {
    fn clone(&self) -> Self {
        Self { links: Rc::clone(&self.links) }
    }
}

/// What other shards send here.
pub struct Inbox<C, R> {
    links: Rc<Links<C, R>>,
    incoming: Vec<Option<Consumer<Envelope<C, R>>>>,
}

/// Takes the answer of one call back to its caller. Every call must be answered once.
pub struct Replier<C, R> {
    links: Rc<Links<C, R>>,
    from: ShardId,
    slot: SlotId,
}

impl<C, R> Replier<C, R> {
    /// Answers. Never waits.
    pub fn reply(self, reply: R) {
        let Self { links, from, slot } = self;
        let mut peer = links.peer(from).borrow_mut();
        links.push(from, &mut peer, Envelope::Reply { slot, reply });
    }
}

impl<C, R> Endpoint<C, R> {
    /// Splits the endpoint on the thread that will own it.
    #[must_use]
    pub fn open(self) -> (Router<C, R>, Inbox<C, R>, Waits<C, R>) {
        let peers = self
            .outgoing
            .into_iter()
            .map(|ring| {
                ring.map(|ring| {
                    RefCell::new(Peer {
                        ring,
                        slots: (0..CALLS_IN_FLIGHT).map(|_| Slot::Free).collect(),
                        free: (0..CALLS_IN_FLIGHT).rev().collect(),
                    })
                })
            })
            .collect();
        let permits = self.bells.iter().map(|_| Semaphore::new(CALLS_IN_FLIGHT)).collect();
        let (id, bells, patience) = (self.id, self.bells, self.patience);
        let links = Rc::new(Links { id, bells, peers, permits, patience });
        let inbox = Inbox { links: Rc::clone(&links), incoming: self.incoming };
        (Router { links }, inbox, self.waits)
    }
}

impl<C, R> Router<C, R> {
    /// The shard that calls.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.links.id
    }

    /// Sends a call once a slot is free and returns the reply to come.
    ///
    /// Calls of one task to one shard arrive in the order in which they were sent. When the
    /// returned future is dropped, the call is carried out all the same, and its answer thrown
    /// away. A call must end without the help of another.
    pub async fn call(&self, to: ShardId, call: C) -> Call<C, R> {
        let links = &self.links;
        let permit = links.permits[to.0].acquire().await;
        permit.expect("the permits are never closed").forget();
        let mut peer = links.peer(to).borrow_mut();
        let slot = peer.free.pop().expect("there is a free slot for each permit");
        peer.slots[slot] = Slot::Open(None);
        links.push(to, &mut peer, Envelope::Call { slot, call });
        drop(peer);
        Call { links: Rc::clone(links), to, slot, done: Cell::new(false) }
    }

    /// Sends a call that may wait long for its answer. Dropping the receiver ends the call.
    pub fn wait(&self, to: ShardId, call: C) -> oneshot::Receiver<R> {
        let (answer, receiver) = oneshot::channel();
        // A shard that has ended answers nothing, and the receiver says so.
        let _ = self.links.patience[to.0].send(Wait { call, answer });
        receiver
    }
}

/// The reply to a call, to come.
pub struct Call<C, R> {
    links: Rc<Links<C, R>>,
    to: ShardId,
    slot: SlotId,
    done: Cell<bool>,
}

impl<C, R> Future for Call<C, R> {
    type Output = R;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        let mut peer = self.links.peer(self.to).borrow_mut();
        match std::mem::replace(&mut peer.slots[self.slot], Slot::Free) {
            Slot::Answered(reply) => {
                self.links.release(self.to, &mut peer, self.slot);
                self.done.set(true);
                Poll::Ready(reply)
            }
            Slot::Open(_) => {
                peer.slots[self.slot] = Slot::Open(Some(cx.waker().clone()));
                Poll::Pending
            }
            Slot::Free | Slot::Abandoned => unreachable!("a call owns its slot until it ends"),
        }
    }
}

impl<C, R> Drop for Call<C, R> {
    fn drop(&mut self) {
        if self.done.get() {
            return;
        }
        let mut peer = self.links.peer(self.to).borrow_mut();
        if matches!(peer.slots[self.slot], Slot::Answered(_)) {
            self.links.release(self.to, &mut peer, self.slot);
        } else {
            peer.slots[self.slot] = Slot::Abandoned;
        }
    }
}

impl<C, R> Inbox<C, R> {
    /// Takes everything that has arrived, in order per sender, until the future is dropped.
    ///
    /// # Errors
    ///
    /// When the kernel gives no descriptor, or does not let the bell be heard.
    pub async fn run(
        mut self,
        io: &UringIo,
        mut arrived: impl FnMut(C, Replier<C, R>),
    ) -> io::Result<()> {
        let bell = Arc::clone(&self.links.bells[self.links.id.0]);
        let event = Rc::new(bell.event.try_clone()?);
        loop {
            // Cleared before looking: a push that comes later rings again.
            bell.rung.clear();
            while self.drain(&mut arrived) {
                yield_now().await;
            }
            io.wait_event(&event).await?;
        }
    }

    /// Takes a bounded batch; says whether there may be more.
    fn drain(&mut self, arrived: &mut impl FnMut(C, Replier<C, R>)) -> bool {
        let mut more = false;
        for (from, ring) in self.incoming.iter_mut().enumerate() {
            let Some(ring) = ring else { continue };
            let from = ShardId(from);
            for _ in 0..CALLS_IN_FLIGHT {
                let Ok(envelope) = ring.pop() else { break };
                match envelope {
                    Envelope::Call { slot, call } => {
                        arrived(call, Replier { links: Rc::clone(&self.links), from, slot });
                    }
                    Envelope::Reply { slot, reply } => self.links.answered(from, slot, reply),
                }
            }
            more |= !ring.is_empty();
        }
        more
    }
}

impl<C, R> Links<C, R> {
    fn answered(&self, from: ShardId, slot: SlotId, reply: R) {
        let mut peer = self.peer(from).borrow_mut();
        match std::mem::replace(&mut peer.slots[slot], Slot::Answered(reply)) {
            Slot::Open(waker) => {
                drop(peer);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Slot::Abandoned => self.release(from, &mut peer, slot),
            Slot::Free | Slot::Answered(_) => unreachable!("a call is answered once"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task;

    fn local<F: Future>(test: impl FnOnce(UringIo) -> F) -> F::Output {
        let io = UringIo::plain(16).expect("a ring");
        task::run(&io, test(io.clone()))
    }

    /// Serves a shard on a thread of its own that adds one to what it is sent.
    fn serve_increments(endpoint: Endpoint<usize, usize>) {
        std::thread::spawn(move || {
            local(|io| async move {
                let (_router, inbox, _waits) = endpoint.open();
                let _ = inbox.run(&io, |n, replier| replier.reply(n + 1)).await;
            });
        });
    }

    fn pair() -> (Endpoint<usize, usize>, Endpoint<usize, usize>) {
        let mut ends = mesh(2).expect("two bells");
        let second = ends.pop().expect("two ends");
        (ends.pop().expect("two ends"), second)
    }

    #[test]
    fn more_calls_than_slots_are_all_answered_in_turn() {
        let (here, there) = pair();
        serve_increments(there);
        local(|io| async move {
            let (router, inbox, _waits) = here.open();
            task::spawn(async move {
                let _ = inbox.run(&io, |_, _| ()).await;
            });
            let calls: Vec<_> = (0..10 * CALLS_IN_FLIGHT)
                .map(|n| {
                    let router = router.clone();
                    task::spawn_joined(async move { (n, router.call(ShardId(1), n).await.await) })
                })
                .collect();
            for call in calls {
                let (asked, answered) = call.await.expect("no call panics");
                assert_eq!(answered, asked + 1);
            }
        });
    }

    #[test]
    fn a_dropped_call_gives_its_slot_back_when_the_answer_comes() {
        let (here, there) = pair();
        serve_increments(there);
        local(|io| async move {
            let (router, inbox, _waits) = here.open();
            task::spawn(async move {
                let _ = inbox.run(&io, |_, _| ()).await;
            });
            for n in 0..3 * CALLS_IN_FLIGHT {
                drop(router.call(ShardId(1), n).await);
            }
            assert_eq!(router.call(ShardId(1), 7).await.await, 8);
        });
    }

    #[test]
    fn long_calls_take_no_slots_and_end_when_they_are_not_wanted() {
        let (here, there) = pair();
        local(|_io| async move {
            let (router, _inbox, _waits) = here.open();
            let (_other, _other_inbox, mut waits) = there.open();
            let wanted: Vec<_> =
                (0..2 * CALLS_IN_FLIGHT).map(|n| router.wait(ShardId(1), n)).collect();
            let mut parked = Vec::new();
            for _ in &wanted {
                parked.push(waits.recv().await.expect("as many as were sent"));
            }
            drop(wanted);
            assert!(parked.iter().all(|wait| wait.answer.is_closed()));
        });
    }
}
