//! Where the bytes of an upload come from: memory, a file, a reader.
//!
//! All but a long reader can be read again, so that an upload can be repeated.

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use marram_types::Crc64Nvme;
use marram_types::caps::API_DATA_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

use crate::error::{ClientError, ErrorKind};
use crate::multipart::MULTIPART_BYTES_MIN;
use crate::put::PutOptions;

/// Pieces that are read before the connection takes them.
const READ_AHEAD: usize = 4;

/// The bytes of an upload.
pub struct PutBody(Kind);

enum Kind {
    Bytes(Bytes),
    File(PathBuf),
    Reader(Box<dyn AsyncRead + Send + Unpin>),
}

impl PutBody {
    /// The bytes of a regular file. It is read again when the upload has to be repeated.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Kind::File(path.into()))
    }

    /// What a reader gives until its end. More than 1 MiB goes up as a resumable write, which survives its
    /// servers; where a SHA-256 or MD5 is to be compared, or the cluster does not know such writes yet,
    /// as one that is not repeated when it breaks off.
    pub fn reader(reader: impl AsyncRead + Send + Unpin + 'static) -> Self {
        Self(Kind::Reader(Box::new(reader)))
    }

    /// Looks at the source, and takes what is small into memory.
    pub(crate) async fn prepare(self) -> Result<Source, ClientError> {
        match self.0 {
            Kind::Bytes(bytes) => Ok(Source::Bytes(bytes)),
            Kind::File(path) => file(path).await,
            Kind::Reader(mut reader) => {
                let first = fill(&mut reader).await.map_err(|e| reader_failed(&e))?;
                if first.len() < API_DATA_BYTES_MAX {
                    return Ok(Source::Bytes(first));
                }
                Ok(Source::Once(Some((first, reader))))
            }
        }
    }
}

impl From<Bytes> for PutBody {
    fn from(bytes: Bytes) -> Self {
        Self(Kind::Bytes(bytes))
    }
}

impl From<Vec<u8>> for PutBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Kind::Bytes(bytes.into()))
    }
}

impl From<&'static str> for PutBody {
    fn from(text: &'static str) -> Self {
        Self(Kind::Bytes(Bytes::from_static(text.as_bytes())))
    }
}

/// A source that is ready to be read, in most cases as often as needed.
pub(crate) enum Source {
    Bytes(Bytes),
    File {
        path: PathBuf,
        size: u64,
    },
    /// The first piece and the reader of the rest, until they are taken.
    Once(Option<(Bytes, Box<dyn AsyncRead + Send + Unpin>)>),
}

async fn file(path: PathBuf) -> Result<Source, ClientError> {
    let failed = |error: &io::Error| ClientError::local("read", &path, error);
    let metadata = tokio::fs::metadata(&path).await.map_err(|e| failed(&e))?;
    if !metadata.is_file() {
        let message = format!("{} is not a regular file", path.display());
        return Err(ClientError::new(ErrorKind::Local, message));
    }
    if metadata.len() < API_DATA_BYTES_MAX as u64 {
        let bytes = tokio::fs::read(&path).await.map_err(|e| failed(&e))?;
        return Ok(Source::Bytes(bytes.into()));
    }
    Ok(Source::File {
        size: metadata.len(),
        path,
    })
}

fn reader_failed(error: &io::Error) -> ClientError {
    ClientError::new(ErrorKind::Local, format!("cannot read the input: {error}"))
}

/// Reads a whole piece, or what is left.
async fn fill(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    let mut piece = BytesMut::with_capacity(API_DATA_BYTES_MAX);
    let mut limited = reader.take(API_DATA_BYTES_MAX as u64);
    while limited.read_buf(&mut piece).await? > 0 {}
    Ok(piece.freeze())
}

