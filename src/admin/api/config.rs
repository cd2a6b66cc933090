//! `/config`: the policies in force, in their compiled form.

use axum::extract::State;
use axum::response::Response;

use super::types::{self, Charging, Config, ConnectionError, ControlPlane, Prefix, Rejected, Time};
use crate::admin::{Shared, respond};
use crate::limit::Bucket;
use crate::live::{LoadedPolicies, RejectedPolicies};
use crate::policy::Policy;
use crate::policy::identity::KeySet;
use crate::policy::overrides::Override;
use crate::policy::rule::Rule;
use crate::policy::table::{Row, Rows, Table};
use crate::service::Service;

pub(super) async fn config(State(Shared { service, queues, .. }): State<Shared>) -> Response {
    queues
        .reads
        .run(async move {
            let snapshot = service.policies().load_full();
            let rejected_policies = service.policies().rejected();
            respond(Ok(of(&service, &snapshot, rejected_policies.as_deref())))
        })
        .await
}

fn of(
    service: &Service,
    snapshot: &LoadedPolicies,
    rejected_policies: Option<&RejectedPolicies>,
) -> Config {
    Config {
        rejected: rejected_policies.map(|policies| rejected(service, policies, usize::MAX)),
        version: snapshot.version().id().to_owned(),
        loaded_at: Time(service.to_wall(snapshot.loaded_at())),
        control_plane: control_plane(service, snapshot),
        sources: snapshot.version().sources().map(str::to_owned).collect(),
        warnings: snapshot.warnings().to_vec(),
        policies: snapshot.policies().into_iter().map(|of| policy(service, of)).collect(),
    }
}

/// The control plane that the policies come from, if any.
pub(in crate::admin) fn control_plane(
    service: &Service,
    snapshot: &LoadedPolicies,
) -> Option<ControlPlane> {
    let control_plane = service.policies().control_plane()?;
    let state = control_plane.state();
    let time = |at| Time(service.to_wall(at));
    let error = state.error.map(|of| ConnectionError { at: time(of.at), error: of.error });
    Some(ControlPlane {
        server: control_plane.server().to_owned(),
        connected: state.is_connected,
        since_at: time(state.since),
        error,
        awaited: snapshot.is_awaited(),
    })
}

/// The policies that were rejected, with at most `max` lines of problems.
pub(in crate::admin) fn rejected(
    service: &Service,
    policies: &RejectedPolicies,
    max: usize,
) -> Rejected {
    let problems = policies.problems.lines().take(max).map(str::to_owned);
    Rejected { at: Time(service.to_wall(policies.at)), problems: problems.collect() }
}

fn policy(service: &Service, policy: &Policy) -> types::Policy {
    let bypass = policy.bypass().iter().map(|conditions| conditions.describe(policy.keys()));
    let endpoints = policy.endpoints().iter();
    types::Policy {
        domain: policy.domain().to_owned(),
        headers: policy.headers().into(),
        on_store_error: policy.on_store_error().into(),
        store_prepaid_ms: service.prepaid_time(policy).map(Into::into),
        partition: policy.partition().to_owned(),
        endpoints: endpoints.map(|(endpoint, group)| (endpoint.into(), group.into())).collect(),
        tables: policy.tables().iter().map(|of| table(policy, of)).collect(),
        bypass: bypass.collect(),
        limits: if policy.is_tree() { limits(policy) } else { Vec::new() },
    }
}

/// The limits of a descriptor tree.
fn limits(policy: &Policy) -> Vec<types::TreeLimit> {
    let rows = policy.rows().filter(|row| !policy.is_limit_override(row.table()));
    let limit = |row: &Row| types::TreeLimit {
        path: row.name().to_owned(),
        limit: row.rules().first().map(|rule| rule.bucket().to_string()),
        name: row.told_name().to_owned(),
        replaces: policy.replaced_by(row).into_iter().map(str::to_owned).collect(),
        shadow: row.is_shadow(),
        quota: row.is_quota(),
        charge: Charging::of_row(row, row.rules().first()).charge,
    };
    rows.map(limit).collect()
}

fn table(policy: &Policy, table: &Table) -> types::Table {
    let key_set = policy.key_set(table.key());
    let prefixes = key_set.filter(|set| set.has_address()).map(KeySet::prefixes);
    let key = key_set.map(|set| set.names(policy.keys())).unwrap_or_default();
    let mut rows: Vec<_> = table.rows().iter().collect();
    rows.sort_unstable_by_key(|row| row.id());
    types::Table {
        name: table.name().to_owned(),
        when: table.when().describe(policy.keys()),
        select: match table.rows() {
            Rows::All(_) => None,
            Rows::Selected { by, .. } => Some(policy.keys().name(*by).to_owned()),
        },
        key: key.into_iter().map(str::to_owned).collect(),
        prefix: prefixes.map(|bits| Prefix { ipv4: bits.ipv4(), ipv6: bits.ipv6() }),
        rows: rows.into_iter().map(|of| row(policy, of)).collect(),
    }
}

fn row(policy: &Policy, row: &Row) -> types::Row {
    let overrides = row.overrides().iter().map(|of| policy_override(policy, of));
    types::Row {
        name: row.name().to_owned(),
        buckets: buckets(row.rules()),
        shadow: row.is_shadow(),
        charging: Charging::of_row(row, row.rules().first()),
        message: row.message_of(row.rules()),
        overrides: overrides.collect(),
    }
}

fn policy_override(policy: &Policy, of: &Override) -> types::Override {
    types::Override {
        when: of.when().describe(policy.keys()),
        until: of.until().map(Time),
        buckets: buckets(of.rules()),
    }
}

fn buckets(rules: &[Rule]) -> Vec<String> {
    let describe = |rule: &Rule| match rule.bucket() {
        Bucket::Tokens(bucket) => bucket.to_string(),
        Bucket::Concurrency(bucket) => format!("{bucket}, held for {} at most", bucket.ttl()),
        Bucket::Window(window) => window.to_string(),
        Bucket::Blocked(blocked) => blocked.to_string(),
    };
    rules.iter().map(describe).collect()
}
