//! Why a connection fails, and what to do about it.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

/// Why a server gave no answer.
#[derive(Debug)]
pub(in crate::cli) struct NoAnswer {
    what: String,
    /// Whether it says what to do.
    is_advised: bool,
}

impl NoAnswer {
    /// A cause, such as an error of the system.
    pub(in crate::cli) fn plain(what: impl Into<String>) -> Self {
        Self { what: what.into(), is_advised: false }
    }

    /// A cause, and what to do.
    pub(super) fn advised(what: impl Into<String>) -> Self {
        Self { what: what.into(), is_advised: true }
    }

    /// The same with other words before it.
    pub(in crate::cli) fn after(self, before: &str) -> Self {
        Self { what: format!("{before}: {}", self.what), ..self }
    }

    /// The cause, with this advice if it has none.
    pub(in crate::cli) fn or_advise(self, advice: &str) -> String {
        if self.is_advised { self.what } else { format!("{}; {advice}", self.what) }
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for NoAnswer {}

/// The first fault of a connection.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Faults(Arc<OnceLock<Fault>>);

impl Faults {
    pub(super) fn set(&self, fault: Fault) {
        // The first is the cause of those that follow.
        let _ = self.0.set(fault);
    }

    /// The fault, if there was one.
    pub(in crate::cli) fn fault(&self) -> Option<NoAnswer> {
        self.0.get().map(Fault::explain)
    }

    /// What went wrong: the fault, if the connection had one, or else what the caller saw of it.
    pub(in crate::cli) fn or(&self, seen: impl fmt::Display) -> NoAnswer {
        self.fault().unwrap_or_else(|| NoAnswer::plain(seen.to_string()))
    }
}

#[derive(Debug)]
pub(super) enum Fault {
    /// A plain connection was answered by TLS.
    ExpectsTls,
    /// A handshake was not answered by TLS.
    ExpectsPlainText,
    /// TLS has an error.
    Tls(rustls::Error),
    /// Any other end of a handshake.
    Handshake(String),
}

impl Fault {
    /// The fault behind an error of TLS; `None` for any other error.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        let tls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        Some(match tls {
            rustls::Error::InvalidMessage(_) => Self::ExpectsPlainText,
            tls => Self::Tls(tls.clone()),
        })
    }

    /// The fault behind the error that ends a handshake.
    pub(super) fn of_handshake(error: &io::Error) -> Self {
        Self::of(error).unwrap_or_else(|| match error.kind() {
            // A server of plain text closes the connection at the first bytes of TLS.
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => Self::ExpectsPlainText,
            _ => Self::Handshake(error.to_string()),
        })
    }

    pub(super) fn explain(&self) -> NoAnswer {
        NoAnswer::advised(match self {
            Self::ExpectsTls => {
                "the server expects TLS here; write https://HOST:PORT, and set --tls-ca".to_owned()
            }
            Self::ExpectsPlainText => {
                "the server does not speak TLS here; write http:// instead of https://".to_owned()
            }
            Self::Tls(error) => explain(error),
            Self::Handshake(error) => {
                format!("the TLS handshake failed: {error}; look into the server's log")
            }
        })
    }
}

fn explain(error: &rustls::Error) -> String {
    use AlertDescription as Alert;
    match error {
        rustls::Error::InvalidCertificate(error) => explain_certificate(error),
        rustls::Error::AlertReceived(Alert::CertificateRequired) => {
            "the server requires a client certificate; set --tls-cert and --tls-key".to_owned()
        }
        rustls::Error::AlertReceived(Alert::AccessDenied) => {
            "the server allows none of the names in the client certificate; set --tls-cert to one with an \
             allowed name"
                .to_owned()
        }
        rustls::Error::AlertReceived(Alert::NoApplicationProtocol)
        | rustls::Error::NoApplicationProtocol => {
            "the server speaks another protocol here; its gRPC and HTTP sides have addresses of their own"
                .to_owned()
        }
        rustls::Error::AlertReceived(
            alert @ (Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::DecryptError),
        ) => format!(
            "the server rejects the client certificate ({alert:?}); set --tls-cert and --tls-key to one from \
             its client CA"
        ),
        other => format!("TLS failed: {other}; look into the server's log"),
    }
}

fn explain_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "the server's certificate is not from a CA in --tls-ca; set --tls-ca to the CA that issued it"
                .to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the server's certificate has another name ({error}); set --tls-name to a name that it has")
        }
        other => format!("the server's certificate is not accepted ({other}); renew it"),
    }
}
