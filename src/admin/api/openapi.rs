//! `/openapi.json`: what the HTTP side takes and answers, from the types that it reads and writes.

use std::sync::LazyLock;

use axum::http::StatusCode;
use axum::response::Response;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::explain::MAX_EXPLAINED;
use super::types::{
    Buckets, Config, ErrorBody, Explanation, Leases, ReleaseRequest, Released, Reload,
    ReloadRejected, Reset, ResetRequest,
};
use crate::admin::dashboard::{Begin, MODULES, Sample};
use crate::admin::host::OPEN;
use crate::admin::{ApiError, json_text};
use crate::descriptor::{MAX_DESCRIPTORS, MAX_ENTRIES, MAX_KEY_LENGTH};
use crate::wire::{self, json::JsonError};

/// The document, written out once.
static DOCUMENT: LazyLock<Result<String, JsonError>> =
    LazyLock::new(|| Ok(document()?.to_string()));

pub(super) async fn openapi() -> Response {
    match &*DOCUMENT {
        Ok(text) => json_text(StatusCode::OK, text.clone()),
        Err(error) => ApiError::internal(error).into(),
    }
}

const SUMMARY: &str =
    "Health, metrics, the policies in force, decisions in JSON, and the admin API";

const DESCRIPTION: &str = "\
A time is RFC 3339 text in UTC; a span of time is a number of milliseconds. Requests name this server in `Host`: an IP \
address, localhost or one of its names. Others are answered 421, except of /healthz, /readyz and /metrics. Requests \
that a browser sends for a page of another site are answered 403. Every answer carries the headers \
X-Content-Type-Options, Referrer-Policy, Cache-Control and Content-Security-Policy.";

const TOKEN: &str = "\
The server's --admin-token. A client certificate that is allowed stands in for it.";

/// The kind of a body.
const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

fn document() -> Result<Value, JsonError> {
    let mut schemas = Schemas::new()?;
    let paths = paths(&mut schemas);
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "tollgate",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": SUMMARY,
            "description": DESCRIPTION,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": TOKEN,
                },
            },
            "schemas": schemas.all(),
        },
    }))
}

/// The schemas of all types: of what is read, of what is written, and of protobuf's messages.
struct Schemas {
    read: SchemaGenerator,
    written: SchemaGenerator,
    messages: Map<String, Value>,
}

impl Schemas {
    fn new() -> Result<Self, JsonError> {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        let mut messages = Map::new();
        wire::schema::add("RateLimitRequest", &mut messages)?;
        wire::schema::add("RateLimitResponse", &mut messages)?;
        bound(&mut messages);
        Ok(Self {
            read: settings().for_deserialize().into_generator(),
            written: settings().for_serialize().into_generator(),
            messages,
        })
    }

    fn read<T: JsonSchema>(&mut self) -> Schema {
        self.read.subschema_for::<T>()
    }

    fn written<T: JsonSchema>(&mut self) -> Schema {
        self.written.subschema_for::<T>()
    }

    fn all(mut self) -> Map<String, Value> {
        let mut all = self.read.take_definitions(true);
        all.extend(self.written.take_definitions(true));
        all.extend(self.messages);
        all
    }
}

