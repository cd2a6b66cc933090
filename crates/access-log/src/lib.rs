//! Reads access logs of proxies, line by line.
//!
//! A [`Reader`] is given the lines of a log and hands over a [`Record`] for each request: when it began, how long it
//! took, and the values of the fields that are wanted. [`detect()`] tells the [`Format`] by the first lines.
//!
//! - **Times.** Logs have the start of a request or its end, with a fraction of a second or without, in many forms and
//!   units. [`Record::start`] is the start in nanoseconds wherever the line allows to tell it.
//! - **Names.** Each format has the fields under its own names, and what it knows of them under those of [`GENERAL`].
//!   A request line such as `GET /x HTTP/1.1` has a `method`, a `path` and a `protocol`.
//! - **Wrapped lines.** What container runtimes, `kubectl` and syslog write in front of a line, or around it, is taken off.
//! - **Bytes.** Values are what the client sent, without the escapes of the log. They need not be UTF-8.
//! - **Bounded.** A line takes time in proportion to its length, whatever a client wrote into it. Once a few lines were
//!   read, one costs no allocation, unless it is of OpenTelemetry, or has an error, or an escape in its time.
//!
//! # Example
//!
//! ```
//! use access_log::{Format, Reader, TimeFields, detect};
//!
//! let line = br#"192.0.2.7 - ada [17/May/2015:10:05:03 +0000] "GET /carts?page=2 HTTP/1.1" 200 512"#;
//! assert_eq!(detect(&[line]), Ok(Format::Combined));
//!
//! let wanted = ["method", "path", "user"].map(str::to_owned);
//! let mut reader = Reader::new(Format::Combined, &wanted, &TimeFields::default())?;
//! reader.read(line, &mut |record| {
//!     assert_eq!(record.start, 1_431_857_103_000_000_000);
//!     assert!(record.is_whole_second);
//!     assert_eq!(record.values, [Some(&b"GET"[..]), Some(b"/carts?page=2"), Some(b"ada")]);
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod columns;
mod detect;
mod duration;
mod error;
mod find;
mod format;
mod json;
mod named;
mod names;
mod number;
mod otlp;
mod reader;
mod record;
mod request;
mod time;
mod tollgate;
mod unescape;
mod wrapped;

pub use detect::{Undetected, detect};
pub use duration::Unit;
pub use error::{FieldError, LineError};
pub use format::{Format, UnknownFormat};
pub use names::GENERAL;
pub use reader::Reader;
pub use record::{Record, TimeFields};
