//! Sockets, events and timers on a plain ring.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ringlog_engine::io::Io;
use ringlog_engine::io::uring::{UringIo, UringListener, UringStream};

const ENTRIES: u32 = 16;

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A connection: one end on the ring, the other the standard library's.
fn pair(io: &UringIo) -> (UringStream, TcpStream) {
    let (listener, address) = listen();
    let there = TcpStream::connect(address).unwrap();
    (UringStream::new(io, listener.accept().unwrap().0), there)
}

async fn poll_and_drop<T>(future: impl Future<Output = T>) {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _ = future.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn a_client_is_accepted_heard_and_answered() {
    let io = UringIo::plain(ENTRIES).unwrap();
    let (listener, address) = listen();
    let client = std::thread::spawn(move || {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"question").unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        (client.local_addr().unwrap(), answer)
    });
    let peer = io.block_on(async {
        let listener = UringListener::new(&io, listener);
        let (stream, peer) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut buffer = BytesMut::with_capacity(64);
        buffer.extend_from_slice(b"kept ");
        while buffer.len() < b"kept question".len() {
            let (received, back) = stream.receive(buffer).await;
            assert!(received.unwrap() > 0);
            buffer = back;
        }
        assert_eq!(buffer, b"kept question"[..]);
        let (sent, bytes) = stream.send(Bytes::from_static(b"one ")).await;
        assert_eq!((sent.unwrap(), &bytes[..]), (4, &b"one "[..]));
        for _ in 0..2 {
            let parts = vec![Bytes::from_static(b"two "), Bytes::new(), Bytes::from_static(b"3 ")];
            let (sent, parts) = stream.send_vectored(parts).await;
            assert_eq!((sent.unwrap(), parts.len()), (6, 3));
        }
        stream.shutdown(Shutdown::Both).unwrap();
        peer
    });
    assert_eq!(client.join().unwrap(), (peer, b"one two 3 two 3 ".to_vec()));
}

#[test]
fn shutting_down_ends_the_receive_and_the_accept_that_wait() {
    let io = UringIo::plain(ENTRIES).unwrap();
    io.block_on(async {
        let (stream, _there) = pair(&io);
        let closer = stream.clone();
        let (listener, _) = listen();
        let handle = listener.try_clone().unwrap();
        io.spawn(async move {
            yield_once().await;
            closer.shutdown(Shutdown::Read).unwrap();
            // SAFETY: a system call without pointers, on an open descriptor.
            unsafe { libc::shutdown(std::os::fd::AsRawFd::as_raw_fd(&handle), libc::SHUT_RDWR) };
        });
        assert_eq!(stream.receive(BytesMut::with_capacity(8)).await.0.unwrap(), 0);
        let accepted = UringListener::new(&io, listener).accept().await;
        assert_eq!(accepted.err().unwrap().raw_os_error(), Some(libc::EINVAL));
    });
    io.stop_tasks();
}

#[test]
fn a_peer_that_is_gone_is_an_error_and_no_signal() {
    let io = UringIo::plain(ENTRIES).unwrap();
    io.block_on(async {
        let (stream, there) = pair(&io);
        drop(there);
        let error = loop {
            if let (Err(error), bytes) = stream.send(Bytes::from_static(b"hello")).await {
                assert_eq!(bytes, b"hello"[..]);
                break error;
            }
        };
        assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset));
        let (sent, parts) = stream.send_vectored(vec![Bytes::from_static(b"hello")]).await;
        assert_eq!((sent.unwrap_err().kind(), parts.len()), (ErrorKind::BrokenPipe, 1));
    });
}

#[test]
fn a_ring_with_sockets_that_wait_is_closed_at_once() {
    for _ in 0..20 {
        let io = UringIo::plain(ENTRIES).unwrap();
        let (listener, address) = listen();
        let listener = UringListener::new(&io, listener);
        io.block_on(async {
            let (stream, there) = pair(&io);
            for _ in 0..40 {
                poll_and_drop(stream.receive(BytesMut::with_capacity(8))).await;
                poll_and_drop(listener.accept()).await;
            }
            io.spawn(async move { drop(stream.receive(BytesMut::with_capacity(8)).await) });
            // One client for the accepts that nobody waits for: it is closed.
            let mut client = TcpStream::connect(address).unwrap();
            io.sleep(Duration::from_millis(1)).await;
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
            drop(there);
        });
        io.stop_tasks();
    }
}

