//! What the network needs of the broker behind it.

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;

/// Answers frames. One shard's broker, or a stand-in in tests.
pub trait Service: 'static {
    /// What is known of a connection.
    type Session: 'static;
    /// An answer to come.
    type Pending: 'static;

    /// A client has connected from `peer`.
    fn open(&self, peer: SocketAddr) -> Self::Session;

    /// Takes one frame, without its length, in its turn: the connection's next frame is looked at
    /// when this resolves. While it does not, the connection is not read. It is not dropped
    /// before it resolves, unless the whole shard ends.
    fn accept(
        &self,
        session: &Rc<Self::Session>,
        frame: Bytes,
    ) -> impl Future<Output = Outcome<Self::Pending>>;

    /// Waits for an answer: a whole frame, its length included, in parts to be sent in order.
    /// `None` closes the connection instead. Called in the order of the requests, when all earlier
    /// answers of the connection are on their way; dropped when the client is gone.
    fn finish(pending: Self::Pending) -> impl Future<Output = Option<Vec<Bytes>>>;
}

/// What becomes of a frame.
#[derive(Debug)]
pub enum Outcome<P> {
    /// There will be an answer.
    Answer(P),
    /// There is nothing to answer.
    Silent,
    /// The connection is to be closed once earlier requests are answered, and this is why.
    Close(String),
}
