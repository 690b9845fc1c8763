//! The control socket: HTTP over a unix socket that only its owner may open. Knows commands, not what they do.

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

use super::command::{Answer, Command, Refusal, RefusalKind, Reply};
use super::handover;
use super::limits::{COMMAND_BYTES, CONTROLLERS};
use super::metrics;
use super::proxy::Proxy;

/// Where commands are posted.
pub const COMMAND_PATH: &str = "/v1/command";
/// Of a command's head and body.
const PATIENCE: Duration = Duration::from_secs(10);
/// After an accept that failed.
const BREATH: Duration = Duration::from_millis(10);

/// Takes the place of whatever socket is at `path`; only the owner may open it.
///
/// # Errors
/// When the folder does not allow it.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    let mut fresh = path.to_owned().into_os_string();
    fresh.push(format!(".{}", std::process::id()));
    let fresh = PathBuf::from(fresh);
    // One of a process that had this number before.
    drop(fs::remove_file(&fresh));
    let listener = UnixListener::bind(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
    fs::rename(&fresh, path)?;
    Ok(listener)
}

/// Serves commands until it is dropped.
pub async fn serve(listener: UnixListener, proxy: Arc<Proxy>) {
    speak_to_all(|| async { listener.accept().await.map(|(stream, _)| stream) }, proxy, true).await;
}

/// Serves the metrics alone, for everybody who reaches the address.
pub async fn serve_metrics(listener: TcpListener, proxy: Arc<Proxy>) {
    speak_to_all(|| async { listener.accept().await.map(|(stream, _)| stream) }, proxy, false).await;
}

async fn speak_to_all<S, F>(accept: impl Fn() -> F, proxy: Arc<Proxy>, commands: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<S>>,
{
    let places = Arc::new(Semaphore::new(CONTROLLERS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok(stream) = accept().await else {
            tokio::time::sleep(BREATH).await;
            continue;
        };
        let proxy = Arc::clone(&proxy);
        tokio::spawn(async move {
            speak(stream, proxy, commands).await;
            drop(place);
        });
    }
}

async fn speak<S: AsyncRead + AsyncWrite + Unpin>(stream: S, proxy: Arc<Proxy>, commands: bool) {
    // The process does not end before the answer is written.
    let _listening = proxy.listen();
    let service = service_fn(move |request| {
        let proxy = Arc::clone(&proxy);
        async move { Ok::<_, Infallible>(respond(request, &proxy, commands).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever broke off knows it.
    drop(connection.await);
}

async fn respond(request: Request<Incoming>, proxy: &Arc<Proxy>, commands: bool) -> Response<Full<Bytes>> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => text(StatusCode::OK, metrics::text(&proxy.steering).await),
        (&Method::POST, COMMAND_PATH) if commands => {
            let answer = match read(request).await {
                Ok(command) => perform(command, proxy).await,
                Err(refusal) => Err(refusal),
            };
            json(Answer::from(answer))
        }
        (_, COMMAND_PATH) if commands => {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "post a command as JSON\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            response
        }
        _ => text(StatusCode::NOT_FOUND, "there are `POST /v1/command` and `GET /metrics`\n".to_owned()),
    }
}

async fn read(request: Request<Incoming>) -> Result<Command, Refusal> {
    let body = Limited::new(request.into_body(), COMMAND_BYTES).collect();
    let body = tokio::time::timeout(PATIENCE, body)
        .await
        .map_err(|_| Refusal::invalid("the command did not come in time"))?
        .map_err(|error| Refusal::invalid(format!("the command cannot be read: {error}")))?
        .to_bytes();
    parse(&body)
}

/// A command from its text.
///
/// # Errors
/// When it is none; names the field that is wrong.
pub fn parse(text: &[u8]) -> Result<Command, Refusal> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let command = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| Refusal::invalid(format!("this is no command: {error}")))?;
    json.end().map_err(|_| Refusal::invalid("this is more than one command"))?;
    Ok(command)
}

async fn perform(command: Command, proxy: &Arc<Proxy>) -> Result<Reply, Refusal> {
    // To its end, even when whoever asked goes away.
    let proxy = Arc::clone(proxy);
    let task = tokio::spawn(async move {
        match command {
            Command::Upgrade { binary } => handover::upgrade(&proxy, binary).await.map(|pid| Reply::Upgraded { pid }),
            other => proxy.steering.perform(&other).await,
        }
    });
    task.await.unwrap_or_else(|_| Err(Refusal::failed("the proxy ends")))
}

fn json(answer: Answer) -> Response<Full<Bytes>> {
    let status = match &answer {
        Answer::Ok(_) => StatusCode::OK,
        Answer::Refused(refusal) => match refusal.kind {
            RefusalKind::Fenced | RefusalKind::Conflict => StatusCode::CONFLICT,
            RefusalKind::NotFound => StatusCode::NOT_FOUND,
            RefusalKind::Invalid => StatusCode::BAD_REQUEST,
            RefusalKind::HandedOver => StatusCode::SERVICE_UNAVAILABLE,
            RefusalKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        },
    };
    let mut response = text(status, serde_json::to_string(&answer).unwrap_or_default());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}
