//! The one connection to Redis: who opens it, who notices that it is lost, who opens it again.
//!
//! Reconnecting is done here and not by the client library, so that one place decides: a call on a
//! lost connection fails at once, exactly one task tries to connect again, and a new connection is
//! used only after the store has shown that it can be used (`probe.lua`).

use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    RedisError, ServerErrorKind, TlsCertificates, Value,
};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::pacing::Reading;
use crate::adapters::tls;
use crate::config::{Roots, Secret};
use crate::ports::{Chance, StoreError};

/// A Lua script and its SHA-1, by which the store knows it.
#[derive(Debug)]
pub(super) struct Script(redis::Script, String);

impl Script {
    pub(super) fn new(code: &str) -> Self {
        Self(redis::Script::new(code), code.to_owned())
    }

    /// One run of it.
    pub(super) fn run<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a [u8]>,
        args: impl IntoIterator<Item = &'a [u8]>,
    ) -> Cmd {
        let keys: Vec<&[u8]> = keys.into_iter().collect();
        // About as claims need it: room that is made at once.
        let mut cmd = Cmd::with_capacity(10 * keys.len(), 256 * keys.len());
        cmd.arg("EVALSHA").arg(self.0.get_hash()).arg(keys.len()).arg(keys);
        for arg in args {
            cmd.arg(arg);
        }
        cmd
    }

    /// Makes it known to the store.
    fn load(&self) -> Cmd {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(&self.1);
        load
    }
}

/// What an error of the client means for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// The store can't be used now: connect again.
    Lost,
    /// It refuses us for good: its own or our configuration is wrong.
    Refused,
    /// The call was wrong; the connection is fine.
    Call,
}

/// Answers of a server that is up but can't do what is asked of it now, also where a script's
/// error wraps them.
const UNUSABLE: [&str; 9] = [
    "READONLY",
    "LOADING",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "NOREPLICAS",
    "MISCONF",
    "OOM",
    "BUSY",
    "UNKILLABLE",
];

const REFUSALS: [&str; 4] = ["NOAUTH", "WRONGPASS", "NOPERM", "can't run this command"];

const KEYS: tls::Keys = tls::Keys { ca: "store.ca_file", address: "store.url" };

fn trouble(error: &RedisError) -> Trouble {
    let says = |words: &[&str]| {
        let text = error.to_string();
        words.iter().any(|word| error.code() == Some(word) || text.contains(word))
    };
    if error.kind() == ErrorKind::AuthenticationFailed
        || error.kind() == ErrorKind::InvalidClientConfig
        || tls::refusal(error, KEYS).is_some()
        || error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
        || says(&REFUSALS)
    {
        Trouble::Refused
    } else if error.is_io_error()
        || error.is_timeout()
        || error.is_unrecoverable_error()
        || error.kind() == ErrorKind::Parse
        || says(&UNUSABLE)
    {
        Trouble::Lost
    } else {
        Trouble::Call
    }
}

/// Why a connection could not be opened.
#[derive(Debug)]
pub(super) struct OpenError {
    /// For people; holds no secret.
    pub(super) text: String,
    /// Whether trying again is pointless until somebody changes the configuration.
    pub(super) refused: bool,
}

/// A connection that is (or was) usable.
struct Open {
    connection: MultiplexedConnection,
    /// Tells this connection from earlier ones, so that a late failure of an old one does not
    /// close a new one.
    generation: u64,
}

/// The connection and what is known of it.
pub(super) struct Link {
    client: Client,
    password: Option<String>,
    timeout: Duration,
    probe: Script,
    probe_key: String,
    chance: Arc<dyn Chance>,
    open: RwLock<Option<Open>>,
    /// The store's clock as last seen by a probe.
    seen: RwLock<Option<Reading>>,
    up: watch::Sender<bool>,
}

impl Link {
    /// Opens the connection, or leaves that to a task of its own when the store is down.
    ///
    /// # Errors
    /// When the address can't be read, or the store refuses us for good.
    pub(super) async fn start(
        url: &Secret,
        ca: Option<&Roots>,
        timeout: Duration,
        probe_key: String,
        chance: Arc<dyn Chance>,
    ) -> Result<Arc<Self>, StoreError> {
        let link = Arc::new(Self::new(url, ca, timeout, probe_key, chance)?);
        match link.connect().await {
            Ok(connection) => link.install(connection, 0),
            Err(error) if error.refused => return Err(StoreError(error.text)),
            Err(error) => {
                tracing::warn!(error = error.text, "the store is down; trying again");
                tokio::spawn(recover(Arc::downgrade(&link), 0));
            }
        }
        Ok(link)
    }

