//! A pod's own word on why it is not ready.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::names::METRICS_PORT;

/// How long a pod may take to answer.
const WITHIN: Duration = Duration::from_secs(2);
/// Bytes of an answer that are read.
const ANSWER_MAX: u64 = 4096;
/// What a server says whose drives are empty.
const WAITS: &str = "waiting for a join token";

/// Whether the server in the pod at this address says that it waits for a join token. One that does not
/// answer does not say so.
pub(crate) async fn waits_for_token(address: &str) -> bool {
    let asked = tokio::time::timeout(WITHIN, ready_text(address)).await;
    matches!(asked, Ok(Ok(text)) if text.contains(WAITS))
}

async fn ready_text(address: &str) -> std::io::Result<String> {
    let host = match address.contains(':') {
        true => format!("[{address}]"),
        false => address.to_owned(),
    };
    let mut stream = TcpStream::connect(format!("{host}:{METRICS_PORT}")).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
