//! A connection, and calls of the script over it.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisError, RedisResult, Value};

use super::Store;
use super::target::Connector;
use crate::store::StoreError;
use crate::store::script::{self, Field, ScriptCall};

/// The timeout to connect, log in and load the script.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How many calls may be queued on the connection. They are answered in order, and abandoned after their deadline.
const MAX_QUEUED_CALLS: usize = 4096;

/// What can be called.
#[derive(Debug, Clone, Copy)]
pub(super) enum Function {
    Charge,
    Decide,
    Release,
    Lengthen,
    /// The command GET, which is not part of the script: the value of a lease's key.
    Get,
}

/// The functions of the script.
const FUNCTIONS: usize = script::Function::ALL.len();

/// The script, as a library of functions and as scripts.
#[derive(Debug)]
pub(super) struct Library {
    /// The library and the names of its functions. The names have a digest of the script, so that versions of tollgate
    /// with different scripts can share a server.
    functions: String,
    names: [String; FUNCTIONS],
    /// One script for each function, for servers before Redis 7 and users that may not load functions.
    scripts: [String; FUNCTIONS],
}

impl Library {
    pub(super) fn new() -> Self {
        let all = script::Function::ALL;
        let version: String = hash(&script::library("")).chars().take(12).collect();
        let names = all.map(|function| format!("tollgate_{version}_{}", function.name()));
        Self { functions: script::library(&version), names, scripts: all.map(|of| of.script()) }
    }
}

fn hash(text: &str) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How a server runs the script.
#[derive(Debug, Clone)]
pub(super) enum Invocation {
    Functions,
    Scripts([String; FUNCTIONS]),
}

#[derive(Clone)]
pub(super) enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    /// Sends one command; returns the reply.
    pub(super) async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            // As `query_async`, without its boxed future.
            Self::Server(connection) => {
                connection.send_packed_command(command).await?.extract_error()
            }
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    /// Sends commands, on one server all at once; returns the replies, in their order.
    pub(super) async fn send_all(
        &mut self,
        commands: Vec<Cmd>,
    ) -> RedisResult<Vec<RedisResult<Value>>> {
        match self {
            Self::Server(connection) => {
                let mut pipeline = redis::pipe();
                let count = commands.len();
                for command in commands {
                    pipeline.add_command(command);
                }
                let replies = connection.send_packed_commands(&pipeline, 0, count).await?;
                Ok(replies.into_iter().map(Value::extract_error).collect())
            }
            Self::Cluster(connection) => {
                let mut replies = Vec::with_capacity(commands.len());
                for command in commands {
                    replies.push(command.query_async(connection).await);
                }
                Ok(replies)
            }
        }
    }
}

impl Store {
    /// A new connection, over which the script can be called.
    pub(super) async fn open(&self) -> RedisResult<ReadyConnection> {
        let mut connection = self.connect_plainly().await?;
        let invocation = load_script(&mut connection, &self.library).await?;
        Ok(ReadyConnection { connection, invocation })
    }

    /// A new connection for commands alone.
    pub(super) async fn connect_plainly(&self) -> RedisResult<Connection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(MAX_QUEUED_CALLS);
        Ok(match &mut *self.connector.lock().await {
            Connector::Server(client) => Connection::Server(
                client.get_multiplexed_async_connection_with_config(&config).await?,
            ),
            Connector::Sentinel(client) => {
                Connection::Server(client.get_async_connection_with_config(&config).await?)
            }
            Connector::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
        })
    }
}

#[derive(Clone)]
pub(super) struct ReadyConnection {
    pub(super) connection: Connection,
    pub(super) invocation: Invocation,
}

impl ReadyConnection {
    /// Calls a function, and loads the script again if the server does not have it.
    pub(super) async fn call(
        &mut self,
        library: &Library,
        function: Function,
        call: &ScriptCall,
    ) -> RedisResult<Value> {
        let answer = self.connection.send(&self.command(library, function, call)).await;
        match answer {
            Err(error) if is_unknown(&error) => {
                self.invocation = load_script(&mut self.connection, library).await?;
                self.connection.send(&self.command(library, function, call)).await
            }
            answer => answer,
        }
    }

    /// The command that calls a function.
    pub(super) fn command(&self, library: &Library, function: Function, call: &ScriptCall) -> Cmd {
        let parts = call.parts();
        let (verb, [charge, decide, release, lengthen]) = match &self.invocation {
            Invocation::Functions => ("FCALL", &library.names),
            Invocation::Scripts(hashes) => ("EVALSHA", hashes),
        };
        let name = match function {
            Function::Charge => charge,
            Function::Decide => decide,
            Function::Release => release,
            Function::Lengthen => lengthen,
            Function::Get => {
                let mut command = redis::cmd("GET");
                parts.for_each(|part| {
                    command.arg(part);
                });
                return command;
            }
        };
        // The verb, the name and the key count come first.
        let mut command =
            Cmd::with_capacity(parts.len() + 3, verb.len() + name.len() + 20 + call.len());
        command.arg(verb).arg(name).arg(call.key_count());
        for part in parts {
            command.arg(part);
        }
        command
    }
}

fn is_unknown(error: &RedisError) -> bool {
    error.code() == Some("NOSCRIPT") || error.to_string().contains("Function not found")
}

/// Loads the script, on every primary of a cluster. Falls back to scripts if functions are not available.
async fn load_script(connection: &mut Connection, library: &Library) -> RedisResult<Invocation> {
    let mut command = redis::cmd("FUNCTION");
    command.arg("LOAD").arg("REPLACE").arg(&library.functions);
    match connection.send(&command).await {
        Ok(_) => return Ok(Invocation::Functions),
        // Any other error does not mean that functions are missing.
        Err(error) if !is_without_functions(&error) => return Err(error),
        Err(_) => {}
    }
    let mut hashes = library.scripts.clone();
    for hash in &mut hashes {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(&*hash);
        let loaded = connection.send(&command).await?;
        *hash = redis::from_redis_value(loaded)?;
    }
    Ok(Invocation::Scripts(hashes))
}

/// Whether the server does not have the command, or the user may not run it.
fn is_without_functions(error: &RedisError) -> bool {
    error.code() == Some("NOPERM") || error.to_string().contains("unknown command")
}

/// The fields of a reply.
pub(super) fn fields(value: &Value) -> Result<Vec<Field<'_>>, StoreError> {
    let Value::Array(values) = value else {
        return Err(StoreError::Reply("not a list"));
    };
    let field = |value| match value {
        &Value::Nil => Ok(Field::Nil),
        &Value::Int(number) => Ok(Field::Number(number)),
        // One version of the protocol has null where the other has false.
        Value::Boolean(false) => Ok(Field::Nil),
        Value::BulkString(text) => Ok(Field::Text(text)),
        Value::SimpleString(text) => Ok(Field::Text(text.as_bytes())),
        _ => Err(StoreError::Reply("a field is neither a number nor a text")),
    };
    values.iter().map(field).collect()
}
