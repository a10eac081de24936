//! HTTP servers of tests.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use tokio::net::TcpListener;

/// Serves `router` on a free port of this machine until the runtime ends.
/// Returns where.
///
/// # Panics
/// When no port can be bound.
pub async fn serve(router: Router) -> SocketAddr {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = TcpListener::bind(any_port).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}
