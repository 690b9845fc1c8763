//! The tiny app of `deployer demo`: answers with its version, and with 500 when it is told to be broken.

use miette::IntoDiagnostic;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

use super::fault::Fault;
use crate::app::environment;

/// Bytes of a request that are read; the rest is of no interest.
const REQUEST: usize = 4096;

/// Serves on `$PORT` until SIGTERM.
pub async fn serve() -> Result<u8, Fault> {
    let port = environment("PORT").and_then(|port| port.parse().ok()).unwrap_or(8080_u16);
    let listener = TcpListener::bind(("0.0.0.0", port)).await.into_diagnostic()?;
    println!("listening on port {port}");
    let mut terminate = signal(SignalKind::terminate()).into_diagnostic()?;
    loop {
        tokio::select! {
            connection = listener.accept() => {
                if let Ok((stream, _)) = connection {
                    tokio::spawn(answer(stream));
                }
            }
            _ = terminate.recv() => return Ok(0),
        }
    }
}

async fn answer(mut stream: TcpStream) {
    let mut request = [0; REQUEST];
    if stream.read(&mut request).await.is_err() {
        return;
    }
    let version = environment("APP_VERSION").unwrap_or_default();
    let broken = environment("APP_BROKEN").is_some_and(|broken| broken == "yes");
    let status = if broken { "500 Internal Server Error" } else { "200 OK" };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", version.len());
    // A visitor who went away is no fault of ours.
    drop(stream.write_all(format!("{head}{version}").as_bytes()).await);
    drop(stream.shutdown().await);
}
