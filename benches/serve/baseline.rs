//! The least a gRPC server costs: tonic's service for the same protos, which does nothing. `benches/serve.sh` measures
//! tollgate against it.
//!
//! ```text
//! baseline ADDRESS [CERTIFICATE KEY]
//! ```
//!
//! It runs on one single-threaded runtime; with a certificate and its key, in PEM, over TLS.

mod empty;

use std::net::SocketAddr;

use tonic::transport::{Identity, Server, ServerTlsConfig};

/// The same allocator as tollgate's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, tls) = match &arguments[..] {
        [address] => (address, None),
        [address, certificate, key] => (address, Some((certificate, key))),
        _ => return Err("baseline ADDRESS [CERTIFICATE KEY]".into()),
    };
    let address: SocketAddr = address.parse()?;
    let mut server = Server::builder();
    if let Some((certificate, key)) = tls {
        let identity = Identity::from_pem(std::fs::read(certificate)?, std::fs::read(key)?);
        server = server.tls_config(ServerTlsConfig::new().identity(identity))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(empty::serving(server).serve(address))?;
    Ok(())
}
