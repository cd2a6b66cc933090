//! HTTP/1.1 over a plain socket, so that what is on the wire is what the test sees: a client, and an
//! upstream.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use super::process::PATIENCE;

/// The first line, the headers and the body of what came over a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub first_line: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Message {
    /// Reads one; none where the other side has closed.
    fn read(from: &mut BufReader<TcpStream>) -> std::io::Result<Option<Self>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let first_line = lines.remove(0);
        let headers = lines.iter().map(|line| line.split_once(':').unwrap());
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
        let mut message = Self { first_line, headers: headers.collect(), body: String::new() };
        let body = match message.header("transfer-encoding") {
            Some(_) => read_chunks(from)?,
            None => read_bytes(from, message.header("content-length").unwrap_or("0"), 10)?,
        };
        message.body = String::from_utf8(body).unwrap();
        Ok(Some(message))
    }

    pub fn status(&self) -> u16 {
        self.first_line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The value of a header that stands there once, if at all.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|header| header.0 == name);
        let value = values.next().map(|header| &*header.1);
        assert!(values.next().is_none(), "{name} twice: {self:?}");
        value
    }

    pub fn number(&self, name: &str) -> u64 {
        let value = self.header(name).unwrap_or_else(|| panic!("no {name}: {self:?}"));
        value.parse().unwrap_or_else(|_| panic!("{name} is no number: {self:?}"))
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn read_bytes(
    from: &mut BufReader<TcpStream>,
    length: &str,
    radix: u32,
) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from_str_radix(length.trim_end(), radix).unwrap()];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A body of unknown length, as Envoy's admin page sends them.
fn read_chunks(from: &mut BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut length = String::new();
        from.read_line(&mut length)?;
        let chunk = read_bytes(from, &length, 16)?;
        from.read_line(&mut String::new())?;
        if chunk.is_empty() {
            return Ok(body);
        }
        body.extend(chunk);
    }
}

pub type Headers<'a> = [(&'a str, &'a str)];

/// One connection to a server.
#[derive(Debug)]
pub struct Client {
    connection: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    pub fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { connection: BufReader::new(stream) })
    }

    /// Sends a call, as in `GET /path`, without waiting for its answer. To drop the client then is to
    /// hang up.
    pub fn send(&mut self, endpoint: &str, headers: &Headers<'_>) {
        self.send_body(endpoint, headers, "");
    }

    /// The same with a body.
    pub fn send_body(&mut self, endpoint: &str, headers: &Headers<'_>, body: &str) {
        let mut text = format!("{endpoint} HTTP/1.1\r\nhost: edge\r\n");
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            text += &format!("content-length: {}\r\n", body.len());
        }
        text += "\r\n";
        text += body;
        self.connection.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// The first line of an answer, as soon as it is there.
    pub fn first_line(&mut self) -> String {
        let mut line = String::new();
        self.connection.read_line(&mut line).unwrap();
        line
    }

    /// Reads all there is, be it a whole answer or not, until the other side closes.
    pub fn read_to_end(&mut self) {
        self.connection.read_to_end(&mut Vec::new()).unwrap();
    }

    pub fn answer(&mut self) -> Message {
        let answer = Message::read(&mut self.connection).unwrap();
        answer.unwrap_or_else(|| panic!("the connection was closed instead of an answer"))
    }

    pub fn call(&mut self, endpoint: &str, headers: &Headers<'_>) -> Message {
        self.send(endpoint, headers);
        self.answer()
    }

    /// Calls until the first 429, which is returned with how many got a 200 before it.
    pub fn drain(&mut self, endpoint: &str, headers: &Headers<'_>, most: u32) -> (u32, Message) {
        for admitted in 0..=most {
            let answer = self.call(endpoint, headers);
            match answer.status() {
                200 => {}
                429 => return (admitted, answer),
                _ => panic!("{endpoint}: {answer:?}"),
            }
        }
        panic!("over {most} were admitted: {endpoint} {headers:?}");
    }
}

/// An upstream that claims limits of its own in every answer, and shows what it was sent.
#[derive(Debug)]
pub struct Upstream {
    pub address: SocketAddr,
    requests: Receiver<Message>,
}

const FORGED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-upstream: here\r\n\
    x-ratelimit-limit: forged\r\nx-ratelimit-remaining: forged\r\nx-ratelimit-reset: forged\r\n\r\n";

impl Upstream {
    pub fn listen() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, requests) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut connection = BufReader::new(stream.unwrap());
                let seen = seen.clone();
                std::thread::spawn(move || {
                    while let Ok(Some(request)) = Message::read(&mut connection) {
                        // Nobody to show it to, or to answer: the test is over.
                        if seen.send(request).is_err()
                            || connection.get_mut().write_all(FORGED.as_bytes()).is_err()
                        {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, requests }
    }

    /// The next request that has come.
    pub fn request(&self) -> Message {
        self.requests.recv_timeout(PATIENCE).unwrap()
    }

    pub fn has_seen_all(&self) -> bool {
        self.requests.try_recv().is_err()
    }
}
