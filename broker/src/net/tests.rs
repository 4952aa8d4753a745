//! The network against clients of the standard library, with a stand-in for the broker.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use super::*;

/// Answers a frame by its first byte:
/// `e` the same frame; `w` the same frame, once a `g` has come; `g`, `s` nothing;
/// `b` a MiB of `b` in parts of 64 KiB; `x` closes; `n` has no answer; `p` panics.
#[derive(Default)]
struct StandIn {
    go: Arc<Notify>,
    sessions: Cell<usize>,
}

struct Answer {
    frame: Bytes,
    go: Arc<Notify>,
}

impl Service for StandIn {
    type Session = SocketAddr;
    type Pending = Answer;

    fn open(&self, peer: SocketAddr) -> SocketAddr {
        self.sessions.set(self.sessions.get() + 1);
        peer
    }

    async fn accept(&self, _session: &Rc<SocketAddr>, frame: Bytes) -> Outcome<Answer> {
        match frame.first() {
            Some(b'g') => {
                self.go.notify_one();
                Outcome::Silent
            }
            Some(b's') => Outcome::Silent,
            Some(b'p') => panic!("on purpose"),
            Some(b'e' | b'w' | b'b' | b'n') => {
                Outcome::Answer(Answer { frame, go: Arc::clone(&self.go) })
            }
            _ => Outcome::Close("not a request of the stand-in".to_owned()),
        }
    }

    async fn finish(answer: Answer) -> Option<Vec<Bytes>> {
        match answer.frame[0] {
            b'n' => return None,
            b'w' => answer.go.notified().await,
            b'b' => {
                let part = Bytes::from(vec![b'b'; 64 * 1024]);
                let length = Bytes::copy_from_slice(&(1_i32 << 20).to_be_bytes());
                return Some(
                    std::iter::once(length).chain(std::iter::repeat_n(part, 16)).collect(),
                );
            }
            _ => {}
        }
        let length = i32::try_from(answer.frame.len()).expect("small").to_be_bytes();
        Some(vec![Bytes::copy_from_slice(&length), answer.frame])
    }
}

fn settings() -> NetSettings {
    NetSettings {
        request_bytes_max: 4 << 20,
        requests_open_max: 8,
        idle_max: None,
        closed_wait: Duration::from_secs(20),
        stop_wait: Duration::from_secs(20),
    }
}

struct Server {
    address: SocketAddr,
    go: Arc<Notify>,
    stop: Option<oneshot::Sender<()>>,
    stopped: mpsc::Receiver<bool>,
}

impl Server {
    fn start(settings: NetSettings, connections_max: usize) -> Self {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = bind(any_port, 1, SocketBuffers::default()).expect("a port").remove(0);
        let address = listener.local_addr().expect("bound");
        let (stop, stopping) = oneshot::channel();
        let (ended, stopped) = mpsc::channel();
        let go = Arc::new(Notify::new());
        let stand_in = StandIn { go: Arc::clone(&go), ..StandIn::default() };
        std::thread::spawn(move || {
            let budget = ConnectionBudget::new(connections_max);
            let io = UringIo::plain(64).expect("a ring");
            ended.send(task::run(&io, run(&io, stand_in, listener, settings, budget, stopping)))
        });
        Self { address, go, stop: Some(stop), stopped }
    }

    fn client(&self) -> Client {
        Client(TcpStream::connect(self.address).expect("accepted"))
    }

    fn begin_stop(&mut self) {
        self.stop.take().expect("stopped once").send(()).expect("it runs");
    }

    /// Says whether it stopped without a panic.
    fn ended(self) -> bool {
        self.stopped.recv_timeout(Duration::from_secs(60)).expect("it ends")
    }

    fn stop(mut self) {
        self.begin_stop();
        assert!(self.ended());
    }
}

/// Says whether it ended without a panic.
async fn run(
    io: &UringIo,
    stand_in: StandIn,
    listener: TcpListener,
    settings: NetSettings,
    budget: ConnectionBudget,
    stopping: oneshot::Receiver<()>,
) -> bool {
    let stop = async move {
        let _ = stopping.await;
    };
    let serving = serve(io, Rc::new(stand_in), listener, settings, budget.clone(), stop);
    tokio::select! {
        served = serving => served.expect("it could listen"),
        () = task::panicked() => return false,
    }
    assert_eq!(budget.open(), 0, "every connection gave its place back");
    true
}

struct Client(TcpStream);

impl Client {
    fn send(&mut self, frame: &[u8]) {
        self.try_send(frame).expect("sent");
    }

    fn try_send(&mut self, frame: &[u8]) -> io::Result<()> {
        let length = i32::try_from(frame.len()).expect("small").to_be_bytes();
        self.0.write_all(&[&length, frame].concat())
    }

