//! Files of other programs that are taken for policies: recognised, and answered with the next step.

use crate::config::value::Value;

const LIMITADOR: &str = "these are limits of Limitador: a list with `namespace` and `max_value`, where a policy has \
    `tables`. Write the namespace as `domain`, and a table for each limit: its `variables` as `key`, its `conditions` \
    under `when`, and `max_value: 10, seconds: 60` as `{ per_minute: 10 }`; see docs/policy.md";

const ENVOY: &str = "this is a configuration of Envoy. Give it to Envoy, and tollgate a policy, which has `domain` and \
    `tables`: config/management-api.yaml is one, envoy/README.md shows both together";

const KUBERNETES: &str = "this is a resource of Kubernetes, with `apiVersion` and `kind`. A policy has `domain` and \
    `tables`: write it into a ConfigMap, and give `--config` the path at which that is mounted; see deploy/";

/// What a file is, and what to do, if it is another program's.
pub(super) fn file(value: &Value<'_>) -> Option<&'static str> {
    let has = |value: &Value<'_>, name: &str| {
        let mut entries = value.as_mapping().unwrap_or_default().iter();
        entries.any(|(key, _)| key.as_str() == Some(name))
    };
    let first = value.as_sequence().and_then(<[_]>::first);
    if first.is_some_and(|limit| has(limit, "namespace") && has(limit, "max_value")) {
        Some(LIMITADOR)
    } else if has(value, "tables") {
        None
    } else if has(value, "static_resources") || has(value, "dynamic_resources") {
        Some(ENVOY)
    } else if has(value, "apiVersion") && has(value, "kind") {
        Some(KUBERNETES)
    } else {
        None
    }
}
