//! tollgate answers Envoy's question, "may this request pass?", from a policy read from YAML.
//! `docs/glossary.md` defines its terms.
//!
//! # The life of a request
//!
//! wire bytes → [`Query`](descriptor::Query) → [`Policy::resolve`](policy::Policy::resolve): which tables, rows,
//! buckets → [`MemoryStore::decide`](store::MemoryStore::decide), or the store that replicas share: all or none →
//! [`Verdict`](decision::Verdict) → [`Reply`](reply::Reply): statuses, headers, body, metadata → wire bytes
//!
//! [`Service::handle`](service::Service::handle) is that line in code, for both stores: one `prepare`, one line that
//! decides, one `finish`. It reads the clock once and the policies once. Up to the verdict an ordinary request decided
//! in memory allocates nothing, as `tests/allocations.rs` pins, and takes no lock but those of the shards that hold
//! its buckets, nearly always one (and, for a lease, that of its place in the index).
//!
//! # The modules
//!
//! A module may import those below it, and nothing else of the crate; `tests/suites/modules.rs` holds them to it.
//!
//! | module | what it is |
//! |---|---|
//! | `cli` | the commands: serve, check, explain, query, health, admin, completions, man |
//! | `server` | the supervisor: threads, accepting connections, drain, the sweep of the store |
//! | `admin` | the HTTP side |
//! | `grpc` | the gRPC transport: connections, fairness between them, calls; whether an answer was delivered |
//! | `listener` | accepting connections |
//! | `watching` | whether files may have changed |
//! | `tls` | our certificate, and which callers' certificates let in |
//! | `service` | the path of a request, spelled out once; `backend` is where memory and the shared store differ |
//! | `shared` | Redis or Valkey: connections, and what becomes of a request without them |
//! | `policy_files` | a source of policies: files, read again while the server runs |
//! | `live` | the policies in force, replaced as a whole, from whatever source |
//! | `snapshot` | the store's state in a file, restored at the next start |
//! | `reading` | reading what may hang: a thread of its own, a deadline, panics caught |
//! | `observe` | metrics (`telemetry`), lists (`recent_buckets`, `active_leases`), log lines (`denied_log`) and spans (`traces`) of calls |
//! | `wire` | the only module that knows protobuf |
//! | `reply` | from a verdict to headers, body and metadata; `denials` are written when a policy is loaded |
//! | `decision` | the verdict; shadow |
//! | `store` | the contract of a store, `memory`, and the `script` of a shared one; `gcra` has governor decide one bucket |
//! | `config` | the only module that knows YAML: `schema` mirrors the file, `compile` checks it and hands it to `policy` |
//! | `policy` | the compiled policy: conditions, rows, endpoint templates; `builder` makes it, `identity` names its buckets |
//! | `descriptor` | the question: domain, descriptors, entries, hits |
//! | `limit` | buckets and rates that cannot be invalid |
//! | `clock` | time, injected |
//! | `file` | reading files: regular ones of a bounded size |
//! | `striped` | a value behind sixteen locks |
//! | `text` | untrusted text, made safe to print and cut to a maximum length |
//!
//! From `reply` down, only `config` knows YAML, and nothing knows protobuf or tokio: deciding is a function of
//! (policy, state, query, now).
//!
//! # Where additions go
//!
//! | addition | begins in |
//! |---|---|
//! | a kind of bucket | `limit`, then `store/counter.rs`, which lists what else a kind has |
//! | a source of policies | a module beside `policy_files`, which hands compiled policies to `live` |
//! | another language for policies | a module beside `config`, which compiles to `policy/builder.rs` |
//! | an admin endpoint | `admin/api`, a file each, with its types in `admin/api/types.rs` |
//! | a metric | `observe/telemetry.rs` and the files in its folder |
//! | a flag of `serve` | `cli/serve.rs` |

pub mod admin;
pub mod cli;
pub mod clock;
pub mod config;
pub mod decision;
pub mod descriptor;
pub mod file;
pub mod grpc;
pub mod limit;
pub mod listener;
pub mod live;
pub mod observe;
pub mod policy;
pub mod policy_files;
pub mod reading;
pub mod reply;
pub mod server;
pub mod service;
pub mod shared;
pub mod snapshot;
pub mod store;
pub mod striped;
pub mod text;
pub mod tls;
pub mod watching;
pub mod wire;