    fn receive(&mut self) -> Vec<u8> {
        self.try_receive().expect("an answer")
    }

    fn try_receive(&mut self) -> io::Result<Vec<u8>> {
        self.0.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).expect("positive")];
        self.0.read_exact(&mut frame)?;
        Ok(frame)
    }

    fn echoes(&mut self, frame: &[u8]) {
        self.send(frame);
        assert_eq!(self.receive(), frame);
    }

    /// Waits for the end of the connection and wants nothing before it.
    fn is_closed(&mut self) {
        self.0.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        match self.0.read(&mut [0; 16]) {
            Ok(0) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            other => panic!("the connection should be closed: {other:?}"),
        }
    }
}

#[test]
fn answers_come_in_the_order_of_requests_even_if_later_ones_are_ready_first() {
    let server = Server::start(settings(), 10);
    let mut client = server.client();
    client.send(b"e0");
    client.send(b"w1");
    client.send(b"e2");
    client.send(b"w3");
    client.send(b"e4");
    assert_eq!(client.receive(), b"e0");
    let mut other = server.client();
    other.send(b"g");
    assert_eq!(client.receive(), b"w1");
    assert_eq!(client.receive(), b"e2");
    other.send(b"g");
    assert_eq!(client.receive(), b"w3");
    assert_eq!(client.receive(), b"e4");
    server.stop();
}

#[test]
fn frames_of_every_size_arrive_whole_in_whatever_pieces_they_come() {
    let server = Server::start(settings(), 10);
    let mut client = server.client();
    for size in [1, 2, 4090, 4091, 4092, 4093, 8192, 100_000, 1 << 20, 3 << 20, 10] {
        let mut frame = vec![b'.'; size];
        frame[0] = b'e';
        frame[size - 1] = b'e';
        client.echoes(&frame);
    }
    for byte in [&[0, 0][..], &[0, 4], b"eb", b"yt"] {
        client.0.write_all(byte).expect("sent");
    }
    assert_eq!(client.receive(), b"ebyt");
    server.stop();
}

#[test]
fn more_requests_than_may_be_open_are_all_answered() {
    let server = Server::start(settings(), 10);
    let mut client = server.client();
    let mut wire = Vec::new();
    for n in 0..5_000_u32 {
        wire.extend([0, 0, 0, 5, b'e']);
        wire.extend(n.to_be_bytes());
    }
    let mut sender = client.0.try_clone().expect("a second handle");
    let sending = std::thread::spawn(move || sender.write_all(&wire));
    for n in 0..5_000_u32 {
        assert_eq!(client.receive()[1..], n.to_be_bytes());
    }
    sending.join().expect("no panic").expect("all sent");
    server.stop();
}

#[test]
fn a_client_that_reads_no_answers_stops_its_own_requests_and_nobody_elses() {
    let server = Server::start(settings(), 10);
    let mut deaf = server.client();
    deaf.0.set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    // Requests of 64 KiB with answers of a MiB: at some point the kernel takes no more of them.
    let frame = vec![b'b'; 64 * 1024];
    let taken = (0..10_000).take_while(|_| deaf.try_send(&frame).is_ok()).count();
    assert!(taken < 10_000, "the client was never stopped");
    let mut other = server.client();
    other.echoes(b"e still served");
    drop(deaf);
    other.echoes(b"e still served");
    server.stop();
}

#[test]
fn a_client_that_has_sent_its_last_request_still_gets_its_answers() {
    let server = Server::start(settings(), 10);
    let mut client = server.client();
    client.send(b"w1");
    client.send(b"e2");
    client.0.shutdown(Shutdown::Write).expect("half closed");
    server.client().send(b"g");
    assert_eq!(client.receive(), b"w1");
    assert_eq!(client.receive(), b"e2");
    client.is_closed();
    server.stop();
}

#[test]
fn a_client_that_left_in_a_long_poll_gives_its_place_back_after_a_short_wait() {
    let closed_wait = Duration::from_millis(50);
    let server = Server::start(NetSettings { closed_wait, ..settings() }, 1);
    let mut left = server.client();
    left.echoes(b"e");
    left.send(b"w for ever");
    drop(left);
    // The server learns of it in its own time.
    while {
        let mut next = server.client();
        next.try_send(b"e next").and_then(|()| next.try_receive()).is_err()
    } {}
    server.stop();
}

#[test]
fn a_client_that_has_sent_its_last_request_gets_what_is_ready_and_is_closed() {
    let closed_wait = Duration::from_millis(50);
    let server = Server::start(NetSettings { closed_wait, ..settings() }, 10);
    let mut client = server.client();
    for frame in [b"e1", b"b2", b"e3", b"w4", b"e5"] {
        client.send(frame);
    }
    client.0.shutdown(Shutdown::Write).expect("half closed");
    assert_eq!(client.receive(), b"e1");
    assert_eq!(client.receive().len(), 1 << 20);
    assert_eq!(client.receive(), b"e3");
    client.is_closed();
    server.stop();
}

