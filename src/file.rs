//! Reading files whole: regular ones of a bounded size. A FIFO nobody writes to, a device or a file without
//! an end would otherwise keep the reader for ever, or take all memory there is.

use std::fmt;
use std::fs::{File, FileType, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// The longest token or password that is read, in bytes.
pub const MAX_SECRET: u64 = 64 << 10;

/// The most certificates and keys that are read from one file, in bytes. A system's own are some 250 KB.
pub const MAX_PEM: u64 = 4 << 20;

/// Why a file is not read, though it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A FIFO, a device or the like.
    #[error("it is {0}; only a regular file is read")]
    Other(What),
    /// More than is read.
    #[error("it holds more than {0} bytes, the most that is read")]
    TooLarge(u64),
}

/// What stands at a path in place of a regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A folder.
    Folder,
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
    /// A device, or what the system may have besides.
    Device,
}

impl What {
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

impl fmt::Display for What {
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
            Unfit::Other(What::Folder) => ErrorKind::IsADirectory,
            Unfit::Other(_) => ErrorKind::Unsupported,
            Unfit::TooLarge(_) => ErrorKind::FileTooLarge,
        };
        Self::new(kind, unfit)
    }
}

/// Opens a regular file to read it. What only a file system can delay, it still may.
///
/// # Errors
/// Where it cannot be opened, or is [`Unfit`].
pub fn open(path: &Path) -> io::Result<File> {
    // To open a device may already do something.
    check(std::fs::metadata(path)?.file_type())?;
    // By now it may be another: to open a FIFO would wait for somebody who writes.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let flags = i32::try_from(flags).map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    check(file.metadata()?.file_type())?;
    Ok(file)
}

fn check(kind: FileType) -> Result<(), Unfit> {
    What::of(kind).map_or(Ok(()), |what| Err(Unfit::Other(what)))
}

/// Reads a regular file of at most so many bytes.
///
/// # Errors
/// Where it cannot be read, or is [`Unfit`].
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    // Before anything is read, where the size is known.
    if file.metadata()?.len() > most {
        return Err(Unfit::TooLarge(most).into());
    }
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= most) {
        Ok(bytes)
    } else {
        Err(Unfit::TooLarge(most).into())
    }
}

/// Reads a regular file of text, in UTF-8, of at most so many bytes.
///
/// # Errors
/// Where it cannot be read, is no UTF-8, or is [`Unfit`].
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let text = String::from_utf8(read(path, most)?);
    text.map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not text in UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    fn told(path: &Path) -> String {
        read(path, 10).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_regular_file_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        mkfifoat(CWD, path("fifo"), Mode::RUSR).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        assert_eq!(told(&path("fifo")), "it is a FIFO; only a regular file is read");
        assert_eq!(told(&path("socket")), "it is a socket; only a regular file is read");
        assert_eq!(told(folder.path()), "it is a folder; only a regular file is read");
        assert_eq!(told(Path::new("/dev/zero")), "it is a device; only a regular file is read");
        assert_eq!(read(&path("none"), 10).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn so_many_bytes_are_read_and_not_one_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "0123456789").unwrap();
        assert_eq!(read_text(&path, 10).unwrap(), "0123456789");
        assert_eq!(
            read(&path, 9).unwrap_err().to_string(),
            "it holds more than 9 bytes, the most that is read"
        );
        // A file that tells no size, and has one.
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
