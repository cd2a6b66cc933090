//! gRPC's frame around a message: one byte for the compression flag, four for the length.

use tonic::Status;

/// The length of the prefix of a message, in bytes.
pub const PREFIX: usize = 5;

/// The largest request, in bytes. Envoy's are a few hundred.
pub const MAX_MESSAGE: usize = 1 << 20;

/// The single message in a request's body.
///
/// # Errors
/// `UNIMPLEMENTED` if it is compressed, `RESOURCE_EXHAUSTED` if it is larger than [`MAX_MESSAGE`] bytes,
/// `INVALID_ARGUMENT` if the body is not one whole message.
pub fn message(body: &[u8]) -> Result<&[u8], Status> {
    let (prefix, rest) = body.split_first_chunk::<PREFIX>().ok_or_else(|| not_one(body.len()))?;
    let ([flag, ..], length) = (*prefix, length(*prefix));
    match flag {
        0 if length > MAX_MESSAGE => Err(too_large(length)),
        0 if length == rest.len() => Ok(rest),
        1 => Err(Status::unimplemented(
            "compressed requests are not supported; send them uncompressed",
        )),
        _ => Err(not_one(body.len())),
    }
}

/// Checks the part of a body that has arrived, so that a message that is too large is rejected before it is complete.
///
/// # Errors
/// `RESOURCE_EXHAUSTED` if the announced length, or the part itself, is larger than [`MAX_MESSAGE`] bytes.
pub fn check(part: &[u8]) -> Result<(), Status> {
    let announced = part.split_first_chunk::<PREFIX>().map_or(0, |(prefix, _)| length(*prefix));
    let length = announced.max(part.len().saturating_sub(PREFIX));
    if length > MAX_MESSAGE { Err(too_large(length)) } else { Ok(()) }
}

fn length([_, length @ ..]: [u8; PREFIX]) -> usize {
    usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX)
}

fn too_large(length: usize) -> Status {
    Status::resource_exhausted(format!("a request of {length} bytes; send at most {MAX_MESSAGE}"))
}

fn not_one(length: usize) -> Status {
    Status::invalid_argument(format!("the {length} bytes received are not one gRPC message"))
}

/// Writes the prefix of a message into the bytes reserved for it at the start of `frame`.
pub(super) fn close(frame: &mut [u8]) {
    if let Some((prefix, message)) = frame.split_first_chunk_mut::<PREFIX>() {
        // A reply is far smaller than 4 GiB.
        let [a, b, c, d] = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
        *prefix = [0, a, b, c, d];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    fn code(body: &[u8]) -> Code {
        message(body).map_or_else(|status| status.code(), |_| Code::Ok)
    }

    #[test]
    fn one_whole_message_is_read() {
        assert_eq!(message(&[0, 0, 0, 0, 2, 7, 8]).unwrap(), [7, 8]);
        assert!(message(&[0, 0, 0, 0, 0]).unwrap().is_empty());
    }

    #[test]
    fn anything_else_has_a_status_with_the_reason() {
        assert_eq!(code(&[]), Code::InvalidArgument);
        assert_eq!(code(&[0, 0, 0, 0]), Code::InvalidArgument);
        assert_eq!(code(&[0, 0, 0, 0, 2, 7]), Code::InvalidArgument);
        assert_eq!(code(&[0, 0, 0, 0, 1, 7, 8]), Code::InvalidArgument);
        assert_eq!(code(&[2, 0, 0, 0, 1, 7]), Code::InvalidArgument);
        assert_eq!(code(&[1, 0, 0, 0, 1, 7]), Code::Unimplemented);
        assert_eq!(code(&[0, 0, 0x10, 0, 1, 7]), Code::ResourceExhausted);
    }

    #[test]
    fn a_message_that_is_too_large_is_rejected_before_it_is_complete() {
        assert!(check(&[]).is_ok() && check(&[0, 0, 0x10, 0]).is_ok());
        assert!(check(&[0, 0, 0x10, 0, 0, 7]).is_ok());
        assert_eq!(check(&[0, 0, 0x10, 0, 1]).unwrap_err().code(), Code::ResourceExhausted);
        let two = vec![0; PREFIX + MAX_MESSAGE + 1];
        assert_eq!(check(&two).unwrap_err().code(), Code::ResourceExhausted);
    }

    #[test]
    fn a_closed_frame_reads_as_its_message() {
        let mut frame = vec![0; PREFIX];
        frame.extend([7; 300]);
        close(&mut frame);
        assert_eq!(message(&frame).unwrap(), [7; 300]);
    }
}
