//! When a server stops, and its listeners.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use marram_gateway::ApiTls;
use marram_types::config::ApiTlsFiles;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Opens a listener, with an error that says what to do about a port in use.
pub(super) async fn listen(what: &str, address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} for {what}: if the port is in use, stop what uses it or choose another")
    })
}

/// The certificate of the API, where it has one.
pub(super) fn api_tls(files: Option<ApiTlsFiles>) -> Result<Option<Arc<ApiTls>>> {
    let loaded = files.map(ApiTls::load).transpose();
    let loaded = loaded.context("the API cannot have its certificate")?;
    Ok(loaded.map(Arc::new))
}

/// Cancels the token on SIGINT or SIGTERM, and when standard input closes where that was asked for.
pub(super) fn stop_when_told(stdin_too: bool) -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let by_signal = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        by_signal.cancel();
    });
    if stdin_too {
        let by_stdin = stop.clone();
        tokio::spawn(async move {
            let mut byte = [0; 1];
            while matches!(tokio::io::stdin().read(&mut byte).await, Ok(1)) {}
            by_stdin.cancel();
        });
    }
    Ok(stop)
}
