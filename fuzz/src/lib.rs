//! What the targets share: questions as bytes, a program in memory that answers them, and what must be true
//! of every answer and of every refusal, whatever was read.

pub mod bytes;
pub mod der;
pub mod http2;
pub mod parts;
pub mod told;
pub mod yaml;
