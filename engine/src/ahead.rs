//! Read-ahead: what sequential readers of files will want next, read while they look at what they
//! have.
//!
//! A cold read leaves a *cursor* where it ends. When the next one begins there, its log is being
//! read in order, and the [`PIECES`] stretches that follow are read in the background, of
//! [`READ_BYTES_MAX`] bytes each:
//!
//! ```text
//!   given to the reader     one piece        the next piece
//!  -----------------------|--------------- : |- : ----------------|
//!                         ^ cursor         '-.--'
//!                                            overlap: the largest batch seen, so that the one
//!                                            which goes on behind a piece is whole in the next
//! ```
//!
//! Pieces are bytes of a file and nothing more: whoever takes batches out of one checks them as if
//! they had just been read, and reads the file itself if anything is odd. What a piece holds was
//! placed in the file when its read began, and a cursor of an earlier layout of its log counts
//! for nothing.
//!
//! Memory is what nobody else needs: read-ahead never waits for a buffer, stays within its own
//! budget, and gives its pieces up, those of the reader that was away for the longest first, when
//! somebody else wants a buffer. At the budget those who are served stay served; others read for
//! themselves.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::buffer::{Buffer, BufferMut, BufferPool};
use crate::io::{File, Io, OpenMode};
use crate::limits::{
    BLOCK, READ_AHEAD_CURSORS_MAX, READ_AHEAD_IN_FLIGHT_MAX, READ_AHEAD_STALE, READ_BYTES_MAX,
};
use crate::log::Inner;
use crate::log::wait::{Signal, WakeOnDrop};
use crate::offset::Offset;
use crate::segment::lru::{Key, Lru};
use crate::segment::name::Kind;
use crate::writer::poll_some;

/// Pieces of one reader: the one it takes from, and the next.
const PIECES: usize = 2;

/// How much is read ahead and how well that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadAheadStats {
    /// Bytes of memory in pieces that are being read or wait for their reader.
    pub used_bytes: usize,
    /// How many may be: [`ShardSettings::read_ahead_bytes`](crate::shard::ShardSettings).
    pub budget_bytes: usize,
    /// Places where a reader may go on.
    pub cursors: usize,
    /// Pieces whose read was begun so far.
    pub started: u64,
    /// Reads answered from a piece so far.
    pub served: u64,
}

/// A place in a segment's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) base: Offset,
    pub(crate) position: u64,
}

/// How far a reader got.
pub(crate) struct Passed {
    pub(crate) layout: u64,
    /// Where the batch begins that is next.
    pub(crate) place: Place,
    /// Bytes of the largest batch it got.
    pub(crate) largest: usize,
    /// Whether the piece it took from holds no more of use.
    pub(crate) ran_out: bool,
}

/// What is known of the place where a read begins.
pub(crate) enum Found {
    Nothing,
    /// The batch begins at this position, and its bytes are not there.
    At(u64),
    /// As [`Found::At`], but the bytes are being read.
    Loading,
    /// The batch begins at this position of the file; the buffer begins at the other.
    Ready {
        position: u64,
        buffer: Buffer,
        start: u64,
    },
}

/// Where a reader's next piece should begin, and up to where its others reach.
pub(crate) struct Wanted {
    pub(crate) base: Offset,
    pub(crate) start: u64,
    pub(crate) covered: u64,
}

/// A shard's read-ahead.
pub(crate) struct Ahead<I: Io> {
    pool: BufferPool,
    budget: usize,
    used: Rc<Cell<usize>>,
    cursors: RefCell<Lru<Cursor>>,
    queue: RefCell<VecDeque<Request<I>>>,
    next_ticket: Cell<u64>,
    /// Whether the task runs that does the reading.
    running: Cell<bool>,
    signal: Rc<Signal>,
    _wake: WakeOnDrop,
    started: Cell<u64>,
    served: Cell<u64>,
}

/// Where a reader may go on.
struct Cursor {
    layout: u64,
    place: Place,
    largest: usize,
    /// When the reader was here, by the backend's clock.
    touched: Duration,
    /// In order, the first ones first.
    pieces: [Option<Piece>; PIECES],
    /// Who waits for the first piece.
    waiting: Option<(u64, Waker)>,
}

struct Piece {
    ticket: u64,
    base: Offset,
    start: u64,
    end: u64,
    /// `None` while it is being read.
    held: Option<Held>,
}

/// A buffer that counts against the budget.
struct Held {
    buffer: Buffer,
    _charge: Charge,
}

/// A read that is to be made.
struct Request<I: Io> {
    log: Weak<Inner<I>>,
    /// Where in the list of cursors the reader's is, if that still has the ticket.
    slot: usize,
    ticket: u64,
    base: Offset,
    start: u64,
    length: usize,
    buffer: BufferMut,
    charge: Charge,
}

