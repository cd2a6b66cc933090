//! Serves HTTP/1.1: connections, bounded in number and in what they may take.

mod connection;
mod connection_table;
mod timed_io;

use std::future::Future;

use axum::Router;
use tokio::sync::watch::{Receiver, channel};

pub(crate) use self::connection::REQUEST_TIMEOUT;
use self::connection_table::{ConnectionTable, Peer};
use crate::listener::Listener;
use crate::observe::telemetry::HttpConnections;
use crate::tls::Identity;

/// Marks a request over a connection with an allowed client certificate.
#[derive(Debug, Clone, Copy)]
pub struct ClientCertVerified;

/// Serves these routes, over TLS if `tls` is given, until `stop` completes; then finishes the requests in flight.
pub(crate) async fn serve(
    listener: Listener,
    tls: Option<Identity>,
    routes: Router,
    counters: HttpConnections,
    stop: impl Future<Output = ()>,
) {
    let mut connections = ConnectionTable::new(counters);
    let (stopping, stopped) = channel(());
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            stream = listener.accept() => {
                let (tls, routes, stopped) = (tls.clone(), routes.clone(), ended(stopped.clone()));
                let peer = Peer::at(stream.peer());
                connections.serve(peer, |activity| {
                    connection::run(stream, activity, tls, routes, stopped)
                });
            }
            () = connections.ended(), if !connections.is_empty() => {}
        }
    }
    drop((listener, stopping));
    while !connections.is_empty() {
        connections.ended().await;
    }
}

/// Completes when the sender is dropped.
async fn ended(mut stopped: Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}