#[test]
fn more_completions_than_the_ring_has_room_for_all_arrive() {
    let io = UringIo::plain(4).unwrap();
    io.block_on(async {
        let pairs: Vec<_> = (0..200).map(|_| pair(&io)).collect();
        let got = Rc::new(std::cell::Cell::new(0));
        for (stream, _) in &pairs {
            let (stream, got) = (stream.clone(), Rc::clone(&got));
            io.spawn(async move {
                let (received, _) = stream.receive(BytesMut::with_capacity(8)).await;
                got.set(got.get() + received.unwrap());
            });
        }
        yield_once().await;
        io.sleep(Duration::from_millis(1)).await;
        for (_, there) in &pairs {
            (&*there).write_all(b"x").unwrap();
        }
        while got.get() < pairs.len() {
            io.sleep(Duration::from_micros(100)).await;
        }
    });
}

#[test]
fn an_event_of_another_thread_is_heard_however_often_it_comes() {
    // SAFETY: a system call without pointers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    // SAFETY: the kernel has just given us this descriptor.
    let event = Rc::new(unsafe { OwnedFd::from_raw_fd(fd) });
    let mut other = std::fs::File::from(event.try_clone().unwrap());
    let writer = std::thread::spawn(move || {
        for _ in 0..1000 {
            other.write_all(&1u64.to_ne_bytes()).unwrap();
        }
    });
    let io = UringIo::plain(ENTRIES).unwrap();
    io.block_on(async {
        let mut heard = 0;
        while heard < 1000 {
            heard += io.wait_event(&event).await.unwrap();
        }
        assert_eq!(heard, 1000);
    });
    writer.join().unwrap();
}

#[test]
fn what_comes_between_two_receives_is_there_and_so_is_the_end() {
    let io = UringIo::plain(ENTRIES).unwrap();
    io.block_on(async {
        let (stream, mut there) = pair(&io);
        let mut heard = Vec::new();
        // Reads that leave the socket empty, and reads that do not: the next one waits first, or not.
        for (text, room) in [("drained", 64), ("more", 2), ("drained again", 64)] {
            there.write_all(text.as_bytes()).unwrap();
            let (count, buffer) = stream.receive(BytesMut::with_capacity(room)).await;
            assert_eq!(count.unwrap(), buffer.len());
            heard.extend_from_slice(&buffer);
        }
        drop(there);
        assert_eq!(heard, b"drainedmoredrained again");
        assert_eq!(stream.receive(BytesMut::with_capacity(8)).await.0.unwrap(), 0);
        let (end, _) = stream.receive(BytesMut::with_capacity(8)).await;
        assert_eq!(end.unwrap(), 0, "it stays at its end");
    });
}

#[test]
fn a_task_that_is_always_ready_holds_up_neither_sockets_nor_timers() {
    let io = UringIo::plain(ENTRIES).unwrap();
    io.block_on(async {
        io.spawn(async {
            loop {
                yield_once().await;
            }
        });
        let (stream, mut there) = pair(&io);
        there.write_all(b"x").unwrap();
        assert_eq!(stream.receive(BytesMut::with_capacity(8)).await.0.unwrap(), 1);
        let before = io.elapsed();
        io.sleep(Duration::from_millis(2)).await;
        assert!(io.elapsed() - before >= Duration::from_millis(2));
    });
    io.stop_tasks();
}

#[test]
fn sleepers_wake_in_the_order_of_their_deadlines() {
    let io = UringIo::plain(ENTRIES).unwrap();
    let order = Rc::new(std::cell::RefCell::new(Vec::new()));
    io.block_on(async {
        for wait_ms in [6, 2, 4, 0] {
            let (sleeper, order) = (io.clone(), Rc::clone(&order));
            io.spawn(async move {
                sleeper.sleep(Duration::from_millis(wait_ms)).await;
                order.borrow_mut().push(wait_ms);
            });
        }
        io.sleep(Duration::from_millis(8)).await;
    });
    assert_eq!(*order.borrow(), [0, 2, 4, 6]);
}
