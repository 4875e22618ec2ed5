//! The way to end a connection that the library would keep.
//!
//! The library serves each connection by a thread of its own, which waits without any limit for the
//! broker's answer to a greeting or to a goodbye. Where something takes what is sent and never
//! answers (a node that stands still, a balancer before a dead one), each attempt to connect would
//! leave a thread and a socket behind. Shutting down the socket ends that wait.

use std::io;
use std::net::Shutdown;
use std::sync::{Arc, Mutex};

use socket2::{SockRef, Socket};
use tokio::net::TcpStream;

use super::lock;

#[derive(Default)]
enum State {
    #[default]
    NotYet,
    Open(Socket),
    Cut,
}

/// Holds a connection's socket from the moment it is open. Cut when dropped.
#[derive(Default)]
pub(super) struct Lifeline(Arc<Mutex<State>>);

/// What ties a socket to its lifeline.
pub(super) struct Knot(Arc<Mutex<State>>);

impl Lifeline {
    /// For whoever opens the socket.
    pub fn knot(&self) -> Knot {
        Knot(self.0.clone())
    }

    /// Ends the connection, or keeps it from being used when it is not open yet.
    pub fn cut(&self) {
        if let State::Open(socket) = std::mem::replace(&mut *lock(&self.0), State::Cut) {
            // An error means that it has ended already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Knot {
    /// Ties an open socket to the lifeline.
    ///
    /// # Errors
    /// When nobody wants the connection any more, or the system has no descriptor left for it.
    pub fn tie(&self, stream: &TcpStream) -> io::Result<()> {
        let socket = SockRef::from(stream).try_clone()?;
        let mut state = lock(&self.0);
        match *state {
            State::NotYet | State::Open(_) => *state = State::Open(socket),
            State::Cut => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (one, other) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (one.unwrap(), other.unwrap().0)
    }

    #[tokio::test]
    async fn a_dropped_lifeline_ends_both_sides_of_its_connection() {
        let (mut ours, mut theirs) = pair().await;
        let lifeline = Lifeline::default();
        lifeline.knot().tie(&ours).unwrap();
        drop(lifeline);
        assert_eq!(ours.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(theirs.read(&mut [0; 8]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_socket_that_opens_after_the_cut_is_not_used() {
        let lifeline = Lifeline::default();
        let knot = lifeline.knot();
        lifeline.cut();
        let refused = knot.tie(&pair().await.0).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionAborted);
    }
}
