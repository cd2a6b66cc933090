//! The limit of a descriptor.

use crate::config::document::Document;
use crate::config::path::shown;
use crate::config::ratelimit::schema::{Descriptor, RateLimit};
use crate::limit::{Unit, Window};
use crate::policy::descriptor_tree::NewLimit;

const UNITS: [Unit; 7] =
    [Unit::Second, Unit::Minute, Unit::Hour, Unit::Day, Unit::Week, Unit::Month, Unit::Year];

/// The limit of a descriptor, if it has one that is valid.
pub(super) fn limit(written: &Descriptor, document: &Document<'_>) -> Option<NewLimit> {
    let limit = written.rate_limit.as_ref()?;
    check_replaces(written, limit, document);
    let window = match (limit.unlimited, unit(&limit.unit)) {
        (false, Some(unit)) => Some(Window::new(limit.requests_per_unit, unit)),
        (true, None) => None,
        (true, Some(_)) => {
            let what = "what is `unlimited` has no unit; remove one of the two";
            document.report(&written.place.field_of_limit("unit"), what);
            return None;
        }
        (false, None) => {
            report_unit(written, &limit.unit, document);
            return None;
        }
    };
    Some(NewLimit {
        window,
        name: limit.name.clone(),
        replaces: limit.replaces.clone(),
        shadow: written.shadow_mode,
        quota: written.quota_mode,
        detailed_metric: written.detailed_metric,
        metadata: written.metadata.clone(),
    })
}

fn unit(name: &str) -> Option<Unit> {
    let name = name.to_uppercase();
    UNITS.into_iter().find(|unit| unit.name().to_uppercase() == name)
}

fn report_unit(written: &Descriptor, unit: &str, document: &Document<'_>) {
    let hint = document.suggest(&unit.to_lowercase(), &UNITS.map(Unit::name));
    let what = match unit {
        "" if written.place.is_faulty() => return,
        "" => format!("`unit` is missing{hint}"),
        unit => format!("unknown unit `{}`{hint}", shown(unit)),
    };
    document.report(&written.place.field_of_limit("unit"), what);
}

fn check_replaces(written: &Descriptor, limit: &RateLimit, document: &Document<'_>) {
    for (index, replaced) in limit.replaces.iter().enumerate() {
        let what = match &**replaced {
            "" if written.place.is_faulty() => continue,
            "" => "`name` is missing; write the name of the limit that is replaced",
            name if name == limit.name => {
                "a limit cannot replace itself; name another, or remove it"
            }
            _ => continue,
        };
        let list = written.place.field_of_limit("replaces");
        document.report(&list.index(index, list.position), what);
    }
}
