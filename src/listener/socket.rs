//! The file of a Unix domain socket. The system does not remove it, and does not listen on a path that has a file.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// A listener that removes its file when dropped.
#[derive(Debug)]
pub(super) struct SocketListener {
    listener: UnixListener,
    file: SocketFile,
}

/// A [`SocketListener`] that is not registered with a runtime.
#[derive(Debug)]
pub(super) struct ParkedSocket {
    listener: std::os::unix::net::UnixListener,
    file: SocketFile,
}

/// The file of a socket, removed on drop.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and inode. The path may name another process's file by the time of the drop.
    identity: (u64, u64),
}

impl SocketListener {
    /// Listens on a path. Replaces the file of a socket without a listener.
    pub(super) async fn bind(path: &Path) -> io::Result<Self> {
        // Of several processes that find a stale file, only one may remove it. Between bind(2) and listen(2) the new
        // socket looks stale as well, so that the others must wait. Without read access to the folder there is no lock.
        let _lock = Lock::take(path).ok();
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                remove_stale(path).await?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
        Ok(Self { listener, file })
    }

    pub(super) fn park(self) -> io::Result<ParkedSocket> {
        Ok(ParkedSocket { listener: self.listener.into_std()?, file: self.file })
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl ParkedSocket {
    pub(super) fn unpark(self) -> io::Result<SocketListener> {
        let listener = UnixListener::from_std(self.listener)?;
        Ok(SocketListener { listener, file: self.file })
    }
}

/// A lock on the folder, which keeps other processes from replacing the file meanwhile.
struct Lock {
    _folder: File,
}

impl Lock {
    /// Waits for the lock. Others hold it only while they try a connection.
    fn take(path: &Path) -> io::Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new(".")))?;
        folder.lock()?;
        Ok(Self { _folder: folder })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove the socket's file");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = std::fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// Removes the file of a socket without a listener. It may be gone already, if the listener has just ended.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let metadata = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.file_type().is_socket() {
        let what = "the path has a file that is not a socket; move it away";
        return Err(io::Error::new(ErrorKind::AlreadyExists, what));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Ok(_) => Err(taken()),
        // A listener with a full queue.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(taken()),
        Err(error) => Err(error),
    }
}

fn taken() -> io::Error {
    io::Error::new(ErrorKind::AddrInUse, "another process listens there")
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    fn at(name: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        (folder, path)
    }

    #[test]
    fn a_stale_file_is_replaced_and_one_in_use_is_not() {
        run(async {
            let (_folder, path) = at("a.sock");
            // A listener of the standard library leaves its file behind.
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            let listener = SocketListener::bind(&path).await.unwrap();
            let error = SocketListener::bind(&path).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            assert_eq!(error.to_string(), "another process listens there");
            UnixStream::connect(&path).await.unwrap();
            drop(listener);
            assert!(!path.exists());
        });
    }

    /// Without the lock, in some rounds one listener removes the file of another that has just replaced the stale one.
    #[test]
    fn of_many_that_replace_a_stale_file_at_once_exactly_one_listens() {
        for _ in 0..50 {
            let (_folder, path) = at("a.sock");
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            let start = Barrier::new(8);
            let bind = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(async {
                    start.wait();
                    let bound = SocketListener::bind(&path).await;
                    // Keeps listening until all have tried.
                    start.wait();
                    bound.map(|listener| listener.file.identity)
                })
            };
            let bound: Vec<_> = thread::scope(|scope| {
                let all: Vec<_> = (0..8).map(|_| scope.spawn(bind)).collect();
                all.into_iter().map(|one| one.join().unwrap()).collect()
            });
            let (listening, failed): (Vec<_>, Vec<_>) = bound.into_iter().partition(Result::is_ok);
            assert_eq!(listening.len(), 1);
            for error in failed {
                assert_eq!(error.unwrap_err().kind(), ErrorKind::AddrInUse);
            }
        }
    }

    #[test]
    fn a_file_that_is_not_a_socket_is_never_removed() {
        run(async {
            let (folder, path) = at("a.sock");
            std::fs::write(&path, "mine").unwrap();
            let error = SocketListener::bind(&path).await.unwrap_err();
            assert!(error.to_string().contains("not a socket; move it away"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
            assert!(SocketListener::bind(folder.path()).await.is_err());
            assert!(folder.path().is_dir());
            let link = folder.path().join("link");
            std::os::unix::fs::symlink(&path, &link).unwrap();
            assert!(SocketListener::bind(&link).await.is_err());
            assert!(link.is_symlink());
        });
    }

    #[test]
    fn the_file_of_another_listener_stays() {
        run(async {
            let (_folder, path) = at("a.sock");
            let listener = SocketListener::bind(&path).await.unwrap();
            std::fs::remove_file(&path).unwrap();
            let other = SocketListener::bind(&path).await.unwrap();
            drop(listener);
            assert!(path.exists());
            drop(other);
            assert!(!path.exists());
        });
    }
}
