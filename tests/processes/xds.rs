//! `serve --xds`: policies from a control plane on go-control-plane.

mod control_plane;
mod outages;
mod refusals;
mod sets;
mod tls;
