//! A TCP socket that is read in large pieces.
//!
//! TLS asks for a few KiB at a time; a system call for each would cost more than the decryption.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Silence after which the kernel asks whether the peer is there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
/// Pause between its further questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

pub(crate) struct Socket {
    tcp: TcpStream,
    ahead: Vec<u8>,
    start: usize,
    end: usize,
}

impl Socket {
    /// Takes a connected socket; small reads are served from a buffer.
    pub(crate) fn new(tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL);
        SockRef::from(&tcp).set_tcp_keepalive(&keepalive)?;
        Ok(Self {
            tcp,
            ahead: Vec::new(),
            start: 0,
            end: 0,
        })
    }

    /// Reads up to `bytes` at once from now on.
    pub(crate) fn set_read_ahead(&mut self, bytes: usize) {
        if self.ahead.len() < bytes {
            let mut ahead = vec![0; bytes];
            ahead[..self.end - self.start].copy_from_slice(&self.ahead[self.start..self.end]);
            self.end -= self.start;
            self.start = 0;
            self.ahead = ahead;
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.start == this.end {
            if this.ahead.len() <= buf.remaining() {
                return Pin::new(&mut this.tcp).poll_read(cx, buf);
            }
            let mut space = ReadBuf::new(&mut this.ahead);
            ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut space))?;
            this.end = space.filled().len();
            this.start = 0;
        }
        let take = buf.remaining().min(this.end - this.start);
        buf.put_slice(&this.ahead[this.start..this.start + take]);
        this.start += take;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
