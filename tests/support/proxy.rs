//! A TCP proxy on loopback, in front of one server: what the network between the two does is told at
//! run time.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// How many bytes are read at once; they pass or are held together.
const CHUNK: usize = 16 * 1024;

/// So many chunks may be on their way in one direction, then the sender's own buffers fill.
const ON_THE_WAY: usize = 256;

/// What becomes of the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Flow {
    /// Each takes as long as chance says, at least and at most; their order stays.
    Delayed(Duration, Duration),
    /// None passes, and no end of a connection either: nobody is told, as when packets vanish. They go
    /// on when they may pass again.
    Stopped,
}

impl Flow {
    /// At once.
    pub const FREE: Self = Self::Delayed(Duration::ZERO, Duration::ZERO);

    fn delay(self) -> Duration {
        match self {
            Self::Delayed(least, most) => least + (most - least).mul_f64(rand::random()),
            Self::Stopped => Duration::ZERO,
        }
    }
}

/// How connections are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Both sides get a RST; what was on its way is lost.
    Reset,
    /// Both sides get a FIN, as from a process that ended.
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct State {
    to_server: Flow,
    to_client: Flow,
    listening: bool,
    /// How often connections were cut, and how the last time.
    cuts: (u64, Cut),
}

/// A running proxy; ends with all its connections when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
}

impl Proxy {
    /// A proxy before a server, through which everything passes at first.
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (to_server, to_client) = (Flow::FREE, Flow::FREE);
        let state =
            watch::Sender::new(State { to_server, to_client, listening: true, cuts: (0, Cut::Close) });
        tokio::spawn(listen(listener, server, state.subscribe()));
        Self { address, state }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything passes at once, and new connections are taken.
    pub fn pass(&self) {
        self.flow(Flow::FREE, Flow::FREE);
        self.state.send_modify(|state| state.listening = true);
    }

    /// What becomes of bytes on their way to the server and back, of open connections and new ones.
    pub fn flow(&self, to_server: Flow, to_client: Flow) {
        self.state.send_modify(|state| (state.to_server, state.to_client) = (to_server, to_client));
    }

    /// Delays each direction by chance within these bounds.
    pub fn delay(&self, least: Duration, most: Duration) {
        self.flow(Flow::Delayed(least, most), Flow::Delayed(least, most));
    }

    /// Ends every connection; new ones are taken as before.
    pub fn cut(&self, how: Cut) {
        self.state.send_modify(|state| state.cuts = (state.cuts.0 + 1, how));
    }

    /// Refuses new connections; those that are open stay.
    pub fn refuse(&self) {
        self.state.send_modify(|state| state.listening = false);
    }
}

async fn listen(listener: TcpListener, server: SocketAddr, mut state: watch::Receiver<State>) {
    let address = listener.local_addr().expect("its address");
    let mut listener = Some(listener);
    // An error of `state` means that the proxy is gone.
    loop {
        if !state.borrow_and_update().listening {
            drop(listener.take());
        } else if listener.is_none() {
            listener = Some(listen_again(address).await);
        }
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            Ok((client, _)) = accept(listener.as_ref()) => {
                tokio::spawn(lead(client, server, state.clone()));
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// The port was this proxy's a moment ago; somebody may have been given it for a passing connection.
async fn listen_again(address: SocketAddr) -> TcpListener {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) => assert!(Instant::now() < deadline, "{address}: {error}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Leads one connection until it ends or is cut.
async fn lead(mut client: TcpStream, server: SocketAddr, state: watch::Receiver<State>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return reset(&client) };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let mut how = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            how = cut(state.clone()) => how,
            how = both(
                pump(from_client, to_server, state.clone(), |state| state.to_server),
                pump(from_server, to_client, state.clone(), |state| state.to_client),
            ) => how,
        }
    };
    if state.has_changed().is_err() {
        how = Cut::Reset;
    }
    match how {
        Cut::Reset => [client, server].iter().for_each(reset),
        Cut::Close => {}
    }
}

/// Makes the end of a connection a RST.
fn reset(stream: &TcpStream) {
    // An error means that it has ended already.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Returns when connections are cut from now on, or the proxy is gone.
async fn cut(mut state: watch::Receiver<State>) -> Cut {
    let before = state.borrow().cuts.0;
    state.wait_for(|state| state.cuts.0 != before).await.map_or(Cut::Reset, |state| state.cuts.1)
}

/// Both directions end in good order, or one breaks.
async fn both(one: impl Future<Output = io::Result<()>>, other: impl Future<Output = io::Result<()>>) -> Cut {
    match tokio::try_join!(one, other) {
        Ok(_) => Cut::Close,
        Err(_) => Cut::Reset,
    }
}

/// One direction, up to its end.
async fn pump(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    state: watch::Receiver<State>,
    flow: impl Fn(&State) -> Flow + Copy,
) -> io::Result<()> {
    let (chunks, on_the_way) = mpsc::channel(ON_THE_WAY);
    tokio::try_join!(take_in(from, chunks, state.clone(), flow), let_out(to, on_the_way, state, flow))?;
    Ok(())
}

async fn take_in(
    mut from: ReadHalf<'_>,
    chunks: mpsc::Sender<(Instant, Vec<u8>)>,
    mut state: watch::Receiver<State>,
    flow: impl Fn(&State) -> Flow,
) -> io::Result<()> {
    let mut last = Instant::now();
    loop {
        let mut chunk = vec![0; CHUNK];
        let read = from.read(&mut chunk).await;
        // Looked at after the bytes came: an end that comes while nothing passes is not told either.
        let delay = passing(&mut state, &flow).await?.delay();
        let read = read?;
        if read == 0 {
            return Ok(());
        }
        chunk.truncate(read);
        last = last.max(Instant::now() + delay);
        if chunks.send((last, chunk)).await.is_err() {
            return Ok(());
        }
    }
}

async fn let_out(
    mut to: WriteHalf<'_>,
    mut chunks: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut state: watch::Receiver<State>,
    flow: impl Fn(&State) -> Flow,
) -> io::Result<()> {
    while let Some((due, chunk)) = chunks.recv().await {
        sleep_until(due).await;
        passing(&mut state, &flow).await?;
        to.write_all(&chunk).await?;
    }
    to.shutdown().await
}

/// Waits until bytes may pass.
async fn passing(state: &mut watch::Receiver<State>, flow: impl Fn(&State) -> Flow) -> io::Result<Flow> {
    let state = state.wait_for(|state| flow(state) != Flow::Stopped).await;
    state.map(|state| flow(&state)).map_err(|_| io::ErrorKind::ConnectionReset.into())
}
