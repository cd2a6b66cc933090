//! A collector of spans that the test is. It stands for whichever is used.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "test code: a failure is a panic, and no test uses all of it"
)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// A span, and who sent it.
#[derive(Debug)]
pub struct Sent {
    pub service: String,
    /// The id of its instance.
    pub instance: String,
    pub span: Span,
}

impl Sent {
    pub fn trace(&self) -> String {
        hex(&self.span.trace_id)
    }

    pub fn id(&self) -> String {
        hex(&self.span.span_id)
    }

    pub fn parent(&self) -> String {
        hex(&self.span.parent_span_id)
    }

    /// Its attributes, as text.
    pub fn attributes(&self) -> HashMap<&str, String> {
        texts(&self.span.attributes)
    }
}

fn texts(attributes: &[KeyValue]) -> HashMap<&str, String> {
    let text = |attribute: &KeyValue| match attribute.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    };
    let texts = attributes.iter().filter_map(|told| Some((&*told.key, text(told)?)));
    texts.collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Keeps what it is sent.
struct Keeping(Sender<Sent>);

#[tonic::async_trait]
impl TraceService for Keeping {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for sent in spans(request.into_inner()) {
            // Nobody may want it any more.
            let _ = self.0.send(sent);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn spans(request: ExportTraceServiceRequest) -> Vec<Sent> {
    let mut sent = Vec::new();
    for of_one in request.resource_spans {
        let resource = of_one.resource.unwrap_or_default();
        let mut told = texts(&resource.attributes);
        let service = told.remove("service.name").unwrap_or_default();
        let instance = told.remove("service.instance.id").unwrap_or_default();
        let spans = of_one.scope_spans.into_iter().flat_map(|scope| scope.spans);
        let of = |span| Sent { service: service.clone(), instance: instance.clone(), span };
        sent.extend(spans.map(of));
    }
    sent
}

/// Serves on a free port until the test's process ends, over TLS if it is to.
pub fn collector(identity: Option<Identity>) -> (SocketAddr, Receiver<Sent>) {
    let (sender, spans) = channel();
    let (bound, address) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let incoming =
                tonic::transport::server::TcpIncoming::bind("127.0.0.1:0".parse().unwrap())
                    .unwrap();
            bound.send(incoming.local_addr().unwrap()).unwrap();
            let mut server = Server::builder();
            if let Some(identity) = identity {
                server = server.tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
            }
            let server = server.add_service(TraceServiceServer::new(Keeping(sender)));
            server.serve_with_incoming(incoming).await.unwrap();
        });
    });
    (address.recv().unwrap(), spans)
}

/// A request of OTLP over HTTP.
#[derive(Debug)]
pub struct Posted {
    /// Its line and its fields, in lowercase.
    pub head: String,
    pub spans: Vec<Sent>,
}

/// Serves OTLP over HTTP/1.1 on a free port until the test's process ends, over TLS if it is to.
pub fn http_collector(tls: Option<ServerConfig>) -> (SocketAddr, Receiver<Posted>) {
    let (sender, posted) = channel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let tls = tls.map(Arc::new);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, sender, tls) = (stream.unwrap(), sender.clone(), tls.clone());
            // It ends when its peer is gone, or has shown no certificate.
            std::thread::spawn(move || match tls {
                None => serve(stream, &sender),
                Some(tls) => {
                    let connection = ServerConnection::new(tls).unwrap();
                    serve(StreamOwned::new(connection, stream), &sender)
                }
            });
        }
    });
    (address, posted)
}

fn serve(stream: impl Read + Write, to: &Sender<Posted>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body)?;
        let request = ExportTraceServiceRequest::decode(&*body).unwrap();
        // Nobody may want it any more.
        let _ = to.send(Posted { head, spans: spans(request) });
        // An empty answer is one of protobuf, too.
        stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
        stream.get_mut().flush()?;
    }
}
