//! A server on the standard library alone, with a thread for each connection.
//!
//! It answers a gRPC call of `/hello.Echo/Echo` with the message of the call, and any other request with a line of
//! text.
//!
//! ```console
//! $ cargo run -p unary-h2 --example hello
//! $ curl --http2-prior-knowledge http://127.0.0.1:8080/
//! ```

#![allow(
    clippy::disallowed_types,
    unreachable_pub,
    reason = "an example that tests/processes includes: its time is real, and what it shares is public there"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use unary_h2::{Budget, Call, Config, Connection, Event, Limits, StreamId, Vocabulary, grpc};

/// What is answered to whatever is no call.
pub const TEXT: &[u8] = b"hello, world\n";

const PLAIN: (&[u8], &[u8]) = (b"content-type", b"text/plain");

/// How long a read may take, so that what has a time limit is ended though the peer is silent.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(address)?;
    writeln!(std::io::stdout(), "listening on {}", listener.local_addr()?)?;
    listen(&listener)
}

/// Serves connections as they come.
///
/// # Errors
/// If no more can be accepted.
pub fn listen(listener: &TcpListener) -> std::io::Result<()> {
    let vocabulary = Vocabulary::new(["/hello.Echo/Echo"], []);
    let config = Arc::new(Config { vocabulary, limits: Limits::default() });
    // For the bodies of calls that are not whole yet, of all connections together.
    let budget = Budget::new(64 << 20);
    loop {
        let (stream, _) = listener.accept()?;
        let (config, budget) = (Arc::clone(&config), budget.clone());
        // A connection that fails is closed.
        std::thread::spawn(move || drop(serve(stream, config, budget)));
    }
}

/// Serves one connection until it ends.
fn serve(mut stream: TcpStream, config: Arc<Config>, budget: Budget) -> std::io::Result<()> {
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    stream.set_nodelay(true)?;
    let started = Instant::now();
    let mut connection = Connection::new(config, budget, Duration::ZERO);
    let mut unread = Vec::new();
    let mut buffer = [0; 16 << 10];
    while !connection.is_finished() {
        connection.begin_turn(started.elapsed());
        let mut input = &*unread;
        let mut failed = None;
        loop {
            match connection.receive(&mut input) {
                Ok(Some(event)) => handle(event, &mut connection),
                Ok(None) => break,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let taken = unread.len() - input.len();
        unread.drain(..taken);
        while !connection.output().is_empty() {
            let written = stream.write(connection.output())?;
            connection.written(written);
        }
        if let Some(error) = failed {
            return Err(std::io::Error::other(error));
        }
        if connection.has_more() {
            // The turn is over. Other connections have theirs beside it: each has a thread.
            continue;
        }
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => unread.extend(buffer.iter().take(length)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        connection.tick(started.elapsed());
    }
    Ok(())
}

fn handle(event: Event<'_>, connection: &mut Connection) {
    match event {
        Event::Call(call) => echo(&call, connection),
        // No body may follow (RFC 9110, Section 9.3.2).
        Event::Request { stream, request, .. } if request.method == b"HEAD" => {
            connection.answer_head(stream, 200, &[PLAIN], true);
        }
        Event::Request { stream, is_end: true, .. } | Event::Trailers { stream, .. } => {
            answer(stream, connection);
        }
        Event::Data { stream, bytes, is_end } => {
            // The bytes are not used, so the peer may send as many again.
            connection.release(stream, bytes.len());
            if is_end {
                answer(stream, connection);
            }
        }
        // Either the body is not complete, or a stream has ended, for which this server keeps nothing.
        _ => {}
    }
}

fn echo(call: &Call<'_>, connection: &mut Connection) {
    match &call.body {
        Ok(body) if call.is_post && call.is_grpc && grpc::message(body).is_ok() => {
            connection.answer(call.stream, body);
        }
        // INVALID_ARGUMENT.
        _ => {
            connection.answer_error(call.stream, 3, "send one message that is not compressed");
        }
    }
}

fn answer(stream: StreamId, connection: &mut Connection) {
    connection.answer_head(stream, 200, &[PLAIN], false);
    connection.answer_data(stream, TEXT, true);
}
