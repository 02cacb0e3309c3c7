//! Reads and writes that go on at another server when one fails in the middle.

use bytes::Bytes;
use marram_proto::v1;
use marram_types::crc32c;

use crate::client::{Client, repeatable};
use crate::error::{ClientError, ErrorKind};

/// How often a call begins again behind bytes that did not match their checksum.
const CORRUPT_MAX: u32 = 3;

/// What went wrong with a read or write that is under way.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// Since bytes came last.
    since_bytes: u32,
    corrupt: u32,
}

impl Failures {
    /// Bytes came, or are recorded.
    pub(crate) fn none_since(&mut self) {
        self.since_bytes = 0;
    }

    /// Waits until another server may be asked for the rest.
    ///
    /// # Errors
    /// The error, where no other server is to be asked.
    pub(crate) async fn wait(
        &mut self,
        client: &Client,
        server: usize,
        error: ClientError,
    ) -> Result<(), ClientError> {
        self.since_bytes += 1;
        let corrupt = error.kind() == ErrorKind::Corrupt;
        self.corrupt += u32::from(corrupt);
        let error = error.after(self.since_bytes);
        if !(repeatable(&error) || corrupt && self.corrupt <= CORRUPT_MAX) {
            return Err(error);
        }
        client.avoid(server);
        let Some(delay) = client.pause(self.since_bytes, &error) else {
            return Err(error);
        };
        tracing::debug!(%error, ?delay, "going on elsewhere");
        tokio::time::sleep(delay).await;
        Ok(())
    }
}

/// The bytes of a chunk, if they have the checksum that came with them.
pub(crate) fn verified(chunk: v1::Chunk) -> Result<Bytes, ClientError> {
    if crc32c(&chunk.data) != chunk.crc32c {
        let message = "a chunk does not match its checksum";
        return Err(ClientError::new(ErrorKind::Corrupt, message));
    }
    Ok(chunk.data)
}
