//! The services that are compared: each a process with a port, and where it needs one a Redis.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;
use tokio::runtime::Runtime;
use tollgate::wire::{RateLimitRequest, RateLimitResponse, RateLimitServiceClient};
use tonic::transport::{Channel, Endpoint};

use super::process::{Running, eventually, free_port};
use super::redis_server::Redis;
use super::support;
use crate::tool;

/// Which reference there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Wildcards at the end of a value only, quotas that never deny, and no metadata of limits.
    Pinned,
    /// All that `docs/ratelimit.md` describes.
    Later,
}

/// Asked of its config check, once: only a later version knows `metadata`.
pub(super) fn version() -> Version {
    static VERSION: OnceLock<Version> = OnceLock::new();
    *VERSION.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let config = "domain: d\ndescriptors: [{ key: k, metadata: { a: b } }]\n";
        std::fs::write(folder.path().join("config.yaml"), config).unwrap();
        if takes(folder.path(), false) { Version::Later } else { Version::Pinned }
    })
}

/// Whether the reference takes the files of a folder, as its config check says.
pub(super) fn takes(folder: &Path, merges_domains: bool) -> bool {
    let check = Command::new(tool("TOLLGATE_RATELIMIT_CONFIG_CHECK", "bin/ratelimit-config-check"));
    judged(check, folder, merges_domains)
}

/// Whether tollgate takes the files of a folder.
pub(super) fn tollgate_takes(folder: &Path, merges_domains: bool) -> bool {
    let mut check = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    check.arg("ratelimit-check");
    judged(check, folder, merges_domains)
}

fn judged(mut check: Command, folder: &Path, merges_domains: bool) -> bool {
    check.arg("-config_dir").arg(folder).env_clear();
    if merges_domains {
        check.arg("-merge_domain_configs");
    }
    let ended = check.stdin(Stdio::null()).output().unwrap();
    match ended.status.code() {
        Some(0) => true,
        Some(1 | 2) => false,
        code => panic!("{code:?}: {}", String::from_utf8_lossy(&ended.stderr)),
    }
}

/// What both are given: the files of their folder by name, and environment variables.
#[derive(Debug, Clone, Default)]
pub(super) struct Deployment {
    pub(super) files: Vec<(String, String)>,
    pub(super) environment: Vec<(&'static str, String)>,
}

impl Deployment {
    pub(super) fn of(files: &[(&str, &str)], environment: &[(&'static str, &str)]) -> Self {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let environment = environment.iter().map(|(name, value)| (*name, (*value).to_owned()));
        Self { files: files.collect(), environment: environment.collect() }
    }

    /// Writes a file of the folder that a service reads, all at once.
    fn write(folder: &Path, name: &str, text: &str) {
        let config = config_folder(folder);
        std::fs::create_dir_all(&config).unwrap();
        let beside = folder.join(name);
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, config.join(name)).unwrap();
    }
}

/// `RUNTIME_ROOT`/`RUNTIME_SUBDIRECTORY`/`RUNTIME_APPDIRECTORY`.
fn config_folder(folder: &Path) -> PathBuf {
    folder.join("ratelimit/config")
}

/// Where a service counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    Memory,
    Redis,
}

/// One service that runs. Killed when dropped.
pub(super) struct Service {
    pub(super) name: &'static str,
    process: Running,
    redis: Option<Redis>,
    pub(super) grpc: SocketAddr,
    /// `/json` and `/healthcheck`.
    pub(super) http: SocketAddr,
    /// `/rlconfig` and the like.
    pub(super) debug: SocketAddr,
    /// `/metrics`, where `USE_PROMETHEUS` says so.
    pub(super) prometheus: SocketAddr,
    folder: TempDir,
}

impl Service {
    /// The reference, with a Redis of its own.
    pub(super) fn reference(deployment: &Deployment) -> Self {
        let program = Command::new(tool("TOLLGATE_RATELIMIT", "bin/ratelimit"));
        Self::start("reference", program, Store::Redis, deployment)
    }

    /// The program under test, started as the reference is.
    pub(super) fn ours(store: Store, deployment: &Deployment) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        program.arg("ratelimit");
        let name = match store {
            Store::Memory => "memory",
            Store::Redis => "redis",
        };
        Self::start(name, program, store, deployment)
    }

