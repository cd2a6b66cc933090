//! What people see of calls: counted in `telemetry`, listed in `recent_buckets` and `active_leases`, logged in
//! `denied_log`, traced in `traces`. A bucket has one name in all of them, its `bucket_label`.

pub mod active_leases;
pub mod bucket_label;
pub(crate) mod denied_log;
pub mod recent_buckets;
pub mod telemetry;
pub mod traces;