    fn new(
        url: &Secret,
        ca: Option<&Roots>,
        timeout: Duration,
        probe_key: String,
        chance: Arc<dyn Chance>,
    ) -> Result<Self, StoreError> {
        // The library's own text may quote the address, which may hold a password.
        let unreadable =
            |_| StoreError("its address can't be read (redis://HOST:PORT/DB or rediss://…)".into());
        let info = url.expose().into_connection_info().map_err(unreadable)?;
        let password = info.redis_settings().password().map(str::to_owned);
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(TcpKeepalive::new().with_time(Duration::from_secs(10)))
            .set_user_timeout(timeout.max(Duration::from_secs(1)) * 2);
        let client = client(info.set_tcp_settings(tcp), ca)?;
        Ok(Self {
            client,
            password,
            timeout,
            probe: Script::new(include_str!("probe.lua")),
            probe_key,
            chance,
            open: RwLock::new(None),
            seen: RwLock::new(None),
            up: watch::Sender::new(false),
        })
    }

    /// Whether the store can be used now, as last seen.
    pub(super) fn up(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    /// The store's clock as last seen by a probe.
    pub(super) fn seen(&self) -> Option<Reading> {
        self.seen.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the store once whether it can be used.
    pub(super) async fn ping(self: &Arc<Self>) -> bool {
        let Ok((mut connection, generation)) = self.current() else { return false };
        match self.check(&mut connection).await {
            Ok(()) => true,
            Err(error) => {
                self.lost(generation, &error.text);
                false
            }
        }
    }

    /// Runs commands in one trip, each of its script; the answers are in their order.
    ///
    /// A store that does not know a script (it restarted, or was told to forget) gets it first,
    /// and then only what it could not run is run again.
    pub(super) async fn run(
        self: &Arc<Self>,
        calls: &[(&Script, Cmd)],
    ) -> Result<Vec<Result<Value, StoreError>>, StoreError> {
        let cmds = calls.iter().map(|(_, cmd)| cmd);
        let mut answers = self.trip(cmds).await?;
        let unknown: Vec<usize> = (0..answers.len())
            .filter(|&index| answers[index].as_ref().is_err_and(is_unknown_script))
            .collect();
        if !unknown.is_empty() {
            let loads: Vec<Cmd> = unknown.iter().map(|&index| calls[index].0.load()).collect();
            let again = unknown.iter().map(|&index| &calls[index].1);
            let fresh = self.trip(loads.iter().chain(again)).await?;
            for (index, answer) in unknown.into_iter().zip(fresh.into_iter().skip(loads.len())) {
                answers[index] = answer;
            }
        }
        Ok(answers.into_iter().map(|answer| answer.map_err(|error| self.describe(&error))).collect())
    }

    /// Runs one command.
    pub(super) async fn run_one(self: &Arc<Self>, script: &Script, cmd: Cmd) -> Result<Value, StoreError> {
        let mut answers = self.run(&[(script, cmd)]).await?;
        answers.pop().unwrap_or_else(|| Err(StoreError("no answer".into())))
    }

    /// Sends commands and awaits their answers. An answer that says that the store can't be used
    /// fails the whole trip.
    pub(super) async fn trip<'a>(
        self: &Arc<Self>,
        cmds: impl IntoIterator<Item = &'a Cmd>,
    ) -> Result<Vec<Result<Value, RedisError>>, StoreError> {
        let (mut connection, generation) = self.current()?;
        let answers = match timeout(self.timeout, answers_to(&mut connection, cmds)).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(error)) => return Err(self.failed(generation, &error)),
            Err(_) => {
                let text = format!("no answer within {:?}", self.timeout);
                self.lost(generation, &text);
                return Err(StoreError(text));
            }
        };
        let unusable = |error: &&RedisError| trouble(error) != Trouble::Call;
        match answers.iter().filter_map(|answer| answer.as_ref().err()).find(unusable) {
            Some(error) => Err(self.failed(generation, error)),
            None => Ok(answers),
        }
    }

    fn failed(self: &Arc<Self>, generation: u64, error: &RedisError) -> StoreError {
        let described = self.describe(error);
        match trouble(error) {
            Trouble::Lost | Trouble::Refused => self.lost(generation, &described.0),
            Trouble::Call => {}
        }
        described
    }

    fn current(&self) -> Result<(MultiplexedConnection, u64), StoreError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let open = open.as_ref().ok_or_else(|| StoreError("down; trying to connect again".into()))?;
        Ok((open.connection.clone(), open.generation))
    }

    fn install(&self, connection: MultiplexedConnection, generation: u64) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = Some(Open { connection, generation });
        self.up.send_replace(true);
    }

    /// Drops a connection that failed and starts the one task that opens the next.
    fn lost(self: &Arc<Self>, generation: u64, why: &str) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_none_or(|open| open.generation != generation) {
            return;
        }
        *open = None;
        drop(open);
        self.up.send_replace(false);
        tracing::warn!(error = why, "the store can't be used; trying again");
        tokio::spawn(recover(Arc::downgrade(self), generation + 1));
    }

    async fn connect(&self) -> Result<MultiplexedConnection, OpenError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            // How long a call may take is said where it is made.
            .set_response_timeout(None);
        let opening = self.client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = timeout(self.timeout * 2, opening)
            .await
            .map_err(|_| OpenError { text: "connecting took too long".into(), refused: false })?
            .map_err(|error| self.open_error(&error))?;
        self.check(&mut connection).await?;
        Ok(connection)
    }

    /// Whether the store can be used over this connection: it must say who it is and take a write.
    async fn check(&self, connection: &mut MultiplexedConnection) -> Result<(), OpenError> {
        let mut eval = redis::cmd("EVAL");
        eval.arg(&self.probe.1).arg(1).arg(&self.probe_key);
        let before = Instant::now();
        let answer: Vec<Value> = timeout(self.timeout, eval.query_async(connection))
            .await
            .map_err(|_| OpenError { text: format!("no answer within {:?}", self.timeout), refused: false })?
            .map_err(|error| self.open_error(&error))?;
        let reading = probe_answer(&answer, before, Instant::now())?;
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = Some(reading);
        Ok(())
    }

    fn open_error(&self, error: &RedisError) -> OpenError {
        OpenError { text: self.describe(error).0, refused: trouble(error) == Trouble::Refused }
    }

    fn describe(&self, error: &RedisError) -> StoreError {
        if let Some(refusal) = tls::refusal(error, KEYS) {
            return StoreError(refusal);
        }
        StoreError(without(&error.to_string(), self.password.as_deref()))
    }
}

