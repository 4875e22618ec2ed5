//! A private RabbitMQ: its own epmd, ports, folder and processes.
//!
//! Calls here block; tests run on a multi-threaded runtime, so what they watch goes on meanwhile.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use paceline::config::{QueueConfig, Secret};
use paceline::ports::Chance;

/// Where Debian's package has the programs. `PACELINE_RABBITMQ_BIN` names another folder with
/// `rabbitmq-server` and `rabbitmqctl`, to run the suite against another version.
fn programs() -> PathBuf {
    std::env::var_os("PACELINE_RABBITMQ_BIN").map_or_else(|| "/usr/lib/rabbitmq/bin".into(), PathBuf::from)
}

/// How long a server may take to start on a busy machine.
const START: Duration = Duration::from_secs(90);

/// Ends the server when the test process is gone, however it went: its standard input closes then.
/// It kills a process only if its command line shows that it is this server's.
const WATCHDOG: &str = r#"
read -r _
for name in rabbit epmd; do
  pid=$(cat "$1/$name.pid" 2>/dev/null) || continue
  if tr '\0' ' ' < "/proc/$pid/cmdline" 2>/dev/null | grep -q -e "$1" -e "epmd.* $2"; then
    kill -9 "$pid" 2>/dev/null
  fi
done
sleep 0.2
rm -rf "$1"
"#;

/// Tells the nodes of a cluster, or the tools of a single one, where each listens.
struct Epmd {
    port: u16,
    process: Mutex<Child>,
}

impl Epmd {
    fn start() -> Self {
        let [port] = free_ports();
        let process = Command::new("/usr/bin/epmd")
            .args(["-address", "127.0.0.1", "-port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("epmd starts");
        Self { port, process: Mutex::new(process) }
    }
}

impl Drop for Epmd {
    fn drop(&mut self) {
        let mut process = self.process.lock().unwrap();
        let _ = process.kill();
        let _ = process.wait();
    }
}

/// A running (or stopped) private server.
pub struct Broker {
    folder: PathBuf,
    port: u16,
    dist_port: u16,
    server: Mutex<Option<Child>>,
    epmd: Arc<Epmd>,
    watchdog: Mutex<Child>,
}

impl Broker {
    /// The server that tests share which don't break it; names are kept apart by [`unique_prefix`].
    pub fn shared() -> &'static Broker {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(Broker::launch)
    }

    /// A server of one's own, running.
    pub fn launch() -> Self {
        Self::launch_beside(Arc::new(Epmd::start()))
    }

    /// Servers of one's own that form one cluster, the first of them without any queue yet.
    pub fn launch_cluster<const NODES: usize>() -> [Self; NODES] {
        let epmd = Arc::new(Epmd::start());
        let nodes = std::thread::scope(|scope| {
            let launching = [(); NODES].map(|()| scope.spawn(|| Self::launch_beside(epmd.clone())));
            launching.map(|launched| launched.join().expect("a node starts"))
        });
        for node in &nodes[1..] {
            node.ctl(&["stop_app"]);
            node.ctl(&["join_cluster", &nodes[0].node_name()]);
            node.ctl(&["start_app"]);
        }
        nodes
    }

    fn launch_beside(epmd: Arc<Epmd>) -> Self {
        assert!(
            programs().join("rabbitmq-server").exists(),
            "the tests need RabbitMQ: apt-get install rabbitmq-server"
        );
        let folder = tempfile::Builder::new().prefix("paceline-rabbitmq-").tempdir().unwrap().keep();
        let [port, dist_port] = free_ports();
        write_files(&folder, port);
        let watchdog = watchdog(&folder, epmd.port);
        fs::write(folder.join("epmd.pid"), epmd.process.lock().unwrap().id().to_string()).unwrap();
        let (server, watchdog) = (Mutex::new(None), Mutex::new(watchdog));
        let broker = Self { folder, port, dist_port, server, epmd, watchdog };
        broker.start();
        broker
    }

    /// What the nodes of a cluster call it.
    pub fn node_name(&self) -> String {
        format!("p{}@localhost", self.port)
    }

    /// The server's address.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }

    /// Starts it after [`Self::stop`] or [`Self::kill9`], with all it had on disk.
    pub fn start(&self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("out")).unwrap();
        let mut command = self.command("rabbitmq-server");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        *self.server.lock().unwrap() = Some(command.spawn().expect("rabbitmq-server starts"));
        let deadline = Instant::now() + START;
        loop {
            let started = self.command("rabbitmqctl").args(["-q", "await_startup"]).output().unwrap();
            if started.status.success() {
                return;
            }
            assert!(Instant::now() < deadline, "RabbitMQ did not start: {}", self.last_words(&started));
        }
    }

    /// Kills it as a power cut would.
    pub fn kill9(&self) {
        self.end("-KILL");
    }

