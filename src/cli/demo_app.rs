//! The app of `deployer demo`: answers with its version, or with status 500 when it is configured to be broken.

use miette::IntoDiagnostic;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

use super::command_error::CommandError;
use crate::app::environment;

/// How many bytes of a request are read; the rest does not matter.
const REQUEST: usize = 4096;

/// Serves on `$PORT` until SIGTERM.
pub async fn serve() -> Result<u8, CommandError> {
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
    // A client that has disconnected is not an error.
    drop(stream.write_all(format!("{head}{version}").as_bytes()).await);
    drop(stream.shutdown().await);
}