/// A client, over TLS one that trusts the system's CAs and the added ones.
fn client(info: ConnectionInfo, ca: Option<&Roots>) -> Result<Client, StoreError> {
    let unusable = |error: RedisError| StoreError(format!("no client for its address: {}", error.category()));
    match info.addr() {
        ConnectionAddr::TcpTls { insecure: true, .. } => {
            // The configuration takes no such address; this holds whoever else makes one.
            Err(StoreError("certificates are always checked: take #insecure out of store.url".into()))
        }
        ConnectionAddr::TcpTls { .. } => {
            // The library takes given roots instead of the system's, so both are given.
            let roots = tls::pem(&tls::trusted(ca));
            let certificates = TlsCertificates { client_tls: None, root_cert: Some(roots.into_bytes()) };
            Client::build_with_tls(info, certificates).map_err(unusable)
        }
        _ => Client::open(info).map_err(unusable),
    }
}

/// The probe's answer as a reading of the store's clock.
fn probe_answer(answer: &[Value], before: Instant, after: Instant) -> Result<Reading, OpenError> {
    match answer {
        [Value::BulkString(word), Value::Int(store_us), Value::BulkString(run)]
            if word == b"ok" && !run.is_empty() =>
        {
            let run = String::from_utf8_lossy(run).into_owned();
            Ok(Reading { before, after, store_us: *store_us, run })
        }
        [Value::BulkString(word), ..] if word == b"info" || word == b"ok" => Err(OpenError {
            text: "the store does not say who it is: the user needs the command INFO (run_id tells a \
                   restart, after which permits may have been forgotten)"
                .into(),
            refused: true,
        }),
        _ => Err(OpenError { text: "an unreadable answer to the probe".into(), refused: false }),
    }
}

