//! Accepts gRPC connections and passes them to the workers.

use std::pin::pin;

use tokio::sync::watch;

use super::connection_limit::ConnectionLimit;
use super::shutdown::{Phase, reached};
use super::worker::ConnectionSender;
use crate::listener::Listener;

/// Passes connections to the workers in rotation, up to the limit, and closes the listener when the server drains.
/// Completes only if a worker has exited.
pub(super) async fn accept(
    listener: Listener,
    workers: Vec<ConnectionSender>,
    mut limit: ConnectionLimit,
    phases: watch::Receiver<Phase>,
) {
    let mut draining = pin!(reached(phases, Phase::Draining));
    let mut rotation = workers.iter().cycle();
    loop {
        let stream = tokio::select! {
            biased;
            () = &mut draining => break,
            stream = listener.accept() => stream,
        };
        let Some(permit) = limit.try_acquire() else { continue };
        let Some(worker) = rotation.next() else { return };
        if worker.send((stream, permit)).is_err() {
            return;
        }
    }
    // Closed, so that new connections are refused at once and their clients try another replica.
    drop(listener);
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;
    use crate::listener::Stream;
    use crate::observe::telemetry::Connections;

    /// Longer than anything takes that is waited for.
    const BOUND: Duration = Duration::from_secs(10);

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    /// A listener on a free port, and its address.
    async fn listen() -> (Listener, SocketAddr) {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind(&any.into()).await.unwrap();
        let address = listener.address().tcp().unwrap();
        (listener, address)
    }

    fn limit(max: usize) -> ConnectionLimit {
        ConnectionLimit::new(max, Connections::default())
    }

    #[test]
    fn accepting_ends_when_a_worker_has_exited() {
        runtime().block_on(async {
            let (listener, address) = listen().await;
            let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
            drop(receiver);
            let (_phase, phases) = watch::channel(Phase::Serving);
            let accepting = tokio::spawn(accept(listener, vec![sender], limit(1), phases));
            let _connection = tokio::net::TcpStream::connect(address).await.unwrap();
            tokio::time::timeout(BOUND, accepting).await.unwrap().unwrap();
        });
    }

    #[test]
    fn connections_are_passed_to_the_workers_in_rotation() {
        runtime().block_on(async {
            let (listener, address) = listen().await;
            let (first, mut firsts) = tokio::sync::mpsc::unbounded_channel();
            let (second, mut seconds) = tokio::sync::mpsc::unbounded_channel();
            let (_phase, phases) = watch::channel(Phase::Serving);
            tokio::spawn(accept(listener, vec![first, second], limit(4), phases));
            for number in 0..4 {
                let client = tokio::net::TcpStream::connect(address).await.unwrap();
                let worker = if number % 2 == 0 { &mut firsts } else { &mut seconds };
                let passed = tokio::time::timeout(BOUND, worker.recv()).await.unwrap();
                let (Stream::Tcp(stream), _permit) = passed.unwrap() else {
                    panic!("not over TCP")
                };
                assert_eq!(stream.peer_addr().unwrap(), client.local_addr().unwrap());
            }
        });
    }

    #[test]
    fn a_draining_listener_refuses_at_once() {
        runtime().block_on(async {
            let (listener, address) = listen().await;
            let (sender, _receiver) = tokio::sync::mpsc::unbounded_channel();
            let (phase, phases) = watch::channel(Phase::Serving);
            let accepting = tokio::spawn(accept(listener, vec![sender], limit(1), phases));
            phase.send_replace(Phase::Draining);
            tokio::task::yield_now().await;
            let refused =
                tokio::time::timeout(BOUND, tokio::net::TcpStream::connect(address)).await;
            assert!(refused.unwrap().is_err());
            assert!(!accepting.is_finished(), "a drain does not end the task");
        });
    }
}
