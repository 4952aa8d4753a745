//! A blocking client that sends any request at any version and sees every byte of the answer.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use ringlog_broker::protocol::codec::{Request, Str};
use ringlog_broker::protocol::{decode_response, encode_request};

/// How long a test waits for what must come. Never the time that a test takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Decodes an answer: its correlation id and its body.
pub fn answer<R: Request>(frame: Bytes, version: i16) -> (i32, R::Response) {
    decode_response::<R>(frame, version)
        .unwrap_or_else(|error| panic!("answer to {} version {version}: {error}", R::NAME))
}

pub struct Client {
    stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the broker listens");
        stream.set_nodelay(true).expect("an option");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        stream.set_write_timeout(Some(PATIENCE)).expect("an option");
        Self { stream, correlation_id: 0 }
    }

    /// Sends a request without waiting for its answer; gives its correlation id.
    pub fn send<R: Request>(&mut self, request: &R, version: i16) -> i32 {
        self.correlation_id += 1;
        let id = Str::from_static("e2e");
        let frame = encode_request(request, version, self.correlation_id, Some(&id))
            .unwrap_or_else(|error| panic!("{} version {version}: {error}", R::NAME));
        self.send_bytes(&frame.into_bytes());
        self.correlation_id
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker takes the request");
    }

    /// The next frame, without its length.
    pub fn receive_frame(&mut self) -> Bytes {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).expect("an answer comes");
        let length = usize::try_from(u32::from_be_bytes(length)).expect("a length");
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame).expect("a whole answer comes");
        Bytes::from(frame)
    }

    /// The next answer with its correlation id.
    pub fn receive<R: Request>(&mut self, version: i16) -> (i32, R::Response) {
        answer::<R>(self.receive_frame(), version)
    }

    /// Sends a request and waits for its answer.
    pub fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        let sent = self.send(request, version);
        let (received, response) = self.receive::<R>(version);
        assert_eq!(received, sent, "the correlation id is that of the request");
        response
    }

    /// The next frame, or `None` once the broker has closed the connection.
    pub fn try_receive_frame(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let length = usize::try_from(u32::from_be_bytes(length)).expect("a length");
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame).ok()?;
        Some(Bytes::from(frame))
    }

    /// As [`Client::ask`]; `None` if the broker went away instead of answering.
    pub fn try_ask<R: Request>(&mut self, request: &R, version: i16) -> Option<R::Response> {
        self.correlation_id += 1;
        let frame = encode_request(request, version, self.correlation_id, None).expect("encodes");
        self.stream.write_all(&frame.into_bytes()).ok()?;
        self.try_receive_frame().map(|frame| answer::<R>(frame, version).1)
    }

    /// Waits until the broker closes the connection; whether it did so without a byte of answer.
    pub fn is_closed_silently(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}