/// Each command's answer, in one trip.
async fn answers_to(
    connection: &mut MultiplexedConnection,
    cmds: impl IntoIterator<Item = &Cmd>,
) -> Result<Vec<Result<Value, RedisError>>, RedisError> {
    let mut pipe = redis::pipe();
    pipe.ignore_errors();
    for cmd in cmds {
        pipe.add_command(cmd.clone());
    }
    pipe.query_async(connection).await
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// The text without the password, should the server or the library ever quote it.
fn without(text: &str, password: Option<&str>) -> String {
    match password {
        Some(password) if !password.is_empty() => text.replace(password, "[secret]"),
        _ => text.to_owned(),
    }
}

/// The wait before an attempt to connect: 200 ms to 1 s, spread so that workers don't come back
/// all at once.
fn recovery_wait(unit: f64) -> Duration {
    Duration::from_millis(200) + Duration::from_millis(800).mul_f64(unit.clamp(0.0, 1.0))
}

/// Tries to connect until it works or the store object is gone.
async fn recover(link: Weak<Link>, generation: u64) {
    let mut last = String::new();
    loop {
        let Some(wait) = link.upgrade().map(|link| recovery_wait(link.chance.unit())) else { return };
        sleep(wait).await;
        let Some(link) = link.upgrade() else { return };
        match link.connect().await {
            Ok(connection) => {
                link.install(connection, generation);
                tracing::info!("the store can be used again");
                return;
            }
            Err(error) => {
                if error.text != last {
                    tracing::error!(error = error.text, refused = error.refused, "the store stays down");
                }
                last = error.text;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_error(line: &str) -> RedisError {
        let (code, detail) = line.split_once(' ').unwrap_or((line, ""));
        redis::make_extension_error(code.into(), Some(detail.into()))
    }

    #[test]
    fn errors_are_told_apart() {
        let io = |kind| RedisError::from(std::io::Error::from(kind));
        let cases = [
            (io(std::io::ErrorKind::BrokenPipe), Trouble::Lost),
            (io(std::io::ErrorKind::ConnectionRefused), Trouble::Lost),
            (io(std::io::ErrorKind::TimedOut), Trouble::Lost),
            (server_error("READONLY You can't write against a read only replica."), Trouble::Lost),
            (server_error("ERR Error running script: -READONLY You can't write"), Trouble::Lost),
            (server_error("MISCONF Redis is configured to save RDB snapshots"), Trouble::Lost),
            (server_error("OOM command not allowed when used memory > 'maxmemory'."), Trouble::Lost),
            (server_error("NOPERM this user has no permissions"), Trouble::Refused),
            (server_error("NOAUTH Authentication required."), Trouble::Refused),
            (server_error("ERR The user executing the script can't run this command"), Trouble::Refused),
            (server_error("WRONGTYPE Operation against a key"), Trouble::Call),
            (server_error("NOSCRIPT No matching script."), Trouble::Call),
        ];
        for (error, expected) in cases {
            assert_eq!(trouble(&error), expected, "{error}");
        }
    }

    #[test]
    fn a_password_never_stands_in_an_error() {
        assert_eq!(without("AUTH hunter2 failed", Some("hunter2")), "AUTH [secret] failed");
        assert_eq!(without("down", Some("")), "down");
        assert_eq!(without("down", None), "down");
    }

    #[test]
    fn recovery_waits_stay_within_their_bounds() {
        for (unit, expected) in [(0.0, 200), (0.5, 600), (1.0, 1000), (7.0, 1000)] {
            assert_eq!(recovery_wait(unit), Duration::from_millis(expected));
        }
    }

    #[test]
    fn a_store_that_hides_its_identity_is_refused() {
        let at = Instant::now();
        let text = |text: &str| Value::BulkString(text.into());
        let cases = [
            (vec![text("ok"), Value::Int(5), text("abc")], None),
            (vec![text("ok"), Value::Int(5), text("")], Some(true)),
            (vec![text("info"), text("NOPERM")], Some(true)),
            (vec![Value::Nil], Some(false)),
        ];
        for (answer, refused) in cases {
            let found = probe_answer(&answer, at, at).err().map(|error| error.refused);
            assert_eq!(found, refused, "{answer:?}");
        }
    }
}
