//! One thread's connection to the shared store. It is made again whenever it breaks, and nobody waits for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisError, RedisResult, Value};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::Store;
use super::target::Connector;
use crate::store::StoreError;
use crate::store::script::{self, Call, Field};

/// How long it may take to connect, to log in and to find the script there.
const CONNECT: Duration = Duration::from_secs(1);

/// How long to wait before trying again, at first and at most; a half more or less by chance, so that replicas do
/// not all come at once.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// So many calls one after another that are not answered in time are taken for an outage.
const MOST_LATE: u32 = 3;

/// How many calls may wait to be written. They are answered in order, and given up after their deadline.
const WAITING: usize = 4096;

/// The script's functions, as a server knows them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Function {
    Decide,
    Release,
    /// None of the script's, but what it begins to release with: the value of a key.
    Get,
}

/// The script, in the two forms in which servers take it.
#[derive(Debug)]
pub(super) struct Library {
    /// A library of functions, and what these are called: named by what they do, so that versions of tollgate that
    /// differ in it can share a server.
    functions: String,
    names: [String; 2],
    /// For servers before Redis 7, and users who may not load functions: two scripts, and their hashes.
    scripts: [String; 2],
}

impl Library {
    pub(super) fn new() -> Self {
        let version: String = hash(script::DECIDE).chars().take(12).collect();
        let names = ["decide", "release"].map(|name| format!("tollgate_{version}_{name}"));
        let registered = names.iter().zip(["decide", "release"]);
        let registered =
            registered.map(|(name, own)| format!("redis.register_function('{name}', {own})\n"));
        let functions = format!(
            "#!lua name=tollgate_{version}\n{}\n{}",
            script::DECIDE,
            registered.collect::<String>()
        );
        let scripts = ["decide", "release"]
            .map(|name| format!("{}\nreturn {name}(KEYS, ARGV)\n", script::DECIDE));
        Self { functions, names, scripts }
    }
}

fn hash(text: &str) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How the script is called on a server.
#[derive(Debug, Clone)]
enum Caller {
    Functions,
    Scripts([String; 2]),
}

#[derive(Clone)]
enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            // What `query_async` comes to, without its future in a box of its own.
            Self::Server(connection) => {
                connection.send_packed_command(command).await?.extract_error()
            }
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }
}

#[derive(Clone)]
struct Ready {
    connection: Connection,
    caller: Caller,
}

impl Ready {
    /// Calls a function, which is loaded again where the server has forgotten it.
    async fn call(
        &mut self,
        library: &Library,
        function: Function,
        call: &Call,
    ) -> RedisResult<Value> {
        let answer = self.connection.send(&self.command(library, function, call)).await;
        match answer {
            Err(error) if is_unknown(&error) => {
                self.caller = load(&mut self.connection, library).await?;
                self.connection.send(&self.command(library, function, call)).await
            }
            answer => answer,
        }
    }

    fn command(&self, library: &Library, function: Function, call: &Call) -> Cmd {
        let parts = call.parts();
        let (verb, [decide, release]) = match &self.caller {
            Caller::Functions => ("FCALL", &library.names),
            Caller::Scripts(hashes) => ("EVALSHA", hashes),
        };
        let name = match function {
            Function::Decide => decide,
            Function::Release => release,
            Function::Get => {
                let mut command = redis::cmd("GET");
                parts.for_each(|part| {
                    command.arg(part);
                });
                return command;
            }
        };
        // The verb, the name and the count of keys come first.
        let mut command =
            Cmd::with_capacity(parts.len() + 3, verb.len() + name.len() + 20 + call.len());
        command.arg(verb).arg(name).arg(call.keys());
        for part in parts {
            command.arg(part);
        }
        command
    }
}

fn is_unknown(error: &RedisError) -> bool {
    error.code() == Some("NOSCRIPT") || error.to_string().contains("Function not found")
}