    /// Stops it in good order.
    pub fn stop(&self) {
        self.end("-TERM");
    }

    /// Kills it and starts it again.
    pub fn restart(&self) {
        self.kill9();
        self.start();
    }

    /// Raises the memory alarm, which blocks every connection that publishes.
    pub fn block_publishers(&self) {
        self.ctl(&["set_vm_memory_high_watermark", "absolute", "1MB"]);
    }

    /// Ends the memory alarm.
    pub fn unblock_publishers(&self) {
        self.ctl(&["set_vm_memory_high_watermark", "absolute", "1GB"]);
    }

    /// Closes every client's connection from the server's side.
    pub fn close_all_connections(&self) {
        self.ctl(&["close_all_connections", "test"]);
    }

    /// Runs `rabbitmqctl` and returns what it printed.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let output = self.command("rabbitmqctl").arg("-q").args(arguments).output().unwrap();
        assert!(output.status.success(), "rabbitmqctl {arguments:?}: {}", self.last_words(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What the server wrote into its log.
    pub fn log(&self) -> String {
        let files = fs::read_dir(self.folder.join("log")).unwrap();
        files.filter_map(|file| fs::read_to_string(file.ok()?.path()).ok()).collect()
    }

    fn end(&self, signal: &str) {
        let mut child = self.server.lock().unwrap().take().expect("the server runs");
        let pid = fs::read_to_string(self.folder.join("rabbit.pid")).unwrap();
        let killed = Command::new("/bin/kill").args([signal, pid.trim()]).status().unwrap();
        assert!(killed.success());
        child.wait().unwrap();
        let deadline = Instant::now() + START;
        while Path::new("/proc").join(pid.trim()).exists() {
            assert!(Instant::now() < deadline, "the server did not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(programs().join(program));
        let at = |name: &str| self.folder.join(name);
        command
            .env("HOME", &self.folder)
            .env("ERL_EPMD_PORT", self.epmd.port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", self.node_name())
            .env("RABBITMQ_DIST_PORT", self.dist_port.to_string())
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_CONFIG_FILE", at("rabbitmq"))
            .env("RABBITMQ_MNESIA_BASE", at("mnesia"))
            .env("RABBITMQ_LOG_BASE", at("log"))
            .env("RABBITMQ_PID_FILE", at("rabbit.pid"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled_plugins"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}");
        command
    }

    fn last_words(&self, output: &Output) -> String {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        said + &fs::read_to_string(self.folder.join("out")).unwrap_or_default()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.server.lock().unwrap().is_some() {
            self.kill9();
        }
        // With its input closed the watchdog finds no server to kill any more, and clears the folder.
        // It must not end the epmd that other nodes still use.
        let _ = fs::remove_file(self.folder.join("epmd.pid"));
        let mut watchdog = self.watchdog.lock().unwrap();
        drop(watchdog.stdin.take());
        let _ = watchdog.wait();
    }
}

fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn write_files(folder: &Path, port: u16) {
    use std::os::unix::fs::PermissionsExt;
    let conf = format!(
        "listeners.tcp.1 = 127.0.0.1:{port}\n\
         disk_free_limit.absolute = 50MB\n\
         vm_memory_high_watermark.absolute = 1GB\n"
    );
    fs::write(folder.join("rabbitmq.conf"), conf).unwrap();
    fs::write(folder.join("enabled_plugins"), "[].").unwrap();
    let cookie = folder.join(".erlang.cookie");
    fs::write(&cookie, "paceline").unwrap();
    fs::set_permissions(&cookie, fs::Permissions::from_mode(0o600)).unwrap();
}

fn watchdog(folder: &Path, epmd_port: u16) -> Child {
    Command::new("/bin/sh")
        .args(["-c", WATCHDOG, "watchdog"])
        .arg(folder)
        .arg(epmd_port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh starts")
}

/// A prefix for the names of one test.
pub fn unique_prefix() -> String {
    format!("t{}", &uuid::Uuid::new_v4().simple().to_string()[..8])
}

/// A configuration for tests: short limits, so that a test of them is short too. A cluster's addresses
/// are separated by commas.
pub fn config(url: &str, prefix: &str) -> QueueConfig {
    QueueConfig {
        urls: url.split(',').map(Secret::new).collect(),
        ca: None,
        prefix: prefix.to_owned(),
        connect_timeout: Duration::from_secs(5),
        publish_timeout: Duration::from_secs(5),
        publish_batch: 128,
        reconnect_max: Duration::from_secs(1),
    }
}

/// Real chance.
pub struct Dice;

impl Chance for Dice {
    fn unit(&self) -> f64 {
        rand::random()
    }

    fn unique(&self) -> String {
        uuid::Uuid::new_v4().to_string()
    }
}
