//! CAs and certificates of the tests' own, and a way through which TLS comes to a server that has
//! none.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A CA of the tests' own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A server's certificate with its key, as PEM.
pub struct Identity {
    certificate: String,
    key: String,
}

/// The same as files, with the certificate of its CA.
pub struct Files {
    /// The CA.
    pub ca: PathBuf,
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let name = format!("CA {}", uuid::Uuid::new_v4());
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// The one whose certificates the tests' servers have.
    pub fn ours() -> &'static Self {
        static OURS: OnceLock<Authority> = OnceLock::new();
        OURS.get_or_init(Self::new)
    }

    /// One that issued no server's certificate.
    pub fn strange() -> &'static Self {
        static STRANGE: OnceLock<Authority> = OnceLock::new();
        STRANGE.get_or_init(Self::new)
    }

    /// Its own certificate, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A server's certificate for this name or IP address with its key, and its own, as files.
    pub fn certify_in(&self, folder: &Path, name: &str) -> Files {
        let Identity { certificate, key } = self.certify(name);
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        Files {
            ca: write("ca.pem", &self.certificate),
            certificate: write("certificate.pem", &certificate),
            key: write("key.pem", &key),
        }
    }

    /// A server's certificate for this name or IP address.
    pub fn certify(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Identity {
    fn server(&self) -> Arc<ServerConfig> {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Arc::new(config.unwrap().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap())
    }
}

/// What a [`Front`] does with connections.
#[derive(Clone)]
enum Manner {
    /// Passes them on as they are.
    Open,
    /// Ends TLS.
    Tls(Arc<ServerConfig>),
}

/// A way to a server that remembers every byte which clients sent, before any is deciphered.
pub struct Front {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<u8>>>,
    manner: watch::Sender<Manner>,
    accepting: JoinHandle<()>,
}

impl Front {
    /// A way that passes everything on as it is.
    pub async fn open(upstream: &str) -> Self {
        Self::start(upstream, Manner::Open).await
    }

    /// A way that ends TLS with a certificate, and speaks to the server without.
    pub async fn tls(upstream: &str, identity: &Identity) -> Self {
        Self::start(upstream, Manner::Tls(identity.server())).await
    }

    async fn start(upstream: &str, manner: Manner) -> Self {
        let upstream: SocketAddr = upstream.parse().expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (manner, watched) = watch::channel(manner);
        let remembered = heard.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, upstream, watched.clone(), remembered.clone()));
            }
        });
        Self { address, heard, manner, accepting }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Shows another certificate from now on, and cuts what connections there are.
    pub fn show(&self, identity: &Identity) {
        self.manner.send_replace(Manner::Tls(identity.server()));
    }

    /// Whether clients ever sent these bytes in clear.
    pub fn heard(&self, bytes: &[u8]) -> bool {
        self.heard.lock().unwrap().windows(bytes.len()).any(|window| window == bytes)
    }

    /// How many bytes clients sent.
    pub fn heard_bytes(&self) -> usize {
        self.heard.lock().unwrap().len()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(
    client: TcpStream,
    upstream: SocketAddr,
    mut manner: watch::Receiver<Manner>,
    heard: Arc<Mutex<Vec<u8>>>,
) {
    let now = manner.borrow_and_update().clone();
    let carried = async {
        // The client's bytes pass the tap first, then whatever the manner makes of them.
        let (tapped, inner) = tokio::io::duplex(64 * 1024);
        let tap = tap(client, tapped, heard);
        let passing = async {
            let mut server = TcpStream::connect(upstream).await?;
            match now {
                Manner::Open => {
                    let mut inner = inner;
                    tokio::io::copy_bidirectional(&mut inner, &mut server).await.map(drop)
                }
                Manner::Tls(config) => {
                    let mut inner = TlsAcceptor::from(config).accept(inner).await?;
                    tokio::io::copy_bidirectional(&mut inner, &mut server).await.map(drop)
                }
            }
        };
        tokio::join!(tap, passing)
    };
    tokio::select! {
        // A connection that fails is the client's or the server's affair.
        _ = carried => {}
        _ = manner.changed() => {}
    }
}

async fn tap(client: TcpStream, inner: tokio::io::DuplexStream, heard: Arc<Mutex<Vec<u8>>>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_inner, mut to_inner) = tokio::io::split(inner);
    let listening = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(n @ 1..) = from_client.read(&mut buffer).await {
            heard.lock().unwrap().extend_from_slice(&buffer[..n]);
            if to_inner.write_all(&buffer[..n]).await.is_err() {
                break;
            }
        }
        let _ = to_inner.shutdown().await;
    };
    let answering = async {
        let _ = tokio::io::copy(&mut from_inner, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    tokio::join!(listening, answering);
}
