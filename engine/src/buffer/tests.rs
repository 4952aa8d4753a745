use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::sync::mpsc;
use std::thread;

use super::*;
use crate::io::executor::Executor;
use crate::limits::{BLOCK, BUFFER_REGION_BYTES};

fn filled(pool: &BufferPool, bytes: &[u8]) -> BufferMut {
    let mut buffer = pool.try_acquire(bytes.len()).expect("there is room");
    buffer.extend_from_slice(bytes);
    buffer
}

#[test]
fn buffers_are_block_aligned_and_as_large_as_asked() {
    let pool = BufferPool::new(16 << 20);
    for (asked, capacity) in [(0, 4096), (1, 4096), (4097, 8192), (1 << 20, 1 << 20)] {
        let mut buffer = pool.try_acquire(asked).expect("there is room");
        assert_eq!((buffer.capacity(), buffer.spare(), buffer.len()), (capacity, capacity, 0));
        assert!((buffer.as_mut_ptr() as usize).is_multiple_of(BLOCK));
    }
    let large = pool.try_acquire(3 << 20).expect("there is room");
    assert_eq!(large.capacity(), 3 << 20);
    assert_eq!(pool.used(), 3 << 20);
    drop(large);
    assert_eq!(pool.used(), 0);
}

#[test]
fn freezing_zeroes_the_padding_of_used_memory() {
    let pool = BufferPool::new(1 << 20);
    drop(filled(&pool, &[0xff; BLOCK]));
    let buffer = filled(&pool, b"abc").freeze();
    assert_eq!(&buffer[..], b"abc");
    assert_eq!(buffer.padded().len(), BLOCK);
    assert!(buffer.padding_is_zero(), "buffer.padding_is_zero");
    assert_eq!(filled(&pool, &[]).freeze().padded().len(), 0);
}

#[test]
#[should_panic(expected = "4097 bytes do not fit into 4096 bytes")]
fn extending_past_the_capacity_panics() {
    let pool = BufferPool::new(1 << 20);
    filled(&pool, &[]).extend_from_slice(&[0; BLOCK + 1]);
}

#[test]
fn the_budget_is_never_exceeded_and_free_regions_change_class() {
    let pool = BufferPool::new(2 << 20);
    let small: Vec<_> = (0..512).map(|_| pool.try_acquire(1).expect("there is room")).collect();
    assert!(pool.try_acquire(1).is_none());
    assert_eq!((pool.used(), pool.mapped()), (2 << 20, 2 << 20));
    drop(small);
    let large: Vec<_> = (0..2).map(|_| pool.try_acquire(1 << 20).expect("recut")).collect();
    assert!(pool.try_acquire(1).is_none());
    drop(large);
    // A larger mapping displaces free regions.
    let huge = pool.try_acquire((1 << 20) + 1).expect("regions are given up");
    assert!(pool.mapped() <= pool.budget());
    assert!(pool.try_acquire(1).is_none());
    drop(huge);
    assert!(pool.try_acquire(1).is_some());
}

#[test]
fn a_large_buffer_gets_the_memory_of_one_of_about_its_size() {
    let pool = BufferPool::new(32 << 20);
    let bytes = (1 << 20) + BLOCK;
    let mut first = pool.try_acquire(bytes).expect("there is room");
    let (address, mapped) = (first.as_mut_ptr(), pool.mapped());
    drop(first);
    let mut again = pool.try_acquire(bytes + BLOCK).expect("there is room");
    assert_eq!((again.as_mut_ptr(), again.capacity()), (address, bytes + BLOCK));
    assert_eq!((pool.mapped(), pool.used()), (mapped, mapped));
    let beside = pool.try_acquire(bytes).expect("there is room");
    assert_eq!(pool.mapped(), 2 * mapped);
    // One of twice the size would waste half of it.
    let twice = pool.try_acquire(2 * bytes).expect("there is room");
    drop((again, beside, twice));
    let before = pool.mapped();
    let _held = [bytes; 3].map(|bytes| pool.try_acquire(bytes).expect("there is room"));
    assert_eq!(pool.mapped(), before + mapped);
}

#[test]
fn free_large_memory_goes_before_a_buffer_is_refused() {
    let pool = BufferPool::new(4 << 20);
    let large = [(1 << 20) + 1; 3].map(|bytes| pool.try_acquire(bytes).expect("there is room"));
    assert!(pool.try_acquire(1 << 20).is_none(), "with what it is rounded up by it does not fit");
    let [first, second, third] = large;
    drop((first, second));
    drop([1, 2].map(|_| pool.try_acquire(1 << 20).expect("one large region goes")));
    let mapped = pool.mapped();
    // It would not fit: nothing goes for it.
    assert!(pool.try_acquire(3 << 20).is_none());
    assert_eq!(pool.mapped(), mapped);
    drop(third);
    // All goes, and no rounding stands in the way.
    assert_eq!(pool.try_acquire((4 << 20) - BLOCK).expect("it fits").capacity(), (4 << 20) - BLOCK);
    assert_eq!(pool.mapped(), 4 << 20);
}

