//! The paths of the document, with their operations.

use serde_json::{Map, Value, json};

use super::operation::{JSON, Post, TEXT, answers, file, get, insert, text};
use super::schemas::Schemas;
use crate::admin::api::buckets::MAX_ITEMS;
use crate::admin::api::explain::MAX_EXPLAINED;
use crate::admin::api::top::USUAL_ITEMS;
use crate::admin::api::types::{
    BucketExplanation, BucketRequest, Buckets, Config, ErrorBody, Explanation, Leases,
    ReleaseRequest, Released, Reload, ReloadRejected, Reset, ResetRequest, Shares, Top,
};
use crate::admin::dashboard::{Begin, MODULES, Sample};
use crate::admin::host::OPEN;

/// All paths with their operations.
pub(super) fn paths(schemas: &mut Schemas) -> Value {
    let error = &schemas.written::<ErrorBody>().to_value();
    let mut paths = Value::Object(Map::new());
    for (path, operation) in [reads(schemas, error), changes(schemas, error), page(error)].concat()
    {
        insert(&mut paths, "", path, operation);
    }
    let timeout = ("408", "The request or its answer took too long.", JSON, error.clone());
    let forbidden = ("403", FORBIDDEN, JSON, error.clone());
    let misdirected = ("421", "`Host` names another server.", JSON, error.clone());
    let everywhere = answers([timeout.clone(), forbidden, misdirected]);
    let probes = answers([timeout]);
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
A browser sent the request for a page of another site; or the operation requires a token, and none is configured.";

const BUCKETS: &str = "\
Without entries: the buckets with less than a tenth left that this process has seen. With entries, as in \
`?tenant=acme`: every bucket with this key that is not full, in every row that calls with these entries can match; and \
of the buckets whose key has more entries, those recently near their limit. A blocked bucket is listed for its key, and \
is never near its limit.";

const EXPLAIN_BUCKET: &str = "\
The call is made from the name of the bucket: a condition that its entries cannot show is listed as assumed, and holds in \
the answer. The bucket is explained by itself if its key is incomplete, or if it is that of a limit override from Envoy.";

const TOP: &str = "\
Counted by this process, in sketches of a fixed size (Space-Saving). A `count` is never too low, and too high by \
`at_most_over` at most; a bucket that is not listed denied no more often than `others_at_most`. Each descriptor that a \
bucket denies counts.";

const SHOULD_RATE_LIMIT: &str = "\
Charges the buckets. Without the token, the server must run with --http-json on, and a request must not give hits back \
or release leases (isNegativeHits). Messages are in protobuf's JSON: requests may use the field names of the proto as \
well, and answers omit fields with their default value.";

const RESET: &str = "\
Without `table`, the buckets of every table whose whole key is in `key`. Of a table whose key has further entries, those \
that this server has recently seen near their limit; `incomplete` names these tables. An entry that the policy does not \
use is an error. Slots are not refilled; they are free again when their leases are released. With a shared store, other replicas may \
deny by cached denials for as long as they have admissions prepaid (100 ms by default), or for up to ten seconds more where \
they have none.";

const BUSY: &str = "Too many requests are waiting, or the store does not answer.";

fn reads(schemas: &mut Schemas, error: &Value) -> Vec<(&'static str, Value)> {
    let config = schemas.written::<Config>().to_value();
    let buckets = schemas.written::<Buckets>().to_value();
    let leases = schemas.written::<Leases>().to_value();
    let shares = schemas.written::<Shares>().to_value();
    let explanation = schemas.written::<Explanation>().to_value();
    let bucket = schemas.read::<BucketRequest>().to_value();
    let bucket_explanation = schemas.written::<BucketExplanation>().to_value();
    let samples = [schemas.written::<Begin>(), schemas.written::<Sample>()];
    let busy = || ("503", BUSY, JSON, error.clone());
    let mut list = get(
        "buckets",
        "The buckets near or over their limit, or the buckets that given entries name",
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
            "description": "The domain; optional if there is only one.",
        },
        {
            "name": "all",
            "in": "query",
            "schema": { "type": "string", "enum": ["1"] },
            "description": "Lists full buckets as well.",
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
            "description": "The entries, each by its key. The query string has at most 4096 bytes.",
        },
    ]);
    insert(&mut list, "/get", "parameters", parameters);
    let mut top = get(
        "top",
        "The buckets that denied most in the last minutes",
        vec![
            (
                "200",
                "The buckets, those of rows in shadow apart.",
                JSON,
                schemas.written::<Top>().to_value(),
            ),
            ("400", "`limit` is not valid.", JSON, error.clone()),
            ("404", "No policy has this domain.", JSON, error.clone()),
            busy(),
        ],
    );
    insert(&mut top, "/get", "description", TOP.into());
    let parameters = json!([
        {
            "name": "domain",
            "in": "query",
            "schema": { "type": "string" },
            "description": "Only buckets of this domain.",
        },
        {
            "name": "limit",
            "in": "query",
            "schema": { "type": "integer", "minimum": 1, "maximum": MAX_ITEMS, "default": USUAL_ITEMS },
            "description": "The most items of each list.",
        },
    ]);
    insert(&mut top, "/get", "parameters", parameters);
    let events = json!({
        "type": "string",
        "description": "An event `begin`, then a `sample` each second. Their data are the x-events, in JSON.",
        "x-events": samples,
    });
    vec![
        ("/healthz", get("healthz", "Whether the process answers", vec![
            ("200", "The process answers.", TEXT, text()),
        ])),
        ("/readyz", get("readyz", "Whether calls are accepted", vec![
            ("200", "They are. The text has what is degraded and what was rejected.", TEXT, text()),
            ("503", "The server is starting or stopping; calls in flight finish.", TEXT, text()),
        ])),
        ("/metrics", metrics()),
        ("/config", get("config", "The policies in force, in their compiled form", vec![
            ("200", "The policies, and the problems of rejected ones.", JSON, config),
            busy(),
        ])),
        ("/openapi.json", get("openapi", "This document", vec![
            ("200", "The document.", JSON, json!({ "type": "object" })),
        ])),
        ("/explain", Post {
            id: "explain",
            summary: "What a request matches, with the state of every bucket; nothing is charged",
            description: "A request has at most 32 descriptors.",
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
        ("/explain/bucket", Post {
            id: "explainBucket",
            summary: "What a call that a bucket limits matches, with the state of every bucket; nothing is charged",
            description: EXPLAIN_BUCKET,
            body: Some(bucket),
            answers: vec![
                ("200", "The explanation of such a call.", JSON, bucket_explanation),
                ("404", "There is no such bucket.", JSON, error.clone()),
                busy(),
            ],
            changes: false,
        }.operation(error)),
        ("/events", get("events", "Samples for the page, one each second, as server-sent events", vec![
            ("200", "A stream that ends with the server.", "text/event-stream", events),
            ("503", "Too many pages are open, or the server is stopping.", JSON, error.clone()),
        ])),
        ("/buckets", list),
        ("/leases", get("leases", "The leases that this process granted and that are held", vec![
            ("200", "The oldest leases first, at most 1000.", JSON, leases),
            busy(),
        ])),
        ("/shares", get("shares", "What Envoys that limit by themselves (RLQS) may use", vec![
            ("200", "The largest shares first, at most 1000.", JSON, shares),
            busy(),
        ])),
        ("/top", top),
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
                summary: "Refills token buckets",
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
                description: "Any authorized caller may release a lease, not only its holder.",
                body: Some(release.to_value()),
                answers: vec![
                    ("200", "The lease held slots.", JSON, released.to_value()),
                    ("404", "The lease is not known to hold slots.", JSON, error.clone()),
                ],
                changes: true,
            }
            .operation(error),
        ),
        (
            "/reload",
            Post {
                id: "reload",
                summary: "Reloads the policy files",
                description: "The policies come into force together; if one is not valid, the previous ones stay.",
                body: None,
                answers: vec![
                    ("200", "The policies are valid, and in force.", JSON, reloaded.to_value()),
                    ("404", "The policies were not read from files.", JSON, error.clone()),
                    (
                        "422",
                        "The policies are not valid; the previous ones stay in force.",
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

/// The metrics, in two formats.
fn metrics() -> Value {
    let summary = "Metrics for Prometheus";
    let description = "All metrics: in OpenMetrics if `Accept` names it and does not prefer text/plain, \
                       otherwise in the text format 0.0.4.";
    let mut metrics = get("metrics", summary, vec![("200", description, TEXT, text())]);
    let open = json!({ "schema": text() });
    insert(&mut metrics, "/get/responses/200/content", "application/openmetrics-text", open);
    metrics
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
        ("/", file("page", "The dashboard's page", "text/html")),
        ("/page.js", file("pageScript", "The page's script", JAVASCRIPT)),
        ("/page/{module}", module),
        ("/page.css", file("pageStyle", "The page's style", "text/css")),
        ("/page.svg", file("pageIcon", "The page's icon", "image/svg+xml")),
    ]
}

const JAVASCRIPT: &str = "text/javascript";