    fn start(name: &'static str, mut command: Command, store: Store, given: &Deployment) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in &given.files {
            Deployment::write(folder.path(), name, text);
        }
        std::fs::create_dir_all(config_folder(folder.path())).unwrap();
        let redis = (store == Store::Redis).then(Redis::start);
        let [grpc, http, debug, prometheus] =
            [(); 4].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
        command.env_clear().env("RUNTIME_ROOT", folder.path());
        command.envs([
            ("RUNTIME_SUBDIRECTORY", "ratelimit"),
            ("RUNTIME_WATCH_ROOT", "false"),
            ("USE_STATSD", "false"),
            ("LOG_LEVEL", "error"),
            ("HOST", "127.0.0.1"),
            ("DEBUG_HOST", "127.0.0.1"),
            ("GRPC_HOST", "127.0.0.1"),
            ("REDIS_SOCKET_TYPE", "tcp"),
        ]);
        for (port, address) in [("GRPC_PORT", grpc), ("PORT", http), ("DEBUG_PORT", debug)] {
            command.env(port, address.port().to_string());
        }
        command.env("PROMETHEUS_ADDR", prometheus.to_string());
        if let Some(redis) = &redis {
            command.env("REDIS_URL", redis.address.to_string());
        } else {
            command.env("TOLLGATE_STORE", "memory");
        }
        command.envs(given.environment.iter().map(|(name, value)| (*name, value)));
        let process = Running::start(name, &mut command, folder.path());
        Self { name, process, redis, grpc, http, debug, prometheus, folder }
    }

    fn connect(&mut self, runtime: &Runtime) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.grpc)).unwrap();
        self.process.wait_for("an open port", |_| runtime.block_on(endpoint.connect()).ok())
    }

    /// Waits until it has ended by itself.
    pub(super) fn wait(&mut self) {
        self.process.wait();
    }

    pub(super) fn log(&self) -> String {
        self.process.log()
    }

    /// Its Redis; none where it counts in memory.
    pub(super) fn redis(&mut self) -> Option<&mut Redis> {
        self.redis.as_mut()
    }
}

/// What a service said: an answer, or the failure of the call.
pub(super) type Said = Result<RateLimitResponse, tonic::Status>;

/// Services with the same deployment, asked at the same time.
pub(super) struct Sides {
    runtime: Runtime,
    services: Vec<(Service, Channel)>,
}

impl Sides {
    /// The reference, and tollgate in memory and over Redis.
    pub(super) fn all(deployment: &Deployment) -> Self {
        let reference = Service::reference(deployment);
        Self::of([vec![reference], Self::both(deployment)].into_iter().flatten())
    }

    /// The same, without the reference where it is of an older version than what is asked.
    pub(super) fn later(deployment: &Deployment) -> Self {
        match version() {
            Version::Later => Self::all(deployment),
            Version::Pinned => Self::of(Self::both(deployment)),
        }
    }

    fn both(deployment: &Deployment) -> Vec<Service> {
        vec![Service::ours(Store::Memory, deployment), Service::ours(Store::Redis, deployment)]
    }

    /// These, which have begun to start together.
    pub(super) fn of(services: impl IntoIterator<Item = Service>) -> Self {
        let runtime = support::runtime();
        let connect = |mut service: Service| {
            let channel = service.connect(&runtime);
            (service, channel)
        };
        Self { services: services.into_iter().map(connect).collect(), runtime }
    }

    /// Asks all at once; what each said, in their order.
    pub(super) fn ask(&self, request: &RateLimitRequest) -> Vec<(&'static str, Said)> {
        self.each(|channel| {
            let request = request.clone();
            async move {
                let mut client = RateLimitServiceClient::new(channel);
                client.should_rate_limit(request).await.map(tonic::Response::into_inner)
            }
        })
    }

    /// Makes a call of another service on the connection to each, at once.
    pub(super) fn each<T, F>(&self, call: impl Fn(Channel) -> F) -> Vec<(&'static str, T)>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.runtime.block_on(async {
            let begin = |(service, channel): &(Service, Channel)| {
                (service.name, tokio::spawn(call(channel.clone())))
            };
            let begun: Vec<_> = self.services.iter().map(begin).collect();
            let mut ended = Vec::new();
            for (name, call) in begun {
                ended.push((name, call.await.unwrap()));
            }
            ended
        })
    }

    /// Puts another text in the place of a file, in the folder of each.
    pub(super) fn rewrite(&self, name: &str, text: &str) {
        for (service, _) in &self.services {
            Deployment::write(service.folder.path(), name, text);
        }
    }

    /// Asks until the answers of all are so.
    pub(super) fn wait_for(
        &self,
        what: &str,
        request: &RateLimitRequest,
        holds: impl Fn(&Said) -> bool,
    ) {
        eventually(what, || self.ask(request).iter().all(|(_, said)| holds(said)).then_some(()));
    }

    pub(super) fn services(&mut self) -> impl Iterator<Item = &mut Service> {
        self.services.iter_mut().map(|(service, _)| service)
    }
}