impl Source {
    /// The number of bytes, where it is known.
    pub(crate) fn size(&self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::File { size, .. } => Some(*size),
            Self::Once(_) => None,
        }
    }

    /// Whether it is worth a resumable write: it cannot be read again, and nothing is to be compared that such
    /// a write does not know.
    pub(crate) fn is_stream(&self, options: &PutOptions) -> bool {
        let digests = options.checksums.sha256.is_some() || options.checksums.md5.is_some();
        self.is_once() && !digests
    }

    /// Path and size of a file that is worth being sent in parts. Digests of a whole do not follow from
    /// those of its parts.
    pub(crate) fn large_file(&self, options: &PutOptions) -> Option<(PathBuf, u64)> {
        let digests = options.checksums.sha256.is_some() || options.checksums.md5.is_some();
        match self {
            Self::File { path, size } if *size >= MULTIPART_BYTES_MIN && !digests => {
                Some((path.clone(), *size))
            }
            _ => None,
        }
    }

    /// True when it cannot be read a second time.
    pub(crate) fn is_once(&self) -> bool {
        matches!(self, Self::Once(_))
    }

    /// Begins to read from the start.
    pub(crate) fn open(&mut self) -> Pieces {
        match self {
            Self::Bytes(bytes) => Pieces::Memory(bytes.clone()),
            Self::File { path, .. } => open_range(path.clone(), 0..u64::MAX),
            Self::Once(taken) => {
                let (to, from) = mpsc::channel(READ_AHEAD);
                if let Some((first, reader)) = taken.take() {
                    tokio::spawn(read_once(first, reader, to));
                }
                Pieces::Channel(from)
            }
        }
    }
}

type Sender = mpsc::Sender<Result<Bytes, ClientError>>;

/// Begins to read some bytes of a file; fewer where it ends before.
pub(crate) fn open_range(path: PathBuf, range: Range<u64>) -> Pieces {
    let (to, from) = mpsc::channel(READ_AHEAD);
    tokio::task::spawn_blocking(move || read_file(&path, range, &to));
    Pieces::Channel(from)
}

/// CRC64/NVME of some bytes of a file.
pub(crate) async fn checksum_of(path: &Path, range: Range<u64>) -> Result<u64, ClientError> {
    let mut pieces = match open_range(path.to_owned(), range) {
        Pieces::Channel(pieces) => pieces,
        Pieces::Memory(bytes) => return Ok(Crc64Nvme::of(&bytes)),
    };
    let mut sum = Crc64Nvme::default();
    while let Some(piece) = pieces.recv().await {
        sum.update(&piece?);
    }
    Ok(sum.value())
}

/// Runs on a thread of its own. Ends early when nobody takes the pieces any more.
fn read_file(path: &Path, range: Range<u64>, to: &Sender) {
    let read = || -> io::Result<()> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(range.start))?;
        let mut left = Read::take(file, range.end - range.start);
        loop {
            let mut piece = Vec::with_capacity(API_DATA_BYTES_MAX);
            let mut limited = Read::take(&mut left, API_DATA_BYTES_MAX as u64);
            limited.read_to_end(&mut piece)?;
            if piece.is_empty() || to.blocking_send(Ok(piece.into())).is_err() {
                return Ok(());
            }
        }
    };
    if let Err(error) = read() {
        // Nobody listens any more: nobody needs the error.
        let _ = to.blocking_send(Err(ClientError::local("read", path, &error)));
    }
}

async fn read_once(first: Bytes, mut reader: Box<dyn AsyncRead + Send + Unpin>, to: Sender) {
    let mut piece = Ok(first);
    loop {
        let last = piece.as_ref().map_or(true, Bytes::is_empty);
        if last && piece.is_ok() {
            return;
        }
        if to.send(piece).await.is_err() || last {
            return;
        }
        piece = fill(&mut reader).await.map_err(|e| reader_failed(&e));
    }
}

/// The pieces of a source, each at most what one message may carry.
pub(crate) enum Pieces {
    Memory(Bytes),
    Channel(mpsc::Receiver<Result<Bytes, ClientError>>),
}

impl Pieces {
    /// The next piece. What is given up while it waits loses none.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, ClientError>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, ClientError>>> {
        match self {
            Self::Memory(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Memory(bytes) => {
                let piece = bytes.split_to(bytes.len().min(API_DATA_BYTES_MAX));
                Poll::Ready(Some(Ok(piece)))
            }
            Self::Channel(from) => Pin::new(from).poll_recv(cx),
        }
    }
}
