//! The keys of the store, page by page.

use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Value};

use super::connection::Connection;

/// How many keys the server is asked for at a time. A page may have more or fewer.
const PAGE: usize = 100;

/// The cursor of the first page, and the one behind the last.
const END: &str = "0";

/// A server, as a connection reaches it.
enum Server {
    /// The only one.
    Only,
    /// One of a cluster.
    OfCluster {
        /// Its host, as the cluster names it.
        host: String,
        /// Its port.
        port: u16,
    },
}

/// Some of the keys of one server.
pub(super) struct Page {
    server: Server,
    /// That of the next page.
    cursor: String,
    /// Their names.
    pub(super) keys: Vec<Vec<u8>>,
}

impl Page {
    fn read(server: Server, reply: Value) -> RedisResult<Self> {
        let (cursor, keys) = redis::from_redis_value(reply)?;
        Ok(Self { server, cursor, keys })
    }

    /// The first page of the server with this address, which sent `reply`.
    fn first_of(address: Value, reply: Value) -> RedisResult<Self> {
        let address: String = redis::from_redis_value(address)?;
        let parsed = address.rsplit_once(':').and_then(|(host, port)| {
            Some(Server::OfCluster { host: host.to_owned(), port: port.parse().ok()? })
        });
        let invalid = || RedisError::from((ErrorKind::Client, "not an address", address.clone()));
        Self::read(parsed.ok_or_else(invalid)?, reply)
    }
}

/// The first page of the keys of this pattern whose values are strings: of a cluster, that of each primary.
pub(super) async fn first_pages(
    connection: &mut Connection,
    pattern: &str,
) -> RedisResult<Vec<Page>> {
    let scan = command(pattern, END);
    match connection {
        Connection::Server(server) => {
            let reply = server.send_packed_command(&scan).await?.extract_error()?;
            Ok(vec![Page::read(Server::Only, reply)?])
        }
        Connection::Cluster(cluster) => {
            let primaries = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
            // Each reply comes with the address of the server that sent it.
            match cluster.route_command(scan, primaries).await?.extract_error()? {
                Value::Map(replies) => replies
                    .into_iter()
                    .map(|(address, reply)| Page::first_of(address, reply))
                    .collect(),
                _ => Err((ErrorKind::Client, "the replies of a cluster have no addresses").into()),
            }
        }
    }
}

/// The page behind another; `None` behind the last of its server.
pub(super) async fn next_page(
    connection: &mut Connection,
    pattern: &str,
    Page { server, cursor, .. }: Page,
) -> RedisResult<Option<Page>> {
    if cursor == END {
        return Ok(None);
    }
    let mut scan = redis::pipe();
    scan.add_command(command(pattern, &cursor));
    let replies = send(connection, &server, scan).await?;
    replies.into_iter().next().map(|reply| Page::read(server, reply)).transpose()
}

/// Sends commands to the server of a page; returns the replies, in their order.
pub(super) async fn send_to_server_of(
    page: &Page,
    connection: &mut Connection,
    commands: Pipeline,
) -> RedisResult<Vec<Value>> {
    send(connection, &page.server, commands).await
}

async fn send(
    connection: &mut Connection,
    server: &Server,
    commands: Pipeline,
) -> RedisResult<Vec<Value>> {
    let count = commands.len();
    let replies = match (connection, server) {
        (Connection::Cluster(cluster), Server::OfCluster { host, port }) => {
            let route = SingleNodeRoutingInfo::ByAddress { host: host.clone(), port: *port };
            cluster.route_pipeline(commands, 0, count, route).await?
        }
        (Connection::Server(connection), Server::Only) => {
            connection.send_packed_commands(&commands, 0, count).await?
        }
        _ => return Err((ErrorKind::Client, "the page of another connection").into()),
    };
    replies.into_iter().map(Value::extract_error).collect()
}

fn command(pattern: &str, cursor: &str) -> Cmd {
    let mut scan = redis::cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(PAGE).arg("TYPE").arg("string");
    scan
}