#[test]
fn at_the_budget_a_small_buffer_takes_a_larger_block() {
    let pool = BufferPool::new(1 << 20);
    let _quarter = pool.try_acquire(256 << 10).expect("there is room");
    let small = pool.try_acquire(1).expect("a 256 KiB block will do");
    assert_eq!(small.capacity(), BLOCK);
    assert_eq!(pool.used(), 512 << 10);
}

#[test]
fn clones_and_views_share_the_memory_and_return_it_once() {
    let pool = BufferPool::new(1 << 20);
    let buffer = filled(&pool, b"hello world").freeze();
    let clone = buffer.clone();
    let (hello, world) = (buffer.bytes(0..5), clone.bytes(6..11));
    assert_eq!(hello.as_ptr(), buffer.as_ptr());
    drop((buffer, clone, hello));
    assert_eq!(pool.used(), BLOCK);
    assert_eq!(&world[..], b"world");
    drop(world);
    assert_eq!(pool.used(), 0);
}

#[test]
fn views_dropped_on_another_thread_come_home() {
    let pool = BufferPool::new(1 << 20);
    let (sender, receiver) = mpsc::channel::<(bytes::Bytes, u32)>();
    let dropper = thread::spawn(move || {
        for (view, number) in receiver {
            assert_eq!(&view[..4], &number.to_le_bytes());
        }
    });
    let executor = Executor::new();
    executor.run(async {
        // Eight times the budget: each waits for one to come home.
        for number in 0..8u32 {
            let mut buffer = pool.acquire(BUFFER_REGION_BYTES).await;
            buffer.extend_from_slice(&number.to_le_bytes());
            let view = buffer.freeze().bytes(0..4);
            sender.send((view, number)).expect("the other thread lives");
        }
    });
    drop(sender);
    dropper.join().expect("every view was right");
    assert_eq!(pool.used(), 0);
}

#[test]
fn memory_outlives_its_pool_until_the_last_buffer_is_gone() {
    let pool = BufferPool::new(1 << 20);
    let buffer = filled(&pool, b"kept").freeze();
    let view = buffer.bytes(0..4);
    drop(pool);
    assert_eq!(&buffer[..], b"kept");
    drop(buffer);
    thread::spawn(move || assert_eq!(&view[..], b"kept")).join().expect("still mapped");
}

