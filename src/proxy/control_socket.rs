//! The control socket: HTTP over a unix socket that only its owner may open. Parses commands; the controller performs
//! them.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use super::command::{Command, CommandReply, CommandResponse, Refusal, RefusalKind};
use super::handover;
use super::limits::{COMMAND_BYTES, CONTROL_CONNECTIONS};
use super::metrics;
use super::running_proxy::RunningProxy;

/// The path that accepts commands.
pub(super) const COMMAND_PATH: &str = "/v1/command";
/// Time for the head and for the body of a command to arrive.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failed accept.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(10);

/// Binds a socket at `path` that only its owner may open. Replaces one that is there.
///
/// # Errors
/// When the folder or the socket cannot be created.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    let mut fresh = path.to_owned().into_os_string();
    fresh.push(format!(".{}", std::process::id()));
    let fresh = PathBuf::from(fresh);
    // A leftover of an earlier process with the same id.
    drop(fs::remove_file(&fresh));
    let listener = UnixListener::bind(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
    fs::rename(&fresh, path)?;
    Ok(listener)
}

/// Serves commands and metrics until it is dropped.
pub(super) async fn serve(listener: UnixListener, proxy: Arc<RunningProxy>) {
    accept_all(|| async { listener.accept().await.map(|(stream, _)| stream) }, proxy, true).await;
}

/// Serves only the metrics, to every client that reaches the address.
pub(super) async fn serve_metrics(listener: TcpListener, proxy: Arc<RunningProxy>) {
    accept_all(|| async { listener.accept().await.map(|(stream, _)| stream) }, proxy, false).await;
}

async fn accept_all<S, F>(accept: impl Fn() -> F, proxy: Arc<RunningProxy>, commands: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<S>>,
{
    let slots = Arc::new(Semaphore::new(CONTROL_CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let Ok(stream) = accept().await else {
            tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            continue;
        };
        let proxy = Arc::clone(&proxy);
        tokio::spawn(async move {
            serve_connection(stream, proxy, commands).await;
            drop(slot);
        });
    }
}

async fn serve_connection<S: AsyncRead + AsyncWrite + Unpin>(stream: S, proxy: Arc<RunningProxy>, commands: bool) {
    // Keeps the process alive until the reply is written.
    let _open = proxy.open_control_connection();
    let service = service_fn(move |request| {
        let proxy = Arc::clone(&proxy);
        async move { Ok::<_, Infallible>(respond(request, &proxy, commands).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // A client that disconnects needs no reply.
    drop(connection.await);
}

async fn respond(request: Request<Incoming>, proxy: &Arc<RunningProxy>, commands: bool) -> Response<Full<Bytes>> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => text(StatusCode::OK, metrics::text(&proxy.controller).await),
        (&Method::POST, COMMAND_PATH) if commands => {
            let result = match read(request).await {
                Ok(command) => perform(command, proxy).await,
                Err(refusal) => Err(refusal),
            };
            json(&CommandResponse::from(result))
        }
        (_, COMMAND_PATH) if commands => {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "post a command as JSON\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            response
        }
        _ => text(StatusCode::NOT_FOUND, "use `POST /v1/command` or `GET /metrics`\n".to_owned()),
    }
}

async fn read(request: Request<Incoming>) -> Result<Command, Refusal> {
    let body = Limited::new(request.into_body(), COMMAND_BYTES).collect();
    let body = tokio::time::timeout(READ_TIMEOUT, body)
        .await
        .map_err(|_| Refusal::invalid("the command did not arrive in time"))?
        .map_err(|error| Refusal::invalid(format!("the command cannot be read: {error}")))?
        .to_bytes();
    parse(&body)
}

/// Parses a command.
///
/// # Errors
/// When it is invalid; the message names the field.
pub fn parse(text: &[u8]) -> Result<Command, Refusal> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let command = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| Refusal::invalid(format!("invalid command: {error}")))?;
    json.end().map_err(|_| Refusal::invalid("more than one command in a request"))?;
    Ok(command)
}

async fn perform(command: Command, proxy: &Arc<RunningProxy>) -> Result<CommandReply, Refusal> {
    // In a task of its own, so that it completes even if the client disconnects.
    let proxy = Arc::clone(proxy);
    let task = tokio::spawn(async move {
        match command {
            Command::Upgrade { binary } => {
                handover::upgrade(&proxy, binary).await.map(|pid| CommandReply::Upgraded { pid })
            }
            other => proxy.controller.perform(&other).await,
        }
    });
    task.await.unwrap_or_else(|_| Err(Refusal::failed("the proxy is shutting down")))
}

fn json(response: &CommandResponse) -> Response<Full<Bytes>> {
    let status = match response {
        CommandResponse::Ok(_) => StatusCode::OK,
        CommandResponse::Refused(refusal) => match refusal.kind {
            RefusalKind::Fenced | RefusalKind::Conflict => StatusCode::CONFLICT,
            RefusalKind::NotFound => StatusCode::NOT_FOUND,
            RefusalKind::Invalid => StatusCode::BAD_REQUEST,
            RefusalKind::HandedOver => StatusCode::SERVICE_UNAVAILABLE,
            RefusalKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        },
    };
    let mut reply = text(status, serde_json::to_string(response).unwrap_or_default());
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}
