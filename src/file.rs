//! Reads whole files: regular ones of a bounded size. A FIFO without a writer, a device or an endless file would block
//! the reader for ever, or exhaust memory.

use std::fmt;
use std::fs::{File, FileType, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Maximum bytes of a file with a token or a password.
pub const MAX_SECRET: u64 = 64 << 10;

/// Maximum bytes of a file with certificates or keys. The CA certificates of a system take about 250 KB.
pub const MAX_PEM: u64 = 4 << 20;

/// Why an existing file is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is a FIFO, a device or the like.
    #[error("it is {0}, not a regular file")]
    Irregular(FileKind),
    /// It has more bytes than the maximum.
    #[error("it is larger than {0} bytes, the maximum")]
    TooLarge(u64),
}

/// A kind of file that is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A folder.
    Folder,
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
    /// A device or any other kind.
    Device,
}

impl FileKind {
    fn of(kind: FileType) -> Option<Self> {
        match kind {
            kind if kind.is_file() => None,
            kind if kind.is_dir() => Some(Self::Folder),
            kind if kind.is_fifo() => Some(Self::Fifo),
            kind if kind.is_socket() => Some(Self::Socket),
            _ => Some(Self::Device),
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Folder => "a folder",
            Self::Fifo => "a FIFO",
            Self::Socket => "a socket",
            Self::Device => "a device",
        })
    }
}

impl From<Unfit> for io::Error {
    fn from(unfit: Unfit) -> Self {
        let kind = match unfit {
            Unfit::Irregular(FileKind::Folder) => ErrorKind::IsADirectory,
            Unfit::Irregular(_) => ErrorKind::Unsupported,
            Unfit::TooLarge(_) => ErrorKind::FileTooLarge,
        };
        Self::new(kind, unfit)
    }
}

/// Opens a regular file for reading. Never waits for the writer of a FIFO; a file system may still hang.
///
/// # Errors
/// If it cannot be opened, or is [`Unfit`].
pub fn open(path: &Path) -> io::Result<File> {
    // Checked first, since opening a device may have an effect.
    check(std::fs::metadata(path)?.file_type())?;
    // The path may name another file by now, and opening a FIFO would wait for a writer.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let flags = i32::try_from(flags).map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    check(file.metadata()?.file_type())?;
    Ok(file)
}

fn check(kind: FileType) -> Result<(), Unfit> {
    FileKind::of(kind).map_or(Ok(()), |kind| Err(Unfit::Irregular(kind)))
}

/// Reads a regular file of at most `max` bytes.
///
/// # Errors
/// If it cannot be read, or is [`Unfit`].
pub fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    // Checked before reading if the file system knows the size.
    if file.metadata()?.len() > max {
        return Err(Unfit::TooLarge(max).into());
    }
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= max) {
        Ok(bytes)
    } else {
        Err(Unfit::TooLarge(max).into())
    }
}

/// Reads a regular file of UTF-8 text of at most `max` bytes.
///
/// # Errors
/// If it cannot be read, is not UTF-8, or is [`Unfit`].
pub fn read_text(path: &Path, max: u64) -> io::Result<String> {
    let text = String::from_utf8(read(path, max)?);
    text.map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not text in UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    fn error(path: &Path) -> String {
        read(path, 10).unwrap_err().to_string()
    }

    #[test]
    fn irregular_files_are_rejected_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        mkfifoat(CWD, path("fifo"), Mode::RUSR).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        assert_eq!(error(&path("fifo")), "it is a FIFO, not a regular file");
        assert_eq!(error(&path("socket")), "it is a socket, not a regular file");
        assert_eq!(error(folder.path()), "it is a folder, not a regular file");
        assert_eq!(error(Path::new("/dev/zero")), "it is a device, not a regular file");
        assert_eq!(read(&path("none"), 10).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_file_of_the_maximum_size_is_read_and_a_larger_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "0123456789").unwrap();
        assert_eq!(read_text(&path, 10).unwrap(), "0123456789");
        assert_eq!(
            read(&path, 9).unwrap_err().to_string(),
            "it is larger than 9 bytes, the maximum"
        );
        // A file whose metadata says 0 bytes.
        assert!(read(Path::new("/proc/self/stat"), 9).is_err());
        assert!(read(Path::new("/proc/self/stat"), 9999).is_ok());
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_text(&path, 10).unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn a_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("link");
        std::os::unix::fs::symlink("file", &path).unwrap();
        assert_eq!(read(&path, 10).unwrap_err().kind(), ErrorKind::NotFound);
        std::fs::write(folder.path().join("file"), "a").unwrap();
        assert_eq!(read(&path, 10).unwrap(), b"a");
    }
}
