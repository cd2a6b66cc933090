//! A client and a server of HTTP/2 that both keep to the protocol, with what they send delayed and cut, calls given up
//! and answers late: every call that the client does not give up is answered with what was asked.
#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use tollgate_fuzz::http2::client::{Asked, Client, MAX_OPEN};
use tollgate_fuzz::http2::{self, PATH};
use unary_h2::{Budget, Config, Connection, Event, Limits, StreamId};

const OTHER: &str = "/shop.Cart/Other";

/// The most steps that are tried, and how many rounds may be needed behind them.
const MOST: usize = 100;
const ROUNDS: usize = 2000;

#[derive(Debug, Arbitrary)]
enum Step {
    Ask {
        is_other: bool,
        length: u16,
    },
    Send {
        at: u8,
        most: u16,
    },
    Reset(u8),
    Ping,
    Set {
        window: Option<u16>,
        table: Option<u16>,
    },
    /// The client reads what has come.
    Read,
    /// The wire brings as many bytes.
    ToServer(u16),
    ToClient(u16),
    /// The server answers a call, or all.
    Answer(u8),
    AnswerAll,
    Drain,
    /// The wire breaks: what is on its way is lost, and all that the server kept is given back.
    Break,
}

/// The server, and bytes on their way.
struct Peers {
    client: Client,
    connection: Connection,
    /// What the server has read and not taken.
    input: Vec<u8>,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    /// Calls that it has not answered, and bodies of requests of the other path so far.
    asked: BTreeMap<StreamId, (bool, Vec<u8>)>,
    bodies: BTreeMap<StreamId, Vec<u8>>,
}

fuzz_target!(|steps: Vec<Step>| {
    let limits = Limits {
        max_streams: MAX_OPEN as u32,
        stream_window: 1000,
        connection_window: 65_535,
        turn: 2000,
        ..Limits::default()
    };
    let budget = Budget::new(1 << 20);
    let config = Arc::new(Config { vocabulary: http2::vocabulary(), limits });
    let mut peers = Peers {
        client: Client::default(),
        connection: Connection::new(config, budget.clone(), Duration::ZERO),
        input: Vec::new(),
        to_server: Vec::new(),
        to_client: Vec::new(),
        asked: BTreeMap::new(),
        bodies: BTreeMap::new(),
    };
    let is_break = |step: &&Step| matches!(step, Step::Break);
    steps.iter().take(MOST).take_while(|step| !is_break(step)).for_each(|step| peers.step(step));
    if !steps.iter().take(MOST).any(|step| is_break(&step)) {
        peers.finish();
    }
    drop(peers);
    assert_eq!(budget.kept(), 0);
});

impl Peers {
    fn step(&mut self, step: &Step) {
        match *step {
            Step::Ask { is_other, length } => {
                let length = usize::from(length) % 4000;
                // A message of gRPC behind its five bytes.
                let mut body = vec![0];
                body.extend(u32::try_from(length).expect("short").to_be_bytes());
                body.extend((0..length).map(|at| (at * 7 + length) as u8));
                self.client.ask(if is_other { OTHER } else { PATH }, body);
            }
            Step::Send { at, most } => self.client.send(at.into(), most.into()),
            Step::Reset(at) => self.client.reset(at.into()),
            Step::Ping => self.client.ping(),
            Step::Set { window, table } => {
                self.client.set(window.map(u32::from), table.map(u32::from));
            }
            Step::Read => self.client.read_all(),
            Step::ToServer(most) => self.bring_to_server(most.into()),
            Step::ToClient(most) => self.bring_to_client(most.into()),
            Step::Answer(at) => {
                if let Some(stream) = self.asked.keys().nth(at.into()).copied() {
                    self.answer(stream);
                }
            }
            Step::AnswerAll => self.answer_all(),
            Step::Drain => self.connection.drain(Duration::ZERO),
            Step::Break => {}
        }
    }