/// A read that was made.
struct Fetched {
    slot: usize,
    ticket: u64,
    held: Option<Held>,
}

/// Bytes of the budget that are in use.
struct Charge {
    used: Rc<Cell<usize>>,
    bytes: usize,
}

impl Charge {
    fn new(used: &Rc<Cell<usize>>, bytes: usize) -> Self {
        used.set(used.get() + bytes);
        Self { used: Rc::clone(used), bytes }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.used.set(self.used.get() - self.bytes);
    }
}

impl Piece {
    fn covers(&self, place: Place) -> bool {
        self.base == place.base && (self.start..self.end).contains(&place.position)
    }
}

impl Cursor {
    /// Lets go of the pieces that the reader has passed, and of all if it cannot go on in them.
    fn trim(&mut self) {
        while let Some(first) = &self.pieces[0] {
            let place = self.place;
            if first.covers(place) {
                return;
            }
            let passed = (first.base, first.end) <= (place.base, place.position);
            if passed { self.shift() } else { self.give_up() }
        }
    }

    /// Lets go of the first piece.
    fn shift(&mut self) {
        self.pieces[0] = None;
        self.pieces.rotate_left(1);
    }

    /// Lets go of all pieces, and sends whoever waits for one to the file.
    fn give_up(&mut self) {
        self.pieces = [const { None }; PIECES];
        self.wake();
    }

    fn wake(&mut self) {
        if let Some((_, waker)) = self.waiting.take() {
            waker.wake();
        }
    }

    fn ready_bytes(&self) -> usize {
        let held = self.pieces.iter().flatten().filter_map(|piece| piece.held.as_ref());
        held.map(|held| held.buffer.len().next_multiple_of(BLOCK)).sum()
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.wake();
    }
}

impl<I: Io> Ahead<I> {
    pub(crate) fn new(pool: &BufferPool, budget: usize) -> Self {
        let signal = Rc::new(Signal::default());
        Self {
            pool: pool.clone(),
            budget,
            used: Rc::default(),
            cursors: RefCell::default(),
            queue: RefCell::default(),
            next_ticket: Cell::new(0),
            running: Cell::new(false),
            _wake: WakeOnDrop(Rc::clone(&signal)),
            signal,
            started: Cell::new(0),
            served: Cell::new(0),
        }
    }

    pub(crate) fn stats(&self) -> ReadAheadStats {
        ReadAheadStats {
            used_bytes: self.used.get(),
            budget_bytes: self.budget,
            cursors: self.cursors.borrow().len(),
            started: self.started.get(),
            served: self.served.get(),
        }
    }

