//! The sockets: an accept loop of our own over hyper's connections, so that a connection can be
//! reset, left hanging or cut at will.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::engine::{Conduct, Reply};
use super::{Answer, Request, Shared, control};

/// The largest body that is read, in bytes: above every documented limit, which the providers
/// themselves answer. A larger one ends the connection.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

const BACKLOG: u32 = 1024;

/// What the accept loop is told.
enum Command {
    Down(Duration),
    Stop,
}

/// A running server. Dropping it stops it.
pub struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    task: JoinHandle<()>,
}

impl Handle {
    /// Resets all connections and refuses new ones for this long.
    pub fn down(&self, time: Duration) {
        // A loop that is gone has no connections.
        let _ = self.commands.send(Command::Down(time));
    }

    /// Ends all connections and waits for it.
    pub async fn stop(mut self) {
        let _ = self.commands.send(Command::Stop);
        // It can fail only by a panic, which has been reported where it happened.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens, and serves in the background.
pub(super) fn start(address: SocketAddr, shared: Arc<Shared>) -> io::Result<(SocketAddr, Handle)> {
    let listener = reserve(address, true)?.listen(BACKLOG)?;
    let address = listener.local_addr()?;
    let (commands, received) = mpsc::unbounded_channel();
    let server = Server { address, shared, commands: commands.clone(), connections: JoinSet::new() };
    let task = tokio::spawn(server.run(listener, received));
    Ok((address, Handle { commands, task }))
}

/// Binds without listening: connections to the port are refused.
///
/// With `shared` the port may be one on which connections of an earlier time linger; but as long as
/// nobody listens on it, it may then be given to somebody else who takes any free one.
fn reserve(address: SocketAddr, shared: bool) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(shared)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Keeps the port for oneself without listening, as soon as the connections on it are gone.
async fn keep(address: SocketAddr) -> io::Result<TcpSocket> {
    for _ in 0..200 {
        if let Ok(socket) = reserve(address, false) {
            return Ok(socket);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    reserve(address, true)
}

struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
    connections: JoinSet<()>,
}

impl Server {
    async fn run(mut self, listener: TcpListener, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut listener = Some(listener);
        let (reset_all, reset) = watch::channel(());
        while let Some(open) = listener.take() {
            match self.serve(&open, &mut commands, &reset).await {
                Command::Stop => break,
                Command::Down(time) => {
                    drop(open);
                    reset_all.send_replace(());
                    listener = self.refuse(time, &mut commands).await;
                }
            }
        }
        self.connections.shutdown().await;
    }

    /// Accepts connections until told otherwise.
    async fn serve(
        &mut self,
        listener: &TcpListener,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        reset: &watch::Receiver<()>,
    ) -> Command {
        loop {
            tokio::select! {
                command = commands.recv() => return command.unwrap_or(Command::Stop),
                Some(_) = self.connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.connect(stream, reset.clone()),
                    // Out of file descriptors, most likely: give those in use time to end.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                },
            }
        }
    }

    fn connect(&mut self, stream: TcpStream, mut reset: watch::Receiver<()>) {
        reset.mark_unchanged();
        let down = self.commands.clone();
        let connection = Connection {
            shared: self.shared.clone(),
            down: Box::new(move |time| {
                // A loop that is gone has no connections.
                let _ = down.send(Command::Down(time));
            }),
            abort: Notify::new(),
            in_control: AtomicBool::new(false),
        };
        self.connections.spawn(connect(Arc::new(connection), stream, reset));
    }

    /// Keeps the port without listening. `None` when stopped meanwhile, or the port is lost.
    async fn refuse(
        &mut self,
        time: Duration,
        commands: &mut mpsc::UnboundedReceiver<Command>,
    ) -> Option<TcpListener> {
        let socket = keep(self.address)
            .await
            .inspect_err(|error| tracing::error!(%error, "the simulator has lost its port"))
            .ok()?;
        let mut until = Instant::now() + time;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => break,
                command = commands.recv() => match command {
                    Some(Command::Down(time)) => until = Instant::now() + time,
                    Some(Command::Stop) | None => return None,
                },
            }
        }
        // From here on its connections may linger: one that could not be shared would then keep the port
        // from being bound again, even by ourselves.
        socket
            .set_reuseaddr(true)
            .and_then(|()| socket.listen(BACKLOG))
            .inspect_err(|error| tracing::error!(%error, "the simulator can't listen again"))
            .ok()
    }
}

struct Connection {
    shared: Arc<Shared>,
    down: Box<dyn Fn(Duration) + Send + Sync>,
    /// Resets this connection.
    abort: Notify,
    /// It is answering a request under `/_simulator/`, which a refusal of connections spares: the
    /// answer to the request that asks for it would be lost.
    in_control: AtomicBool,
}

async fn connect(connection: Arc<Connection>, stream: TcpStream, mut reset: watch::Receiver<()>) {
    // Both fail only on a socket that is gone already; the requests then find out.
    let _ = stream.set_nodelay(true);
    let Ok(handle) = SockRef::from(&stream).try_clone() else { return };
    let service = service_fn(|request| respond(connection.clone(), request));
    let mut http = std::pin::pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    loop {
        tokio::select! {
            // An error here is the client's leaving or a body that was cut: both are meant.
            _ = http.as_mut() => return,
            () = connection.abort.notified() => break,
            changed = reset.changed() => {
                if changed.is_err() || !connection.in_control.load(Ordering::Acquire) {
                    break;
                }
                http.as_mut().graceful_shutdown();
            }
        }
    }
    // Closing with no time to linger sends RST instead of FIN; the close comes when both this
    // handle and hyper's are dropped, at the end of this function.
    let _ = handle.set_linger(Some(Duration::ZERO));
}

async fn respond(
    connection: Arc<Connection>,
    request: hyper::Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await else {
        // Not arrived whole, or too large to be read: never answered, not in the ledger.
        connection.abort.notify_one();
        return std::future::pending().await;
    };
    let now = connection.shared.now();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let path = head.uri.path().to_owned();
    let request = Request { method: head.method, path, headers: head.headers, body: body.to_bytes() };
    if let Some(rest) = request.path.strip_prefix(control::PREFIX) {
        connection.in_control.store(true, Ordering::Release);
        let (answer, down) = control::answer(&connection.shared, &request, rest, &query);
        if let Some(time) = down {
            (connection.down)(time);
        }
        return Ok(whole(answer));
    }
    connection.in_control.store(false, Ordering::Release);
    let reply = connection.shared.engine().handle(&request, now);
    carry_out(&connection, reply).await
}

async fn carry_out(connection: &Connection, reply: Reply) -> Result<Response<AnswerBody>, Infallible> {
    if reply.latency > Duration::ZERO {
        tokio::time::sleep(reply.latency).await;
    }
    match reply.conduct {
        Conduct::Answer => Ok(whole(reply.answer)),
        Conduct::Cut => Ok(cut(reply.answer)),
        Conduct::Reset => {
            connection.abort.notify_one();
            std::future::pending().await
        }
        // Hyper drops this future when the client closes the connection.
        Conduct::Hang => std::future::pending().await,
    }
}

fn whole(answer: Answer) -> Response<AnswerBody> {
    let body = AnswerBody { rest: answer.body.len() as u64, ready: Some(answer.body.clone()), flushed: true };
    respond_with(answer, body)
}

fn cut(answer: Answer) -> Response<AnswerBody> {
    let half = answer.body.slice(..answer.body.len() / 2);
    let body = AnswerBody { rest: answer.body.len() as u64, ready: Some(half), flushed: false };
    respond_with(answer, body)
}

fn respond_with(answer: Answer, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers {
        if let Ok(value) = hyper::header::HeaderValue::from_str(&value) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// A body that may end before its announced length.
struct AnswerBody {
    /// Bytes announced and not yet given.
    rest: u64,
    ready: Option<Bytes>,
    flushed: bool,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(data) = self.ready.take().filter(|data| !data.is_empty()) {
            self.rest -= data.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if self.rest == 0 {
            return Poll::Ready(None);
        }
        if !self.flushed {
            // Hyper writes what it has when a body makes it wait, and throws it away on an error.
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest)
    }

    fn is_end_stream(&self) -> bool {
        self.rest == 0
    }
}
