//! Configurations and requests that meet them, from a seed.

use std::collections::HashSet;
use std::fmt::Write as _;

use tollgate::wire::RateLimitRequest;
use tollgate::wire::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tollgate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;

use super::sides::Version;
use super::support::{descriptor, limit, request};
use super::windows;
use crate::random::Random;

/// What a generated configuration may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Features {
    pub(super) version: Version,
    /// Limits of a second, which a script must not take long with.
    pub(super) has_seconds: bool,
    /// Limits that come with a descriptor.
    pub(super) has_brought: bool,
}

/// A tree of descriptors with what a request needs to meet its nodes.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) domain: String,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    key: &'static str,
    value: &'static str,
    fields: String,
    children: Vec<Node>,
}

const KEYS: [&str; 4] = ["a", "b", "c", "path"];
const VALUES: [&str; 7] = ["x", "xy", "xyz", "/x/y", "X", "é", "10.0.0.1"];
const AT_THE_END: [&str; 5] = ["*", "x*", "xy*", "/x/*", "é*"];
const ANYWHERE: [&str; 6] = ["*y", "x*z", "/*/y", "x**", "*x*y*", "*.0.*"];
const NAMES: [&str; 3] = ["one", "two", "three"];
const UNITS: [&str; 6] = ["minute", "hour", "day", "week", "month", "year"];
const ALL_UNITS: [Unit; 7] =
    [Unit::Second, Unit::Minute, Unit::Hour, Unit::Day, Unit::Week, Unit::Month, Unit::Year];

impl Tree {
    pub(super) fn new(domain: String, random: &mut Random, features: Features) -> Self {
        let nodes = level(random, features, 0);
        Self { domain, nodes }
    }

    /// As a file in block style.
    pub(super) fn yaml(&self) -> String {
        let mut yaml = format!("domain: {:?}\ndescriptors:\n", self.domain);
        write_level(&mut yaml, &self.nodes, 1);
        yaml
    }

    /// A request that meets some of it.
    pub(super) fn request(&self, random: &mut Random, features: Features) -> RateLimitRequest {
        let mut descriptors: Vec<_> =
            (0..1 + random.below(4)).map(|_| self.descriptor(random, features)).collect();
        if random.percent(15) {
            let again = random.pick(&descriptors);
            descriptors.push(again);
        }
        if random.percent(1) {
            descriptors.clear();
        }
        let domain = match random.below(100) {
            0 => "",
            1 => "nobody's",
            _ => &self.domain,
        };
        let mut request = request(domain, &descriptors);
        if random.percent(20) {
            request.hits_addend = random.pick(&[1, 2, 3, u32::MAX]);
        }
        request
    }

    fn descriptor(&self, random: &mut Random, features: Features) -> RateLimitDescriptor {
        let mut entries: Vec<(&str, String)> = Vec::new();
        let mut nodes = &self.nodes;
        while !nodes.is_empty() {
            let node = &nodes[random.place(nodes.len())];
            entries.push((node.key, value_for(node, random)));
            nodes = &node.children;
            if random.percent(25) {
                break;
            }
        }
        match random.below(20) {
            0 => entries.push((random.pick(&KEYS), "more".into())),
            1 => drop(entries.pop()),
            2 => entries.reverse(),
            3 => entries.insert(0, ("", String::new())),
            _ => {}
        }
        let entries: Vec<_> = entries.iter().map(|(key, value)| (*key, &**value)).collect();
        let mut asked = descriptor(&entries);
        if features.has_brought && random.percent(10) {
            let mut units = windows::apart(&ALL_UNITS);
            units.retain(|unit| *unit != Unit::Second);
            let unit = random.pick(&units);
            let number = u32::try_from(random.below(6)).unwrap();
            asked = limit(number, unit as i32, None, &entries);
        }
        if random.percent(30) {
            // So large that a few thousand of them do not leave 63 bits.
            asked.hits_addend = Some(random.pick(&[0, 0, 0, 1, 2, 3, 5, 1 << 33, 1 << 50]));
        }
        asked
    }
}

fn level(random: &mut Random, features: Features, depth: usize) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut taken = HashSet::new();
    for _ in 0..1 + random.below(if depth == 0 { 7 } else { 4 }) {
        let key = random.pick(&KEYS);
        let value = match random.below(10) {
            0..3 => "",
            3..7 => random.pick(&VALUES),
            7 if features.version == Version::Later => random.pick(&ANYWHERE),
            _ => random.pick(&AT_THE_END),
        };
        if !taken.insert((key, value)) {
            continue;
        }
        let has_children = depth < 2 && random.percent(40);
        let children = if has_children { level(random, features, depth + 1) } else { Vec::new() };
        nodes.push(Node { key, value, fields: fields(value, random, features), children });
    }
    nodes
}

/// What a node has beside its key, value and children: a line each.
fn fields(value: &str, random: &mut Random, features: Features) -> String {
    let mut fields = String::new();
    let mut say = |line: &str| fields.extend([line, "\n"]);
    if value.contains('*') && random.percent(40) {
        say("share_threshold: true");
    }
    if random.percent(15) {
        say("shadow_mode: true");
    }
    if features.version == Version::Later && random.percent(15) {
        say("quota_mode: true");
    }
    match random.below(10) {
        0 => say("detailed_metric: true"),
        1 => say("value_to_metric: true"),
        // Not with either of these: then the reference loses it.
        2..4 if features.version == Version::Later => {
            let name = random.pick(&NAMES);
            say(&format!(
                "metadata: {{ {name}: {}, flag: {} }}",
                random.below(9),
                random.percent(50)
            ));
        }
        _ => {}
    }
    match random.below(10) {
        0..2 => {}
        2 => say("rate_limit: { unlimited: true }"),
        _ => {
            let unit = if features.has_seconds && random.percent(40) {
                "second"
            } else {
                random.pick(&UNITS)
            };
            let mut limit = format!("unit: {unit}, requests_per_unit: {}", random.below(6));
            let name = random.percent(40).then(|| random.pick(&NAMES));
            if let Some(name) = name {
                _ = write!(limit, ", name: {name}");
            }
            let other = random.pick(&NAMES);
            if random.percent(15) && name != Some(other) {
                _ = write!(limit, ", replaces: [{{ name: {other} }}]");
            }
            say(&format!("rate_limit: {{ {limit} }}"));
        }
    }
    fields
}

fn write_level(yaml: &mut String, nodes: &[Node], depth: usize) {
    let indent = "  ".repeat(depth);
    for node in nodes {
        _ = writeln!(yaml, "{indent}- key: {}", node.key);
        if !node.value.is_empty() {
            _ = writeln!(yaml, "{indent}  value: '{}'", node.value);
        }
        for line in node.fields.lines() {
            _ = writeln!(yaml, "{indent}  {line}");
        }
        if !node.children.is_empty() {
            _ = writeln!(yaml, "{indent}  descriptors:");
            write_level(yaml, &node.children, depth + 2);
        }
    }
}

/// A value that meets the node, nearly always.
fn value_for(node: &Node, random: &mut Random) -> String {
    if random.percent(10) {
        return random.pick(&["", "other", "*", "x", "xyz"]).to_owned();
    }
    match node.value {
        "" => random.pick(&["1", "2", "x", "yy", ""]).to_owned(),
        // The parts may meet, and must not overlap.
        pattern => pattern.replace('*', random.pick(&["", "1", "2", "y", "/"])),
    }
}