    fn ticket(&self) -> u64 {
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket + 1);
        ticket
    }

    /// What is known of the place of `key`, which lies in the segment `base`.
    pub(crate) fn find(&self, key: Key, base: Offset, layout: u64, now: Duration) -> Found {
        let mut cursors = self.cursors.borrow_mut();
        let Some(cursor) = cursors.get(key) else { return Found::Nothing };
        // The end of a segment that was the active one is the beginning of the next by now.
        if cursor.place.base < base && key.offset == base {
            cursor.place = Place { base, position: 0 };
            cursor.trim();
        }
        if cursor.layout != layout || cursor.place.base != base {
            cursors.remove(key);
            return Found::Nothing;
        }
        cursor.touched = now;
        let position = cursor.place.position;
        match &cursor.pieces[0] {
            None => Found::At(position),
            Some(Piece { held: None, .. }) if cursor.waiting.is_some() => Found::At(position),
            Some(Piece { held: None, .. }) => Found::Loading,
            Some(Piece { held: Some(held), start, .. }) => {
                Found::Ready { position, buffer: held.buffer.clone(), start: *start }
            }
        }
    }

    /// Waits until the read of the first piece at `key` is done or given up. Safe to drop.
    pub(crate) async fn loaded(&self, key: Key) {
        let waiting = Waiting { ahead: self, key, ticket: self.ticket() };
        poll_fn(|cx: &mut Context<'_>| {
            let mut cursors = self.cursors.borrow_mut();
            let Some(cursor) = cursors.peek(key) else { return Poll::Ready(()) };
            let loading = cursor.pieces[0].as_ref().is_some_and(|piece| piece.held.is_none());
            let ours = cursor.waiting.as_ref().is_none_or(|(ticket, _)| *ticket == waiting.ticket);
            if !loading || !ours {
                return Poll::Ready(());
            }
            cursor.waiting = Some((waiting.ticket, cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// Counts a read that a piece answered.
    pub(crate) fn count_served(&self) {
        self.served.set(self.served.get() + 1);
    }

    /// Lets go of the first piece at `key`, which holds no whole batch any more.
    pub(crate) fn pass(&self, key: Key) {
        if let Some(cursor) = self.cursors.borrow_mut().peek(key) {
            cursor.shift();
            cursor.trim();
        }
    }

    /// Lets go of the pieces at `key`: there is something odd about them.
    pub(crate) fn give_up(&self, key: Key) {
        if let Some(cursor) = self.cursors.borrow_mut().peek(key) {
            cursor.give_up();
        }
    }

    /// Forgets the place of `key`.
    pub(crate) fn forget(&self, key: Key) {
        let cursor = self.cursors.borrow_mut().remove(key);
        drop(cursor);
    }

    /// Forgets all places of a log.
    pub(crate) fn forget_log(&self, log: u64) {
        while self.cursors.borrow().len() > 0 {
            let cursor = self.cursors.borrow_mut().pop_of(log);
            if cursor.is_none() {
                break;
            }
        }
    }

    /// Moves the reader on that read what begins at `from`. Says whether it is known to read in
    /// order.
    pub(crate) fn advance(&self, from: Key, to: Key, passed: &Passed, now: Duration) -> bool {
        let mut cursors = self.cursors.borrow_mut();
        let taken = cursors.peek(to).is_some_and(|other| {
            other.layout == passed.layout && other.pieces.iter().any(Option::is_some)
        });
        if taken {
            // Another reader of the same log is ahead by as much. Now both share its place.
            cursors.remove(from);
            return true;
        }
        if let Some(mut cursor) = cursors.remove(to) {
            cursor.wake();
        }
        if cursors.rekey(from, to)
            && let Some(cursor) = cursors.get(to)
            && cursor.layout == passed.layout
        {
            cursor.wake();
            cursor.place = passed.place;
            cursor.largest = cursor.largest.max(passed.largest);
            cursor.touched = now;
            if passed.ran_out {
                cursor.shift();
            }
            cursor.trim();
            return true;
        }
        let cursor = Cursor {
            layout: passed.layout,
            place: passed.place,
            largest: passed.largest,
            touched: now,
            pieces: [const { None }; PIECES],
            waiting: None,
        };
        cursors.insert(to, cursor, 0);
        if cursors.len() > READ_AHEAD_CURSORS_MAX {
            cursors.pop_oldest();
        }
        false
    }

    /// Where the next piece of the reader at `key` should begin; `None` if it has all it may.
    /// Batches of more than half a piece are not read ahead.
    pub(crate) fn wanted(&self, key: Key) -> Option<Wanted> {
        let mut cursors = self.cursors.borrow_mut();
        let cursor = cursors.peek(key)?;
        if cursor.largest > READ_BYTES_MAX / 2 || cursor.pieces.iter().all(Option::is_some) {
            return None;
        }
        let Place { base, position } = cursor.place;
        let (base, start, covered) = match cursor.pieces.iter().flatten().last() {
            Some(last) => (last.base, last.end.saturating_sub(cursor.largest as u64), last.end),
            None => (base, position, position),
        };
        Some(Wanted { base, start: start - start % BLOCK as u64, covered })
    }

    /// Has `length` bytes of a segment read for the reader at `key`. `false` if there is no memory
    /// for that now.
    pub(crate) fn request(
        self: &Rc<Self>,
        log: &Rc<Inner<I>>,
        key: Key,
        Place { base, position: start }: Place,
        length: usize,
    ) -> bool {
        let capacity = length.next_multiple_of(BLOCK);
        let pool = &self.pool;
        if pool.has_waiters() || pool.used() + capacity > pool.budget() {
            return false;
        }
        if self.used.get() + capacity > self.budget {
            self.drop_stale(log.shard.io().elapsed());
            if self.used.get() + capacity > self.budget {
                return false;
            }
        }
        let Some(buffer) = pool.try_acquire(capacity) else { return false };
        let mut cursors = self.cursors.borrow_mut();
        let Some(slot) = cursors.slot(key) else { return false };
        let Some(cursor) = cursors.at(slot) else { return false };
        let Some(free) = cursor.pieces.iter_mut().find(|piece| piece.is_none()) else {
            return false;
        };
        let ticket = self.ticket();
        let charge = Charge::new(&self.used, capacity);
        *free = Some(Piece { ticket, base, start, end: start + length as u64, held: None });
        drop(cursors);
        let log_of = Rc::downgrade(log);
        let request = Request { log: log_of, slot, ticket, base, start, length, buffer, charge };
        self.queue.borrow_mut().push_back(request);
        self.started.set(self.started.get() + 1);
        if !self.running.replace(true) {
            let running = Running(Rc::downgrade(self));
            log.shard.io().spawn(run(running, Rc::clone(&self.signal)));
        }
        self.signal.wake();
        true
    }

    /// Forgets readers that went away.
    fn drop_stale(&self, now: Duration) {
        let stale = |cursor: &Cursor| cursor.touched + READ_AHEAD_STALE <= now;
        while self.cursors.borrow().oldest().is_some_and(stale) {
            let cursor = self.cursors.borrow_mut().pop_oldest();
            drop(cursor);
        }
        self.drop_unwanted();
    }

    /// Lets go of pieces until `bytes` bytes are given back or none is left. Gives the bytes.
    pub(crate) fn evict(&self, bytes: usize) -> usize {
        let used = self.used.get();
        let mut ready = 0;
        while ready < bytes {
            let Some(cursor) = self.cursors.borrow_mut().pop_oldest() else { break };
            ready += cursor.ready_bytes();
        }
        self.drop_unwanted();
        used - self.used.get()
    }

    /// Takes back requests whose reader is gone and whose read was not begun.
    fn drop_unwanted(&self) {
        let mut cursors = self.cursors.borrow_mut();
        self.queue.borrow_mut().retain(|request| {
            cursors.at(request.slot).is_some_and(|cursor| {
                cursor.pieces.iter().flatten().any(|piece| piece.ticket == request.ticket)
            })
        });
    }

    /// Takes in a read that was made, if its reader is still there.
    fn finish(&self, fetched: Fetched) {
        let mut cursors = self.cursors.borrow_mut();
        let Some(cursor) = cursors.at(fetched.slot) else { return };
        let mut pieces = cursor.pieces.iter_mut().flatten();
        let Some(piece) = pieces.find(|piece| piece.ticket == fetched.ticket) else { return };
        match fetched.held {
            Some(held) => {
                piece.held = Some(held);
                if cursor.pieces[0].as_ref().is_some_and(|first| first.held.is_some()) {
                    cursor.wake();
                }
            }
            // The reader finds out for itself what is wrong.
            None => cursor.give_up(),
        }
    }
}

/// Whoever waits for a piece; gives that up on drop.
struct Waiting<'a, I: Io> {
    ahead: &'a Ahead<I>,
    key: Key,
    ticket: u64,
}

impl<I: Io> Drop for Waiting<'_, I> {
    fn drop(&mut self) {
        if let Some(cursor) = self.ahead.cursors.borrow_mut().peek(self.key) {
            cursor.waiting.take_if(|(ticket, _)| *ticket == self.ticket);
        }
    }
}

/// The task that does the reading. Nobody waits for one that is gone.
struct Running<I: Io>(Weak<Ahead<I>>);

impl<I: Io> Drop for Running<I> {
    fn drop(&mut self) {
        let Some(ahead) = self.0.upgrade() else { return };
        ahead.running.set(false);
        ahead.queue.borrow_mut().clear();
        while let Some(cursor) = ahead.cursors.borrow_mut().pop_oldest() {
            drop(cursor);
        }
    }
}

/// Reads what is asked for, several pieces at once; allocates only here, and for a file that has
/// to be opened.
async fn run<I: Io>(running: Running<I>, signal: Rc<Signal>) {
    let mut slots: Vec<_> = (0..READ_AHEAD_IN_FLIGHT_MAX).map(|_| Box::pin(None)).collect();
    poll_fn(move |cx| {
        signal.register(cx);
        loop {
            let Some(ahead) = running.0.upgrade() else { return Poll::Ready(()) };
            let mut progress = false;
            for slot in &mut slots {
                if let Some(Poll::Ready(fetched)) = poll_some(slot, cx) {
                    ahead.finish(fetched);
                }
                if slot.is_none() {
                    let next = ahead.queue.borrow_mut().pop_front();
                    let Some(request) = next else { continue };
                    slot.set(Some(fetch(request)));
                    progress = true;
                }
            }
            if !progress {
                return Poll::Pending;
            }
        }
    })
    .await;
}

async fn fetch<I: Io>(request: Request<I>) -> Fetched {
    let Request { log, slot, ticket, base, start, length, buffer, charge } = request;
    let read = async {
        let file = open(&log, base).await?;
        let (result, mut buffer) = file.read_at(buffer, start).await;
        result?;
        // What stands behind was not placed yet when this was asked for.
        buffer.set_len(buffer.len().min(length));
        Ok::<_, io::Error>(Held { buffer: buffer.freeze(), _charge: charge })
    };
    Fetched { slot, ticket, held: read.await.ok() }
}

/// The file of a segment of a log that may go away meanwhile.
async fn open<I: Io>(log: &Weak<Inner<I>>, base: Offset) -> io::Result<I::File> {
    let (io, path, layout) = {
        let log = log.upgrade().ok_or(io::ErrorKind::NotFound)?;
        if let Some(file) = log.known_file(base) {
            return Ok(file);
        }
        let layout = log.state.borrow().layout;
        (log.shard.io().clone(), Kind::Log.path(&log.dir, base), layout)
    };
    let file = io.open(&path, OpenMode::ReadDirect).await?;
    if let Some(log) = log.upgrade() {
        log.keep_read_file(base, &file, layout);
    }
    Ok(file)
}