/// What a request may say is less than what its protos allow: the bounds of a query.
fn bound(messages: &mut Map<String, Value>) {
    let bounds = [
        ("RateLimitRequest", "/required", json!(["domain", "descriptors"])),
        ("RateLimitRequest", "/properties/domain", json!({ "type": "string", "minLength": 1 })),
        ("RateLimitRequest", "/properties/descriptors/type", json!("array")),
        ("RateLimitRequest", "/properties/descriptors/minItems", json!(1)),
        ("RateLimitRequest", "/properties/descriptors/maxItems", json!(MAX_DESCRIPTORS)),
        ("RateLimitDescriptor", "/required", json!(["entries"])),
        ("RateLimitDescriptor", "/properties/entries/type", json!("array")),
        ("RateLimitDescriptor", "/properties/entries/minItems", json!(1)),
        ("RateLimitDescriptor", "/properties/entries/maxItems", json!(MAX_ENTRIES)),
        ("Entry", "/required", json!(["key"])),
        (
            "Entry",
            "/properties/key",
            json!({ "type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH }),
        ),
        ("RateLimitOverride", "/required", json!(["unit"])),
        ("RateLimitOverride", "/properties/unit/type", json!(["string", "integer"])),
    ];
    for (message, place, value) in bounds {
        let Some(message) = messages.get_mut(message) else { continue };
        let (parent, name) = place.rsplit_once('/').unwrap_or_default();
        if let Some(Value::Object(parent)) = message.pointer_mut(parent) {
            parent.insert(name.to_owned(), value);
        }
    }
    let units = messages
        .get_mut("RateLimitOverride")
        .and_then(|message| message.pointer_mut("/properties/unit/enum"));
    if let Some(Value::Array(units)) = units {
        units.retain(|unit| !unit.is_null() && unit != "UNKNOWN" && unit != 0);
    }
}

/// One answer: its status, what it means, the kind of its body, and the body's schema.
type Answer = (&'static str, &'static str, &'static str, Value);

fn answers(all: impl IntoIterator<Item = Answer>) -> Value {
    let answer = |(status, description, kind, schema): Answer| {
        let answer =
            json!({ "description": description, "content": { kind: { "schema": schema } } });
        (status.to_owned(), answer)
    };
    Value::Object(all.into_iter().map(answer).collect())
}

/// An operation that only reads.
fn get(id: &str, summary: &str, all: Vec<Answer>) -> Value {
    json!({ "get": { "operationId": id, "summary": summary, "responses": answers(all) } })
}

fn text() -> Value {
    json!({ "type": "string" })
}

/// A file of the page.
fn file(id: &str, summary: &str, kind: &'static str) -> Value {
    get(id, summary, vec![("200", "The file.", kind, text())])
}

/// A request that tells what it wants in its body.
struct Post<'a> {
    id: &'a str,
    summary: &'a str,
    description: &'a str,
    /// The schema of its body; none for a request without one.
    body: Option<Value>,
    /// The answers that only this operation has.
    answers: Vec<Answer>,
    /// Whether it takes the token.
    changes: bool,
}

impl Post<'_> {
    fn operation(self, error: &Value) -> Value {
        let mut all = self.answers;
        if self.body.is_some() {
            all.push(("400", "The request means nothing that can be done.", JSON, error.clone()));
            all.push(("413", "The body has more than 1 MiB.", TEXT, text()));
            all.push(("415", "The body is not declared as JSON.", JSON, error.clone()));
        }
        if self.changes {
            all.push(("401", "The token is missing or wrong.", JSON, error.clone()));
        }
        let mut operation = Map::new();
        operation.insert("operationId".into(), self.id.into());
        operation.insert("summary".into(), self.summary.into());
        operation.insert("description".into(), self.description.into());
        if let Some(body) = self.body {
            let body = json!({ "required": true, "content": { JSON: { "schema": body } } });
            operation.insert("requestBody".into(), body);
        }
        let mut answers = answers(all);
        if self.changes {
            operation.insert("security".into(), json!([{ "token": [] }]));
            let bearer = json!({ "required": true, "schema": { "const": "Bearer" } });
            let challenge = json!({ "WWW-Authenticate": bearer });
            insert(&mut answers, "/401", "headers", challenge);
        }
        operation.insert("responses".into(), answers);
        json!({ "post": operation })
    }
}

/// Sets a field of the object at a place, if there is one.
fn insert(within: &mut Value, place: &str, name: &str, value: Value) {
    if let Some(Value::Object(object)) = within.pointer_mut(place) {
        object.insert(name.to_owned(), value);
    }
}

fn paths(schemas: &mut Schemas) -> Value {
    let error = &schemas.written::<ErrorBody>().to_value();
    let mut paths = Value::Object(Map::new());
    for (path, operation) in [reads(schemas, error), changes(schemas, error), page(error)].concat()
    {
        insert(&mut paths, "", path, operation);
    }
    let late = ("408", "The request, or its answer, did not come in time.", JSON, error.clone());
    let foreign = ("403", FORBIDDEN, JSON, error.clone());
    let misdirected = ("421", "`Host` names another server.", JSON, error.clone());
    let everywhere = answers([late.clone(), foreign, misdirected]);
    let probes = answers([late]);
    if let Value::Object(paths) = &mut paths {
        for (path, operations) in paths {
            let more = if OPEN.contains(&&**path) { &probes } else { &everywhere };
            for operation in operations.as_object_mut().into_iter().flat_map(Map::values_mut) {
                let responses = operation.pointer_mut("/responses").and_then(Value::as_object_mut);
                let Some(responses) = responses else { continue };
                responses.extend(more.as_object().cloned().unwrap_or_default());
                if let Some(busy) = responses.get_mut("503") {
                    let seconds = json!({ "Retry-After": { "schema": { "type": "integer" } } });
                    insert(busy, "", "headers", seconds);
                }
            }
        }
    }
    paths
}

const FORBIDDEN: &str = "\
A browser asks for a page of another site; or, where the operation takes a token, none is configured.";

const BUCKETS: &str = "\
Without entries: the buckets with less than a tenth left that this process has seen. With entries, as in \
`?tenant=acme`: every bucket whose key they give, in every row that such calls can meet, unless it is full; and of \
buckets whose key has other entries too, those seen near their limit. A blocked bucket is listed for its key, and is \
never near its limit.";

const SHOULD_RATE_LIMIT: &str = "\
Charges the buckets. Without the token it is answered only where the server runs with --http-json on, and then gives \
no hits back and releases no leases (isNegativeHits). Messages are in protobuf's JSON: fields may be named as in the \
proto as well, and those at their default are left out of answers.";

const RESET: &str = "\
HeldSlots come back when their leases are released. With a shared store, other replicas go by what it answered them last, \
for ten seconds at most.";

/// What a request may have to wait for.
const BUSY: &str = "Too many requests are waiting, or the store does not answer.";

fn reads(schemas: &mut Schemas, error: &Value) -> Vec<(&'static str, Value)> {
    let config = schemas.written::<Config>().to_value();
    let buckets = schemas.written::<Buckets>().to_value();
    let leases = schemas.written::<Leases>().to_value();
    let explanation = schemas.written::<Explanation>().to_value();
    let samples = [schemas.written::<Begin>(), schemas.written::<Sample>()];
    let busy = || ("503", BUSY, JSON, error.clone());
    let mut list = get(
        "buckets",
        "The buckets near or over their limit, or those that some entries name",
        vec![
            (
                "200",
                "The emptiest first, or in the order of the policy; at most 1000.",
                JSON,
                buckets,
            ),
            ("400", "The entries or the domain are not valid.", JSON, error.clone()),
            ("404", "No policy has this domain.", JSON, error.clone()),
            busy(),
        ],
    );
    insert(&mut list, "/get", "description", BUCKETS.into());
    let parameters = json!([
        {
            "name": "domain",
            "in": "query",
            "schema": { "type": "string" },
            "description": "May be left out where there is only one.",
        },
        {
            "name": "all",
            "in": "query",
            "schema": { "type": "string", "enum": ["1"] },
            "description": "Full buckets as well.",
        },
        {
            "name": "entries",
            "in": "query",
            "style": "form",
            "explode": true,
            "schema": {
                "type": "object",
                "propertyNames": { "minLength": 1, "not": { "enum": ["domain", "all"] } },
                "additionalProperties": { "type": "string" },
            },
            "description": "The entries, each by its key. The query has at most 4096 bytes.",
        },
    ]);
    insert(&mut list, "/get", "parameters", parameters);
    let events = json!({
        "type": "string",
        "description": "An event `begin`, then `sample` each second; their data are x-events in JSON.",
        "x-events": samples,
    });
    vec![
        ("/healthz", get("healthz", "Whether the process answers", vec![
            ("200", "It does.", TEXT, text()),
        ])),
        ("/readyz", get("readyz", "Whether calls are taken", vec![
            ("200", "They are; what is degraded, and whether a policy was rejected.", TEXT, text()),
            ("503", "The server is starting or stopping; calls in flight finish.", TEXT, text()),
        ])),
        ("/metrics", get("metrics", "Metrics, in the text format of OpenMetrics", vec![
            ("200", "All of them.", "application/openmetrics-text", text()),
        ])),
        ("/config", get("config", "The policies in force, as they were compiled", vec![
            ("200", "The policies, and what is wrong with those that were rejected.", JSON, config),
            busy(),
        ])),
        ("/openapi.json", get("openapi", "This document", vec![
            ("200", "The document.", JSON, json!({ "type": "object" })),
        ])),
        ("/explain", Post {
            id: "explain",
            summary: "What a request would meet, and how every bucket stands; nothing is charged",
            description: "At most 32 descriptors are explained together.",
            body: Some(json!({
                "allOf": [
                    { "$ref": "#/components/schemas/RateLimitRequest" },
                    { "properties": { "descriptors": { "maxItems": MAX_EXPLAINED } } },
                ],
            })),
            answers: vec![
                ("200", "The explanation, table by table.", JSON, explanation),
                ("404", "No policy has this domain.", JSON, error.clone()),
                busy(),
            ],
            changes: false,
        }.operation(error)),
        ("/events", get("events", "What the page shows, each second, as server-sent events", vec![
            ("200", "A stream without an end.", "text/event-stream", events),
            ("503", "As many pages are open as may be, or the server stops.", JSON, error.clone()),
        ])),
        ("/buckets", list),
        ("/leases", get("leases", "The leases that this process gave out and that are held", vec![
            ("200", "The oldest first, at most 1000.", JSON, leases),
            busy(),
        ])),
    ]
}

fn changes(schemas: &mut Schemas, error: &Value) -> Vec<(&'static str, Value)> {
    let response = json!({ "$ref": "#/components/schemas/RateLimitResponse" });
    let (reset, resets) = (schemas.read::<ResetRequest>(), schemas.written::<Reset>());
    let (release, released) = (schemas.read::<ReleaseRequest>(), schemas.written::<Released>());
    let (reloaded, rejected) = (schemas.written::<Reload>(), schemas.written::<ReloadRejected>());
    vec![
        (
            "/json",
            Post {
                id: "shouldRateLimit",
                summary: "Decides a request as gRPC's ShouldRateLimit does",
                description: SHOULD_RATE_LIMIT,
                body: Some(json!({ "$ref": "#/components/schemas/RateLimitRequest" })),
                answers: vec![
                    ("200", "The request may pass.", JSON, response.clone()),
                    ("429", "The request is over a limit.", JSON, response),
                    ("503", BUSY, JSON, error.clone()),
                ],
                changes: true,
            }
            .operation(error),
        ),
        (
            "/reset",
            Post {
                id: "reset",
                summary: "Makes token buckets full",
                description: RESET,
                body: Some(reset.to_value()),
                answers: vec![
                    ("200", "The buckets are full.", JSON, resets.to_value()),
                    ("404", "There is no such bucket.", JSON, error.clone()),
                    ("503", BUSY, JSON, error.clone()),
                ],
                changes: true,
            }
            .operation(error),
        ),
        (
            "/leases/release",
            Post {
                id: "release",
                summary: "Releases a lease, so that its slots are free",
                description: "As its holder would.",
                body: Some(release.to_value()),
                answers: vec![
                    ("200", "The lease held slots.", JSON, released.to_value()),
                    ("404", "The lease is not known to hold any.", JSON, error.clone()),
                ],
                changes: true,
            }
            .operation(error),
        ),
        (
            "/reload",
            Post {
                id: "reload",
                summary: "Reads the policy files again",
                description: "The policies come into force together, or those before stay.",
                body: None,
                answers: vec![
                    ("200", "The policies are valid, and in force.", JSON, reloaded.to_value()),
                    ("404", "The policies came from no file.", JSON, error.clone()),
                    (
                        "422",
                        "They are wrong; those before stay in force.",
                        JSON,
                        rejected.to_value(),
                    ),
                ],
                changes: true,
            }
            .operation(error),
        ),
    ]
}

/// The page and its files.
fn page(error: &Value) -> Vec<(&'static str, Value)> {
    let mut module = file("pageModule", "A module of the page's script", JAVASCRIPT);
    let names = MODULES.map(|(name, _)| name);
    let schema = json!({ "type": "string", "enum": names });
    let name = json!({ "name": "module", "in": "path", "required": true, "schema": schema });
    insert(&mut module, "/get", "parameters", json!([name]));
    let missing = answers([("404", "There is no such module.", JSON, error.clone())]);
    let missing = missing.pointer("/404").cloned().unwrap_or_default();
    insert(&mut module, "/get/responses", "404", missing);
    vec![
        ("/", file("page", "A page for people", "text/html")),
        ("/page.js", file("pageScript", "Its script", JAVASCRIPT)),
        ("/page/{module}", module),
        ("/page.css", file("pageStyle", "Its style", "text/css")),
        ("/page.svg", file("pageIcon", "Its icon", "image/svg+xml")),
    ]
}

const JAVASCRIPT: &str = "text/javascript";
