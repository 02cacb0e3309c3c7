//! When a server stops, and its listeners.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use marram_gateway::ApiTls;
use marram_mesh::{clock_ms, follow_shift};
use marram_types::config::ApiTlsFiles;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Milliseconds since 1970, by the time that the peers agree about.
pub(super) fn now_ms() -> u64 {
    clock_ms()
}

/// How often a test's file with a wrong clock is looked at.
const LOOK_FOR_SHIFT_EVERY: Duration = Duration::from_millis(200);

/// Has this process's clock be as wrong as a test says, where one does; see [`follow_shift`].
pub(super) fn shift_clock(name: Option<&str>) {
    let name = name.unwrap_or("server").to_owned();
    if follow_shift(&name) {
        tokio::spawn(async move {
            while follow_shift(&name) {
                tokio::time::sleep(LOOK_FOR_SHIFT_EVERY).await;
            }
        });
    }
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
