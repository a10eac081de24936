//! A table behind TLS, certified by an authority that is made up for it.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use reqwest::Url;
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

/// Ends TLS in front of a server without it.
pub struct TlsFront {
    /// Where it is.
    pub url: Url,
    /// The certificate that it must be checked with, as PEM.
    pub certificate: String,
    connections: Arc<AtomicU64>,
}

impl TlsFront {
    /// Starts a front of the server at `behind`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn proxying(behind: &Url) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let made = made.expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a key that fits");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("localhost:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let target = behind.socket_addrs(|| None).expect("an address");
        let connections = Arc::new(AtomicU64::default());
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let (acceptor, target) = (acceptor.clone(), target.clone());
                tokio::spawn(async move {
                    let _ = client.set_nodelay(true);
                    let mut client = acceptor.accept(client).await?;
                    let mut server = TcpStream::connect(&*target).await?;
                    server.set_nodelay(true)?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Self {
            url: format!("https://localhost:{port}").parse().expect("a URL"),
            certificate: made.cert.pem(),
            connections,
        }
    }

    /// How many connections there were.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Writes the certificate and `more` to a file of this process's own.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn bundle(&self, more: &str) -> PathBuf {
        let port = self.url.port().unwrap_or_default();
        let name = format!("portfolio-{}-{port}.pem", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, format!("{}{more}", self.certificate)).expect("a file");
        path
    }
}