/// Has every primary know the script.
async fn load(connection: &mut Connection, library: &Library) -> RedisResult<Caller> {
    let mut command = redis::cmd("FUNCTION");
    command.arg("LOAD").arg("REPLACE").arg(&library.functions);
    match connection.send(&command).await {
        Ok(_) => return Ok(Caller::Functions),
        // A server that is in trouble is not one without functions.
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
    Ok(Caller::Scripts(hashes))
}

/// It does not know the command, or not for this user.
fn is_without_functions(error: &RedisError) -> bool {
    error.code() == Some("NOPERM") || error.to_string().contains("unknown command")
}

/// One thread's connection.
pub struct Link {
    pub(super) store: Arc<Store>,
    ready: ArcSwapOption<Ready>,
    late: AtomicU32,
    broken: Notify,
    /// A release could not be sent over it.
    releases_wait: Notify,
    tried: watch::Sender<bool>,
}

impl Link {
    /// Connects, and goes on doing so on the runtime of whoever calls until that ends.
    pub(super) fn start(store: Arc<Store>) -> Arc<Self> {
        let link = Arc::new(Self {
            store,
            ready: ArcSwapOption::empty(),
            late: AtomicU32::new(0),
            broken: Notify::new(),
            releases_wait: Notify::new(),
            tried: watch::Sender::new(false),
        });
        tokio::spawn(Arc::clone(&link).keep());
        link
    }

    /// Completes once it has connected, or could not.
    pub async fn tried(&self) {
        // The sender is here, so that this does not fail.
        let _ = self.tried.subscribe().wait_for(|tried| *tried).await;
    }

    async fn keep(self: Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        let mut is_away = false;
        loop {
            let reason = match timeout(CONNECT, self.connect()).await {
                Ok(Ok(ready)) => {
                    self.late.store(0, Ordering::Relaxed);
                    self.ready.store(Some(Arc::new(ready)));
                    if std::mem::take(&mut is_away) {
                        self.store.is_back();
                    } else {
                        self.store.is_here();
                    }
                    self.tried.send_replace(true);
                    let connected = Instant::now();
                    self.release_until_broken().await;
                    if connected.elapsed() > LONGEST_PAUSE {
                        pause = FIRST_PAUSE;
                    }
                    None
                }
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("it did not answer within {CONNECT:?}")),
            };
            if let Some(reason) = reason {
                if !std::mem::replace(&mut is_away, true) {
                    self.store.is_away(&reason);
                }
                self.tried.send_replace(true);
            } else if !std::mem::replace(&mut is_away, true) {
                self.store.is_away("calls are not answered");
            }
            tokio::time::sleep(with_chance(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A connection that has decided something, if nothing of anybody's.
    async fn connect(&self) -> RedisResult<Ready> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(WAITING);
        let mut connection = match &mut *self.store.connector.lock().await {
            Connector::Server(client) => Connection::Server(
                client.get_multiplexed_async_connection_with_config(&config).await?,
            ),
            Connector::Sentinel(client) => {
                Connection::Server(client.get_async_connection_with_config(&config).await?)
            }
            Connector::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
        };
        let caller = load(&mut connection, &self.store.library).await?;
        let mut ready = Ready { connection, caller };
        let nothing = script::decide(&self.store.names, &[], None, None);
        let decided = ready.call(&self.store.library, Function::Decide, &nothing);
        let decided = timeout(self.store.deadline, decided).await;
        decided.map_err(|_| late())??;
        Ok(ready)
    }

    /// Whether calls are sent at all.
    pub(super) fn is_up(&self) -> bool {
        self.ready.load().is_some()
    }

    /// Until when a request that begins now waits for the store.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.store.deadline
    }

    /// Asks, and waits for the answer until the deadline. Later than that it is not asked any more.
    ///
    /// # Errors
    /// [`StoreError::Away`] where there is no connection, or no answer in time. It may have been charged all the same.
    pub(super) async fn call(
        &self,
        function: Function,
        call: &Call,
        deadline: Instant,
    ) -> Result<Value, StoreError> {
        let Some(asked) = self.ready.load_full() else {
            return Err(StoreError::Away("there is no connection to it".into()));
        };
        if deadline <= Instant::now() {
            // That it was late has been counted already.
            return Err(StoreError::Away("there is no time left to ask it".into()));
        }
        let mut ready = Ready::clone(&asked);
        let library = &self.store.library;
        let answer = timeout_at(deadline, ready.call(library, function, call)).await;
        let counters = self.store.telemetry.shared_store();
        match answer {
            Ok(Ok(value)) => {
                self.late.store(0, Ordering::Relaxed);
                counters.answered.inc();
                Ok(value)
            }
            Ok(Err(error)) => {
                counters.failed.inc();
                self.give_up(&asked);
                Err(StoreError::Away(error.to_string()))
            }
            Err(_) => {
                counters.late.inc();
                if self.late.fetch_add(1, Ordering::Relaxed) + 1 >= MOST_LATE {
                    self.give_up(&asked);
                }
                Err(StoreError::Away(format!("no answer within {:?}", self.store.deadline)))
            }
        }
    }

    /// From now on nobody waits for the connection; another is made, unless it was already.
    fn give_up(&self, asked: &Arc<Ready>) {
        let was = self.ready.compare_and_swap(asked, None);
        if was.as_ref().is_some_and(|was| Arc::ptr_eq(was, asked)) {
            self.broken.notify_one();
        }
    }

    /// Says that a release waits. One that was late does not break the connection, so that nothing else would.
    pub(super) fn releases_wait(&self) {
        self.releases_wait.notify_one();
    }

    async fn release_until_broken(&self) {
        loop {
            self.release_what_waits().await;
            let some_wait = async {
                self.releases_wait.notified().await;
                tokio::time::sleep(with_chance(FIRST_PAUSE)).await;
            };
            tokio::select! {
                () = self.broken.notified() => return,
                () = some_wait => {}
            }
        }
    }

    async fn release_what_waits(&self) {
        // Whatever fails is put back behind the others, and has its next turn after a pause.
        for _ in 0..self.store.releases_waiting() {
            if !self.is_up() {
                return;
            }
            let Some((lease, partition)) = self.store.next_to_release() else { return };
            self.release_from(lease, partition, self.deadline()).await;
        }
    }
}

fn late() -> RedisError {
    RedisError::from((redis::ErrorKind::Io, "it connects and does not decide in time"))
}

fn with_chance(pause: Duration) -> Duration {
    // Without random bits all wait the same.
    let chance = getrandom::u32().map_or(0.5, |bits| f64::from(bits) / f64::from(u32::MAX));
    pause.mul_f64(0.5 + chance)
}

/// The fields of an answer.
pub(super) fn fields(value: &Value) -> Result<Vec<Field<'_>>, StoreError> {
    let Value::Array(values) = value else {
        return Err(StoreError::Reply("it is no list"));
    };
    let field = |value| match value {
        &Value::Nil => Ok(Field::Nothing),
        &Value::Int(number) => Ok(Field::Number(number)),
        // A nil of Lua is nothing in one version of the protocol and false in the other.
        Value::Boolean(false) => Ok(Field::Nothing),
        Value::BulkString(text) => Ok(Field::Text(text)),
        Value::SimpleString(text) => Ok(Field::Text(text.as_bytes())),
        _ => Err(StoreError::Reply("a field of it is neither number nor text")),
    };
    values.iter().map(field).collect()
}