#[test]
fn waiters_are_served_in_order() {
    let pool = BufferPool::new(1 << 20);
    let mut held = pool.try_acquire(1 << 20);
    let executor = Executor::new();
    let served = Rc::new(RefCell::new(Vec::new()));
    for name in 0..3 {
        let (pool, served) = (pool.clone(), Rc::clone(&served));
        executor.spawn(async move {
            let buffer = pool.acquire(1 << 20).await;
            served.borrow_mut().push(name);
            drop(buffer);
        });
    }
    let run = executor.block_on(std::future::pending::<()>(), |is_idle| {
        if !is_idle {
            return ControlFlow::Continue(());
        }
        if held.is_some() {
            assert!(served.borrow().is_empty());
            held = None;
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(())
    });
    assert!(run.is_none());
    assert_eq!(*served.borrow(), [0, 1, 2]);
    assert_eq!(pool.used(), 0);
}

#[test]
fn a_dropped_waiter_lets_the_next_one_pass() {
    let pool = BufferPool::new(1 << 20);
    let held = pool.try_acquire(1 << 20);
    let executor = Executor::new();
    let mut first = Box::pin(pool.acquire(1 << 20));
    let mut second = Box::pin(pool.acquire(1 << 20));
    executor.run(std::future::poll_fn(|context| {
        assert!(first.as_mut().poll(context).is_pending());
        assert!(second.as_mut().poll(context).is_pending());
        Poll::Ready(())
    }));
    drop(first);
    drop(held);
    assert_eq!(executor.run(second).capacity(), 1 << 20);
}

#[test]
fn the_reclaimer_is_asked_before_a_refusal_and_while_it_helps() {
    let pool = BufferPool::new(1 << 20);
    let quarter = |_| pool.try_acquire(256 << 10).expect("there is room").freeze();
    let cache = Rc::new(RefCell::new((0..4).map(quarter).collect::<Vec<_>>()));
    let calls = Rc::new(Cell::new(0));
    let (shelf, count) = (Rc::clone(&cache), Rc::clone(&calls));
    pool.set_reclaimer(Box::new(move |wanted| {
        assert_eq!(wanted, 1 << 20);
        count.set(count.get() + 1);
        let evicted = shelf.borrow_mut().pop();
        drop(evicted);
    }));
    let whole = pool.try_acquire(1 << 20).expect("everything was reclaimed");
    assert_eq!(calls.get(), 4);
    assert!(pool.try_acquire(1 << 20).is_none());
    assert_eq!(calls.get(), 5);
    drop(whole);
}

#[test]
fn regions_are_registered_until_the_first_refusal_and_unregistered_when_unmapped() {
    #[derive(Default)]
    struct Ring {
        left: Cell<u16>,
        bytes: Cell<usize>,
        gone: RefCell<Vec<u16>>,
    }
    impl Registrar for Rc<Ring> {
        fn register(&self, _: NonNull<u8>, length: usize) -> Option<FixedSlot> {
            self.bytes.set(self.bytes.get() + length);
            let left = self.left.get().checked_sub(1)?;
            self.left.set(left);
            Some(FixedSlot { ring: 7, slot: left })
        }
        fn unregister(&self, fixed: FixedSlot) {
            self.gone.borrow_mut().push(fixed.slot);
        }
    }
    let ring = Rc::new(Ring { left: Cell::new(2), ..Ring::default() });
    let pool = BufferPool::new(4 << 20);
    let early = pool.try_acquire(1 << 20).expect("there is room");
    pool.set_registrar(Rc::new(Rc::clone(&ring)));
    assert_eq!((early.fixed_slot(7), early.fixed_slot(8)), (Some(1), None));
    let (second, third) = (pool.try_acquire(1 << 20), pool.try_acquire(1 << 20));
    assert_eq!(second.as_ref().and_then(|b| b.fixed_slot(7)), Some(0));
    assert_eq!(third.as_ref().and_then(|b| b.fixed_slot(7)), None);
    drop((early, second, third));
    drop(pool.try_acquire(4 << 20).expect("free regions are given up"));
    ring.gone.borrow_mut().sort_unstable();
    assert_eq!(*ring.gone.borrow(), [0, 1]);
    assert_eq!(ring.bytes.take(), (3 << 20) + (4 << 20), "asked once in vain, and again after");
}

#[test]
fn a_large_buffer_is_registered_for_as_long_as_its_memory_is_kept() {
    #[derive(Default)]
    struct Ring {
        registered: RefCell<Vec<usize>>,
        gone: Cell<u16>,
    }
    impl Registrar for Rc<Ring> {
        fn register(&self, _: NonNull<u8>, length: usize) -> Option<FixedSlot> {
            self.registered.borrow_mut().push(length);
            Some(FixedSlot { ring: 7, slot: 0 })
        }
        fn unregister(&self, _: FixedSlot) {
            self.gone.set(self.gone.get() + 1);
        }
    }
    let ring = Rc::new(Ring::default());
    let pool = BufferPool::new(24 << 20);
    pool.set_registrar(Rc::new(Rc::clone(&ring)));
    for _ in 0..3 {
        let buffer = pool.try_acquire(3 << 20).expect("there is room");
        assert_eq!(buffer.fixed_slot(7), Some(0));
    }
    assert_eq!((ring.registered.take(), ring.gone.get()), (vec![3 << 20], 0));
    let _small = (0..21).map(|_| pool.try_acquire(1 << 20)).collect::<Vec<_>>();
    assert_eq!(ring.gone.get(), 0);
    let _in_its_place = pool.try_acquire(1 << 20);
    assert_eq!(ring.gone.get(), 1);
}

#[test]
fn after_a_refusal_regions_are_registered_again_once_others_have_gone() {
    /// Takes memory up to a limit.
    struct Ring {
        left: Cell<usize>,
        next: Cell<u16>,
        lengths: RefCell<Vec<usize>>,
    }
    impl Registrar for Rc<Ring> {
        fn register(&self, _: NonNull<u8>, length: usize) -> Option<FixedSlot> {
            self.left.set(self.left.get().checked_sub(length)?);
            self.lengths.borrow_mut().push(length);
            let slot = self.next.replace(self.next.get() + 1);
            Some(FixedSlot { ring: 7, slot })
        }
        fn unregister(&self, fixed: FixedSlot) {
            self.left.set(self.left.get() + self.lengths.borrow()[usize::from(fixed.slot)]);
        }
    }
    let (left, next, lengths) = (Cell::new(3 << 20), Cell::new(0), RefCell::default());
    let ring = Rc::new(Ring { left, next, lengths });
    let pool = BufferPool::new(4 << 20);
    pool.set_registrar(Rc::new(Rc::clone(&ring)));
    let is_registered = |buffer: &BufferMut| buffer.fixed_slot(7).is_some();
    let take = |bytes| pool.try_acquire(bytes).expect("there is room");
    let small = [1 << 20; 2].map(take);
    let large = take((1 << 20) + 1);
    assert!(!is_registered(&large), "it is larger than what is left");
    drop(large);
    let third = take(1 << 20);
    assert!(
        small.iter().chain([&third]).all(is_registered),
        "and no smaller one suffers from that"
    );
    let fourth = take(1 << 20);
    assert!(!is_registered(&fourth));
    drop((small, third, fourth));
    assert!(
        is_registered(&take(2 << 20)),
        "those in its way went, and their memory counts no more"
    );
    assert_eq!(ring.left.get(), 0);
    drop(pool);
    assert_eq!(ring.left.get(), 3 << 20);
}

#[test]
fn large_memory_comes_home_from_another_thread_and_outlives_its_pool() {
    let pool = BufferPool::new(8 << 20);
    let large = || {
        let mut buffer = pool.try_acquire(3 << 20).expect("there is room");
        buffer.extend_from_slice(b"kept");
        buffer.freeze().bytes(0..4)
    };
    let view = large();
    let address = view.as_ptr();
    thread::spawn(move || drop(view)).join().expect("it ends");
    assert_eq!(pool.used(), 0);
    let view = large();
    assert_eq!(view.as_ptr(), address);
    drop(pool);
    thread::spawn(move || assert_eq!(&view[..], b"kept")).join().expect("still mapped");
}

#[test]
fn what_buffers_of_one_size_leave_behind_does_not_stay_beside_those_of_another() {
    let pool = BufferPool::new(64 << 20);
    let take = |bytes, count| (0..count).map(|_| pool.try_acquire(bytes)).collect::<Vec<_>>();
    let large = (1 << 20) + BLOCK;
    for _ in 0..3 {
        let held = take(64 << 10, 16 * 24);
        assert!((24 << 20..=34 << 20).contains(&pool.mapped()), "{}", pool.mapped());
        drop(held);
        let held = take(large, 24);
        assert!((24 << 20..=34 << 20).contains(&pool.mapped()), "{}", pool.mapped());
        drop(held);
    }
    // A little that is free stays, so that sizes may alternate.
    drop(take(64 << 10, 16 * 4));
    drop(take(large, 4));
    let mapped = pool.mapped();
    for _ in 0..3 {
        drop(take(64 << 10, 16 * 4));
        drop(take(large, 4));
        assert_eq!(pool.mapped(), mapped);
    }
}

#[test]
fn what_a_growing_buffer_holds_is_shared_before_it_is_frozen() {
    let pool = BufferPool::new(1 << 20);
    let mut growing = GrowingBuffer::new(filled(&pool, b"abc"));
    let shared = growing.share();
    let first = shared.bytes(0..3);
    growing.append([b"x", b"ef"], |added| added[0] = b'd');
    assert_eq!(&shared[..], b"abcdef");
    let second = shared.bytes(2..6);
    let frozen = growing.freeze();
    assert!(frozen.padding_is_zero());
    drop((shared, frozen));
    assert_eq!((&first[..], &second[..]), (&b"abc"[..], &b"cdef"[..]));
    // Two views of one block: it comes home once, with the last of them, from another thread.
    thread::spawn(move || drop(first)).join().expect("it ends");
    assert_eq!(pool.used(), BLOCK);
    thread::spawn(move || drop(second)).join().expect("it ends");
    assert_eq!(pool.used(), 0);
    assert_eq!(filled(&pool, b"again").freeze().bytes(0..5), &b"again"[..]);
}

#[test]
fn what_would_be_good_to_have_takes_nothing_larger_than_needed() {
    let pool = BufferPool::new(BUFFER_REGION_BYTES);
    let spare = pool.try_acquire_spare(BLOCK).expect("there is memory");
    assert_eq!(pool.used(), BLOCK);
    drop(spare);
    // All that is mapped, and may be, is of another class.
    let large = pool.try_acquire(BUFFER_REGION_BYTES / 2).expect("there is memory");
    assert!(pool.try_acquire_spare(BLOCK).is_none());
    assert_eq!(pool.used(), BUFFER_REGION_BYTES / 2);
    drop(large);
    assert!(pool.try_acquire_spare(BLOCK).is_some());
}
