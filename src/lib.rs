//! tollgate answers Envoy's question, "may this request pass?", from a policy read from YAML.
//! `docs/glossary.md` defines its terms.
//!
//! # The life of a request
//!
//! wire bytes → [`Query`](descriptor::Query) → [`Policy::resolve`](policy::Policy::resolve): tables, rows and
//! buckets → [`MemoryStore::decide`](store::MemoryStore::decide), or the shared store: a
//! [prepaid](shared::prepaid) admission or a question, all or none →
//! [`Verdict`](decision::Verdict) → [`Reply`](reply::Reply): statuses, headers, body, metadata → wire bytes
//!
//! [`Service::handle`](service::Service::handle) implements this path for both stores: `prepare`, a decision by the
//! store, `finish`. It reads the clock once and loads the policies once. Up to the verdict, an ordinary request that is
//! decided in memory allocates nothing (`tests/allocations.rs` checks this) and locks only the shards that hold its
//! buckets, nearly always one, and for a lease one part of the lease index.
//!
//! # The modules
//!
//! A module may import only those below it; `tests/suites/modules.rs` checks this.
//!
//! | module | purpose |
//! |---|---|
//! | `cli` | the commands: serve, check, convert, explain, replay, query, health, admin, ratelimit, ratelimit-check, completions, man |
//! | `replay` | what a policy would have done to the traffic of access logs, read by `crates/access-log` |
//! | `server` | the supervisor: threads, accepting connections, drain, the sweep of the store |
//! | `reference` | the HTTP side of envoyproxy/ratelimit: `/json`, `/healthcheck`, the port for debugging |
//! | `admin` | the HTTP side: the API and the dashboard |
//! | `http1` | serving HTTP/1.1: connections and their bounds |
//! | `grpc` | the gRPC transport, which drives `crates/unary-h2`: connections, fairness between them, calls; whether an answer was delivered |
//! | `rlqs` | the quota service: streams of Envoys that limit by themselves, and the engine that tells them their shares |
//! | `xds` | a source of policies: ratelimit configurations from a control plane |
//! | `listener` | accepting connections; noticing peers that are gone |
//! | `file_watch` | notices changes of files |
//! | `tls` | the certificate of the server, and the verification of clients' certificates |
//! | `service` | the path of a request; `backend` has the differences between memory and the shared store |
//! | `shared` | Redis or Valkey: connections, `prepaid` admissions, decisions while they are down, keys that a slower limit needs for longer, and what replicas claim of the buckets that Envoys share |
//! | `policy_files` | a source of policies: files, reloaded while the server runs |
//! | `snapshot` | the store's state in a file, restored at the next start |
//! | `live` | the policies in force, replaced as a whole, from any source |
//! | `reading` | file reads that may hang: a thread of their own, a deadline, panics caught |
//! | `observe` | metrics (`telemetry`; `statsd` sends those of envoyproxy/ratelimit), lists (`recent_buckets`, `top_denied`, `active_leases`), log lines (`denied_log`) and spans (`traces`) of calls |
//! | `wire` | the messages of Envoy: beside `xds`, the only module that knows protobuf |
//! | `reply` | from a verdict to headers, body and metadata; `denials` are encoded when a policy is loaded |
//! | `decision` | the verdict; shadow |
//! | `store` | the contract of a store, `memory`, and the `script` of a shared one; `gcra` decides one bucket with governor, `debt` one that is charged whatever is left |
//! | `config` | the only module that knows YAML: `schema` mirrors the file, `compile` checks it and hands it to `policy`; `ratelimit` does so for the configuration of envoyproxy/ratelimit, and `mapping` for mappings |
//! | `mapping` | from the fields of a log's line to descriptors, for a replay |
//! | `shares` | how a bucket is divided between Envoys that limit by themselves: who may use how much of it, and what is charged |
//! | `policy` | the compiled policy: conditions, rows, endpoint templates, or a `descriptor_tree`; `builder` builds it, `identity` names its buckets |
//! | `descriptor` | the query: domain, descriptors, entries, hits |
//! | `limit` | buckets and rates, valid by construction |
//! | `clock` | time, injected |
//! | `file` | reading files: regular ones of a bounded size |
//! | `striped` | a value behind sixteen locks |
//! | `text` | untrusted text, made safe to print and cut to a maximum length |
//!
//! From `reply` down, only `config` knows YAML, and no module knows protobuf or tokio: a decision is a function of
//! (policy, state, query, now).
//!
//! # Where additions go
//!
//! | addition | starts in |
//! |---|---|
//! | a kind of bucket | `limit`, then `store/counter.rs`, which lists the other parts of a kind |
//! | a source of policies | a module beside `policy_files` that passes compiled policies to `live` |
//! | another language for policies | a module in `config`, beside `config/ratelimit.rs`, that compiles to `policy` |
//! | another way to read an entry from a line of a log | `mapping/source.rs`, then `config/mapping/schema.rs` |
//! | a kind of limit that Envoys can be assigned | `shares/terms.rs`, which says what a bucket id meets |
//! | an admin endpoint | `admin/api`, a file each, with its types in `admin/api/types/` |
//! | a metric | `observe/telemetry.rs` and the files in its folder |
//! | a flag of `serve` | `cli/serve.rs`, or `cli/server_flags.rs` if `ratelimit` has it; `cli/serve/assemble.rs` builds the server from it |
//! | a variable of `ratelimit` | `cli/ratelimit/environment.rs` |

pub mod admin;
pub mod cli;
pub mod clock;
pub mod config;
pub mod decision;
pub mod descriptor;
pub mod file;
pub mod file_watch;
pub mod grpc;
pub mod http1;
pub mod limit;
pub mod listener;
pub mod live;
pub mod mapping;
pub mod observe;
pub mod policy;
pub mod policy_files;
pub mod reading;
pub mod reference;
pub mod replay;
pub mod reply;
pub mod rlqs;
pub mod server;
pub mod service;
pub mod shared;
pub mod shares;
pub mod snapshot;
pub mod store;
pub mod striped;
pub mod text;
pub mod tls;
pub mod wire;
pub mod xds;