#[test]
fn large_requests_that_are_not_answered_stop_the_reading_though_they_are_few() {
    let server = Server::start(NetSettings { requests_open_max: 1000, ..settings() }, 10);
    let mut client = server.client();
    client.0.set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    let frame = vec![b'w'; 2 << 20];
    // The kernel holds some on their way.
    let sent = (0..100).take_while(|_| client.try_send(&frame).is_ok()).count();
    assert!((1..100).contains(&sent), "{sent} of 100 requests were taken");
    let mut other = server.client();
    for _ in 0..sent {
        other.send(b"g");
        assert_eq!(client.receive(), frame);
    }
    drop(client);
    server.stop();
}

#[test]
fn lengths_that_no_request_may_have_and_refused_requests_close_the_connection() {
    let server = Server::start(settings(), 10);
    let lengths = [-1, i32::MIN, i32::MAX, (4 << 20) + 1];
    for wire in lengths.map(|length: i32| length.to_be_bytes().to_vec()).into_iter().chain([
        b"\0\0\0\x01x".to_vec(),
        b"\0\0\0\0".to_vec(),
        b"\0\0\0\x01n".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ]) {
        let mut client = server.client();
        client.echoes(b"e before");
        client.0.write_all(&wire).expect("sent");
        client.is_closed();
    }
    server.client().echoes(b"e after");
    server.stop();
}

#[test]
fn answers_owed_before_a_refused_request_are_sent_before_the_connection_closes() {
    let server = Server::start(settings(), 10);
    let mut client = server.client();
    client.send(b"w1");
    client.send(b"x");
    server.client().send(b"g");
    assert_eq!(client.receive(), b"w1");
    client.is_closed();
    server.stop();
}

#[test]
fn a_client_above_the_limit_is_closed_and_one_that_leaves_makes_room() {
    let server = Server::start(settings(), 2);
    let mut first = server.client();
    let mut second = server.client();
    first.echoes(b"e1");
    second.echoes(b"e2");
    server.client().is_closed();
    drop(first);
    // The server learns of it in its own time.
    while {
        let mut next = server.client();
        next.try_send(b"e3").and_then(|()| next.try_receive()).is_err()
    } {}
    second.echoes(b"e4");
    server.stop();
}

#[test]
fn silent_connections_are_closed_and_those_that_wait_for_the_broker_are_not() {
    let idle_max = Some(Duration::from_millis(100));
    let server = Server::start(NetSettings { idle_max, ..settings() }, 10);
    let mut waiting = server.client();
    waiting.send(b"w");
    let mut silent = server.client();
    silent.echoes(b"e");
    silent.is_closed();
    let mut half_sent = server.client();
    half_sent.0.write_all(b"\0\0\0\x09e").expect("sent");
    half_sent.is_closed();
    server.client().send(b"g");
    assert_eq!(waiting.receive(), b"w");
    waiting.is_closed();
    server.stop();
}

#[test]
fn stopping_answers_what_was_taken_in_and_closes_everything() {
    let mut server = Server::start(settings(), 10);
    let mut idle = server.client();
    let mut busy = server.client();
    let mut half_sent = server.client();
    idle.echoes(b"e idle");
    half_sent.echoes(b"e half");
    half_sent.0.write_all(b"\0\0\0\x09e").expect("sent");
    busy.send(b"e1");
    busy.send(b"w2");
    assert_eq!(busy.receive(), b"e1");
    server.begin_stop();
    idle.is_closed();
    half_sent.is_closed();
    assert!(TcpStream::connect(server.address).is_err(), "no client is accepted any more");
    server.go.notify_one();
    assert_eq!(busy.receive(), b"w2");
    busy.is_closed();
    assert!(server.ended());
}

#[test]
fn stopping_waits_no_longer_than_it_may_for_a_client_that_takes_nothing() {
    let stop_wait = Duration::from_millis(50);
    let server = Server::start(NetSettings { stop_wait, ..settings() }, 10);
    let mut waiting = server.client();
    waiting.echoes(b"e");
    waiting.send(b"w for ever");
    let mut deaf = server.client();
    deaf.echoes(b"e");
    for _ in 0..8 {
        deaf.send(b"b");
    }
    server.stop();
    waiting.is_closed();
}

#[test]
fn a_panic_while_a_request_is_handled_is_not_swallowed() {
    let server = Server::start(settings(), 10);
    server.client().send(b"p");
    assert!(!server.ended());
}
