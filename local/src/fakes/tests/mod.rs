//! The fakes as a client sees them: over HTTP.

mod control;
mod defillama;
mod quotes;
mod zerion;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{FakeProviders, Options};

/// Fakes that listen, and what talks to them.
struct Client {
    fakes: FakeProviders,
    address: std::net::SocketAddr,
}

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

impl Client {
    async fn start() -> Self {
        let fakes = FakeProviders::new(Options::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let router = fakes.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { fakes, address }
    }

    /// Sends a request with exactly these headers next to `Host`.
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.expect("a listener");
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.expect("an answer");
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("an end of the headers");
        let head = String::from_utf8(bytes[..end].to_vec()).expect("text");
        let status = head.get(9..12).and_then(|s| s.parse().ok());
        Answer {
            status: status.expect("a status"),
            headers: head,
            body: bytes.split_off(end + 4),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    /// Asks Zerion as a client with the right key does.
    async fn zerion(&self, address: &str, query: &str) -> Answer {
        let path = format!("/v1/wallets/{address}/positions/?{query}");
        let key = basic("zk_local:");
        let headers = [
            ("Authorization", key.as_str()),
            ("User-Agent", "portfolio/1"),
        ];
        self.send("GET", &path, &headers, "").await
    }

    /// The rows of a wallet.
    async fn rows(&self, address: &str, query: &str) -> Vec<Value> {
        let answer = self.zerion(address, query).await;
        assert_eq!(answer.status, 200, "{query}");
        match answer.json()["data"].take() {
            Value::Array(rows) => rows,
            other => panic!("not a list: {other}"),
        }
    }

    /// Asks CoinMarketCap with the right key.
    async fn cmc(&self, path: &str) -> Answer {
        self.send("GET", path, &[("X-CMC_PRO_API_KEY", "cmc_local")], "")
            .await
    }
}

fn basic(credentials: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(credentials))
}

/// Whether two prices are of the same coin, give or take what they stray.
#[expect(clippy::float_arithmetic, reason = "the services send doubles")]
fn close(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a / b - 1.0).abs() < 0.0041,
        _ => false,
    }
}
