//! One trace through Envoy and tollgate, at a collector that both send their spans to.

use super::collector::{Sent, collector};
use super::lab::{Lab, Sample, assert_admitted};
use super::process::PATIENCE;

#[test]
#[ignore = "needs Envoy; bash tests/run.sh"]
fn a_call_is_one_trace_from_the_edge_to_tollgate() {
    let (address, spans) = collector(None);
    let sample = Sample::front().patient().traced(address);
    let mut lab = Lab::start(sample);
    let caller = [("x-tenant", "acme"), ("x-tenant-type", "startup")];
    assert_admitted(&lab.client().call("GET /api/v2/users", &caller));
    // What it has not sent by then it sends now.
    lab.tollgate.process.signal("TERM");
    let mut sent: Vec<Sent> = Vec::new();
    let parent = |sent: &[Sent]| {
        let ours = sent.iter().find(|sent| sent.service == "tollgate")?;
        let caller = sent.iter().find(|other| other.id() == ours.parent())?;
        Some((ours.trace() == caller.trace(), caller.service.clone()))
    };
    let parent = loop {
        if let Some(parent) = parent(&sent) {
            break parent;
        }
        let next = spans.recv_timeout(PATIENCE);
        sent.push(next.unwrap_or_else(|error| panic!("{error}: {sent:#?}")));
    };
    assert_eq!(parent, (true, "envoy".to_owned()), "{sent:#?}");
    let ours: Vec<_> = sent.iter().filter(|sent| sent.service == "tollgate").collect();
    let [ours] = ours[..] else { panic!("one call: {sent:#?}") };
    assert_eq!(ours.attributes()["tollgate.table"], "tenant", "{ours:?}");
}
