//! A private Redis: started on a free port in a folder of its own, killed when dropped.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::tls::Authority;
use paceline::adapters::redis::{RedisStore, StoreSettings};
use paceline::config::{CircuitConfig, LimiterConfig, Secret};
use paceline::ports::{Chance, PoolKey, Window};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// How long a condition may take before a test fails.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A running (or killed) server.
pub struct RedisServer {
    child: Option<Child>,
    port: u16,
    dir: TempDir,
}

impl RedisServer {
    /// Starts one and waits until it answers.
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut server = Self { child: None, port: 0, dir };
        for _ in 0..5 {
            // Somebody else may take the port between finding it free and using it.
            server.port = free_port();
            if server.launch().await {
                return server;
            }
        }
        panic!("redis-server does not start; its log:\n{}", server.log());
    }

    /// The address without a user.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// The address for a user.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        format!("redis://{user}:{password}@127.0.0.1:{}/0", self.port)
    }

    /// Where it listens, as `HOST:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Listens for TLS too from now on, with a certificate for 127.0.0.1 alone, and gives its port.
    pub async fn open_tls(&self) -> u16 {
        let files = Authority::ours().certify_in(self.dir.path(), "127.0.0.1");
        let mut connection = self.connection().await;
        for _ in 0..5 {
            let port = free_port();
            let mut set = redis::cmd("CONFIG");
            set.arg("SET");
            for (name, file) in [
                ("tls-cert-file", &files.certificate),
                ("tls-key-file", &files.key),
                ("tls-ca-cert-file", &files.ca),
            ] {
                set.arg(name).arg(file.display().to_string());
            }
            set.arg("tls-auth-clients").arg("no").arg("tls-port").arg(port);
            if set.exec_async(&mut connection).await.is_ok() {
                return port;
            }
        }
        panic!("redis-server does not open a port for TLS; its log:\n{}", self.log());
    }

    /// SIGKILL, as a crash.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("to kill redis-server");
            child.wait().expect("redis-server's end");
        }
    }

    /// Starts it again on the same port with the data it had.
    pub async fn restart(&mut self) {
        self.kill();
        assert!(self.launch().await, "redis-server does not come back; its log:\n{}", self.log());
    }

    /// Starts it again on the same port with nothing in it.
    pub async fn restart_empty(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(self.dir.path().join("appendonlydir"));
        let _ = fs::remove_file(self.dir.path().join("dump.rdb"));
        self.restart().await;
    }

    /// SIGSTOP: it accepts connections and answers nothing.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// A connection of the test's own.
    pub async fn connection(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url()).expect("a readable address");
        // The library's own limit is half a second, which a busy machine passes now and then.
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(DEADLINE));
        client.get_multiplexed_async_connection_with_config(&config).await.expect("a connection")
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("a running server").id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill").success());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// False when the process ended before it answered.
    async fn launch(&mut self) -> bool {
        let log = fs::File::create(self.dir.path().join("log")).expect("a log file");
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--appendonly", "yes"])
            // By default up to two seconds of what it answered for may be lost with its process.
            .args(["--appendfsync", "always"])
            .arg("--dir")
            .arg(self.dir.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is needed (Debian: apt install redis-server)");
        self.child = Some(child);
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            let running = self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)));
            if !running {
                return false;
            }
            if answers(&self.url()).await {
                return true;
            }
            sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn answers(url: &str) -> bool {
    let client = redis::Client::open(url).expect("a readable address");
    let Ok(mut connection) = client.get_multiplexed_async_connection().await else { return false };
    redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Chance that counts, so that a test sees the same run after run.
#[derive(Default)]
pub struct Counting(AtomicU64);

impl Chance for Counting {
    fn unit(&self) -> f64 {
        0.0
    }
    fn unique(&self) -> String {
        format!("token-{:p}-{}", self, self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// Moments in a claim that has not ended, by their places in its record; see record.lua.
pub const FIRST_ATTEMPT: usize = 8;
pub const UNRESOLVED: usize = 9;
pub const ATTEMPT: usize = 10;
pub const LEASE_END: usize = 11;

/// Moves moments of a claim that has not ended by so many milliseconds, those that it has; one that has
/// ended, or is none, stays as it is.
pub async fn move_claim(
    connection: &mut redis::aio::MultiplexedConnection,
    key: &str,
    moments: &[usize],
    by_ms: i64,
) {
    let script = "local packed = redis.call('GET', KEYS[1])
        local claim = packed and { cmsgpack.unpack(packed) }
        if not claim or claim[1] == 'e' then return end
        for n = 2, #ARGV do
          local place = tonumber(ARGV[n])
          if claim[place] then claim[place] = claim[place] + ARGV[1] end
        end
        redis.call('SET', KEYS[1], cmsgpack.pack(unpack(claim)), 'KEEPTTL')";
    let moving = redis::cmd("EVAL").arg(script).arg(1).arg(key).arg(by_ms).arg(moments).to_owned();
    let () = moving.query_async(connection).await.expect("EVAL");
}

/// Settings with short pauses; a test changes what it is about.
pub fn settings(url: &str) -> StoreSettings {
    StoreSettings {
        url: Secret::new(url),
        ca: None,
        prefix: "test".into(),
        timeout: Duration::from_secs(5),
        dedupe_ttl: Duration::from_secs(3600),
        lease: Duration::from_secs(60),
        request_timeout: Duration::from_secs(20),
        max_age: Duration::from_secs(3600),
        limiter: LimiterConfig {
            horizon: Duration::from_secs(2),
            slot_width: Duration::from_millis(250),
            jitter: Duration::from_millis(50),
            burst: 1,
        },
        circuit: CircuitConfig {
            failures: 3,
            pause: Duration::from_millis(300),
            pause_max: Duration::from_millis(1200),
            credentials_pause: Duration::from_millis(400),
            throttle_pause: Duration::from_secs(1),
        },
    }
}

/// A store, as another worker would have it.
pub async fn connect(settings: StoreSettings, pools: Vec<(PoolKey, Vec<Window>)>) -> Arc<RedisStore> {
    RedisStore::connect(settings, pools, Arc::new(Counting::default())).await.expect("a store")
}