    fn bring_to_server(&mut self, most: usize) {
        self.to_server.append(&mut self.client.output);
        let length = most.min(self.to_server.len());
        self.input.extend(self.to_server.drain(..length));
        loop {
            let input = std::mem::take(&mut self.input);
            let mut rest = &*input;
            self.connection.begin_turn(Duration::ZERO);
            while let Some(event) = self.connection.receive(&mut rest).expect("all is right") {
                let released = match &event {
                    Event::Data { stream, bytes, .. } => Some((*stream, bytes.len())),
                    _ => None,
                };
                Self::take(&mut self.asked, &mut self.bodies, event);
                if let Some((stream, bytes)) = released {
                    self.connection.release(stream, bytes);
                }
            }
            self.input = rest.to_vec();
            assert!(self.connection.open_streams() <= MAX_OPEN);
            if !self.connection.has_more() {
                return;
            }
        }
    }

    fn take(
        asked: &mut BTreeMap<StreamId, (bool, Vec<u8>)>,
        bodies: &mut BTreeMap<StreamId, Vec<u8>>,
        event: Event<'_>,
    ) {
        match event {
            Event::Call(call) => {
                assert!(http2::is_named(call.route) && call.is_post && call.is_grpc);
                let body = call.body.expect("a body within all bounds").into_owned();
                asked.insert(call.stream, (false, body));
            }
            Event::Request { stream, request, is_end } => {
                assert!(!is_end && request.path == OTHER.as_bytes());
                bodies.insert(stream, Vec::new());
            }
            Event::Data { stream, bytes, is_end } => {
                bodies.get_mut(&stream).expect("a request").extend(bytes);
                if is_end {
                    let body = bodies.remove(&stream).expect("a request");
                    asked.insert(stream, (true, body));
                }
            }
            Event::Reset { stream, .. } => {
                asked.remove(&stream);
                bodies.remove(&stream);
            }
            other => panic!("{other:?}"),
        }
    }

    fn bring_to_client(&mut self, most: usize) {
        self.to_client.extend(self.connection.output());
        self.connection.written(self.connection.output().len());
        let length = most.min(self.to_client.len());
        let bytes: Vec<_> = self.to_client.drain(..length).collect();
        self.client.read(&bytes);
    }

    fn answer(&mut self, stream: StreamId) {
        let Some((is_other, body)) = self.asked.remove(&stream) else { return };
        let answer = answer_to(&body);
        if is_other {
            http2::answer_other(&mut self.connection, stream, &answer);
        } else {
            assert!(self.connection.answer(stream, &answer), "it is not wanted");
        }
    }

    fn answer_all(&mut self) {
        let streams: Vec<_> = self.asked.keys().copied().collect();
        streams.into_iter().for_each(|stream| self.answer(stream));
    }

    /// Everything arrives, and all is answered.
    fn finish(&mut self) {
        // A window in which answers fit.
        self.client.set(Some(300), None);
        for _ in 0..ROUNDS {
            self.client.send_all();
            self.bring_to_server(usize::MAX);
            self.answer_all();
            self.bring_to_client(usize::MAX);
            self.client.read_all();
            if self.client.is_done() {
                self.bring_to_server(usize::MAX);
                self.client.calls.values().for_each(check);
                return assert_eq!(self.connection.open_streams(), 0);
            }
        }
        panic!("no end: {:?}", self.client);
    }
}

/// The answer says that the server knows the call.
fn answer_to(body: &[u8]) -> Vec<u8> {
    body.iter().rev().copied().collect()
}

fn check(call: &Asked) {
    if call.is_reset {
        return;
    }
    let field = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    assert_eq!(call.head, [field(":status", "200"), field("content-type", "application/grpc")]);
    assert!(call.answer == answer_to(&call.body), "another answer to {}", call.path);
    assert_eq!(call.trailers, [field("grpc-status", "0")]);
}
