//! The logs: files, folders, patterns of names, and standard input; packed ones are unpacked.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

use super::ReplayError;

/// How gzip and Zstandard begin.
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// What stands for standard input.
pub const STDIN: &str = "-";

/// A log to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

impl Source {
    /// Its name, for people.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stdin => "standard input".to_owned(),
        }
    }

    /// The size of the file in bytes, as it is stored; none of standard input.
    pub fn size(&self) -> Option<u64> {
        match self {
            Self::File(path) => path.metadata().ok().map(|of| of.len()),
            Self::Stdin => None,
        }
    }

    /// Opens it, and unpacks it if it is packed. What is read of the file is added to `read`.
    ///
    /// # Errors
    /// If it cannot be opened or read.
    pub(super) fn open(&self, read: Arc<AtomicU64>) -> io::Result<Box<dyn Read + Send>> {
        let raw: Box<dyn Read + Send> = match self {
            Self::File(path) => Box::new(File::open(path)?),
            Self::Stdin => Box::new(io::stdin()),
        };
        unpacked(Box::new(Counted { reader: raw, read }))
    }
}

/// Unpacks what begins as gzip or Zstandard does.
fn unpacked(mut raw: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut begin = Vec::new();
    raw.by_ref().take(4).read_to_end(&mut begin)?;
    let is_gzip = begin.starts_with(GZIP);
    let is_zstd = begin.starts_with(ZSTD);
    let all = Cursor::new(begin).chain(raw);
    Ok(if is_gzip {
        Box::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 16, all)))
    } else if is_zstd {
        Box::new(Zstd::Between(BufReader::with_capacity(1 << 16, all)))
    } else {
        Box::new(all)
    })
}

/// Unpacks Zstandard: one frame after another, as rotated logs that were joined have them.
enum Zstd<R: io::BufRead> {
    /// Before a frame, or at the end.
    Between(R),
    Frame(Box<StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>),
    Failed,
}

impl<R: io::BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(self, Self::Failed) {
                Self::Failed => return Err(io::Error::other("the frame is broken")),
                Self::Between(mut reader) => {
                    if reader.fill_buf()?.is_empty() {
                        *self = Self::Between(reader);
                        return Ok(0);
                    }
                    let decoder = StreamingDecoder::new(reader).map_err(io::Error::other)?;
                    *self = Self::Frame(Box::new(decoder));
                }
                Self::Frame(mut decoder) => {
                    let count = decoder.read(buffer)?;
                    if count > 0 || buffer.is_empty() {
                        *self = Self::Frame(decoder);
                        return Ok(count);
                    }
                    *self = Self::Between(decoder.into_inner());
                }
            }
        }
    }
}

/// Counts what is read.
struct Counted<R> {
    reader: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.read.fetch_add(u64::try_from(count).unwrap_or(0), Ordering::Relaxed);
        Ok(count)
    }
}

/// The logs that the words of a command line name: files, the files of folders, patterns such as `logs/*.gz` that no shell
/// has replaced, and `-`. Each file once, in the order of the words, those of a folder or a pattern by name.
///
/// # Errors
/// If a word names nothing, a folder has no file, or standard input is named twice.
pub fn named(words: &[PathBuf]) -> Result<Vec<Source>, ReplayError> {
    let mut all = Vec::new();
    for word in words {
        let sources = if word.as_os_str() == STDIN {
            vec![Source::Stdin]
        } else if word.is_dir() {
            of_folder(word)?
        } else if word.exists() {
            vec![Source::File(word.clone())]
        } else {
            of_pattern(word)?
        };
        for source in sources {
            match (&source, all.contains(&source)) {
                (Source::Stdin, true) => return Err(ReplayError::StdinTwice),
                (Source::File(_), true) => {}
                (_, false) => all.push(source),
            }
        }
    }
    Ok(all)
}

fn of_folder(folder: &Path) -> Result<Vec<Source>, ReplayError> {
    let fault = |error: io::Error| ReplayError::Read(folder.display().to_string(), error);
    let mut files = Vec::new();
    for entry in folder.read_dir().map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        let is_hidden =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.is_file() && !is_hidden {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(ReplayError::NothingNamed(folder.display().to_string()));
    }
    files.sort_unstable();
    Ok(files.into_iter().map(Source::File).collect())
}

fn of_pattern(pattern: &Path) -> Result<Vec<Source>, ReplayError> {
    let nothing = || ReplayError::NothingNamed(pattern.display().to_string());
    let paths =
        pattern.to_str().and_then(|pattern| glob::glob(pattern).ok()).ok_or_else(nothing)?;
    let files: Vec<_> = paths.filter_map(Result::ok).filter(|path| path.is_file()).collect();
    if files.is_empty() {
        return Err(nothing());
    }
    Ok(files.into_iter().map(Source::File).collect())
}
