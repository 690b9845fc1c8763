//! Converts the engine's replies into errors that scripts can catch. Knows status codes, but no particular request.

use std::error::Error as _;
use std::time::Duration;

use bollard::errors::Error;

use crate::effect::container::{container_name_taken, container_not_found, port_taken};
use crate::effect::image::image_not_found;
use crate::effect::network::network_not_found;
use crate::effect::volume::volume_not_found;
use crate::effect::{EffectError, ErrorKind};

/// The deadline of a short request: a daemon can hold a container's lock forever. Shorter than the deadline of an
/// effect, so that the error says which request timed out.
pub(super) const CALL_DEADLINE: Duration = Duration::from_secs(50);

/// The object of a request, which decides what "not found" and "conflict" mean.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subject<'a> {
    Engine,
    Container(&'a str),
    NewContainer(&'a str),
    Start(&'a str),
    Image(&'a str),
    Volume(&'a str),
    Network(&'a str),
}

impl Subject<'_> {
    fn describe(self) -> String {
        match self {
            Self::Engine => "the docker engine".into(),
            Self::Container(name) | Self::NewContainer(name) | Self::Start(name) => format!("container `{name}`"),
            Self::Image(name) => format!("image `{name}`"),
            Self::Volume(name) => format!("volume `{name}`"),
            Self::Network(name) => format!("network `{name}`"),
        }
    }

    /// Returns the error for an object that does not exist.
    fn not_found(self) -> EffectError {
        match self {
            Self::Engine => EffectError::not_found("the docker engine does not know this request")
                .hint("see what the engine is: docker info"),
            Self::Container(name) | Self::NewContainer(name) | Self::Start(name) => container_not_found(&name),
            Self::Image(name) => image_not_found(name),
            Self::Volume(name) => volume_not_found(name),
            Self::Network(name) => network_not_found(name),
        }
    }
}

/// Waits for the engine's reply, up to `deadline`.
pub(super) async fn await_reply_within<T>(
    deadline: Duration,
    subject: Subject<'_>,
    reply: impl Future<Output = Result<T, Error>>,
) -> Result<T, EffectError> {
    match tokio::time::timeout(deadline, reply).await {
        Ok(reply) => reply.map_err(|error| engine_error(error, subject)),
        Err(_) => Err(reply_timeout(deadline, subject)),
    }
}

/// Waits for the reply to a short request.
pub(super) async fn await_reply<T>(
    subject: Subject<'_>,
    reply: impl Future<Output = Result<T, Error>>,
) -> Result<T, EffectError> {
    await_reply_within(CALL_DEADLINE, subject, reply).await
}

/// Turns `not_found` into `None`.
pub(super) fn none_if_missing<T>(reply: Result<T, EffectError>) -> Result<Option<T>, EffectError> {
    match reply {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn reply_timeout(deadline: Duration, subject: Subject<'_>) -> EffectError {
    EffectError::new(
        ErrorKind::Timeout,
        format!("the docker engine did not reply about {} within {} s", subject.describe(), deadline.as_secs()),
    )
    .hint("the daemon may hold the container's lock: check `docker ps` and the daemon's log (journalctl -u docker)")
}

/// Converts an error of the client library.
pub(super) fn engine_error(error: Error, subject: Subject<'_>) -> EffectError {
    match error {
        Error::DockerResponseServerError { status_code, message } => error_from_status(status_code, &message, subject),
        Error::DockerStreamError { error } => error_from_text(&error, subject).unwrap_or_else(|| {
            EffectError::new(ErrorKind::Failed, format!("{}: {}", subject.describe(), one_line(&error)))
        }),
        Error::RequestTimeoutError => reply_timeout(CALL_DEADLINE, subject),
        Error::SocketNotFoundError(path) => no_answer(&format!("the socket `{path}` does not exist")).not_applied(),
        Error::HyperLegacyError { err } if err.is_connect() => no_answer(&root_cause(&err)).not_applied(),
        error @ (Error::HyperLegacyError { .. } | Error::HyperResponseError { .. } | Error::IOError { .. }) => {
            no_answer(&root_cause(&error))
        }
        other => EffectError::new(
            ErrorKind::Internal,
            format!("unexpected reply of the docker engine about {}: {other}", subject.describe()),
        ),
    }
}

fn no_answer(why: &str) -> EffectError {
    EffectError::new(ErrorKind::Unavailable, format!("the docker engine does not answer: {why}"))
        .hint("check whether the engine is running: docker info")
}

/// Returns the innermost cause of an error.
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Returns whether a cause of the error is a missing permission.
pub(super) fn is_permission(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(inner) = cause {
        if inner.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::PermissionDenied) {
            return true;
        }
        cause = inner.source();
    }
    false
}

fn error_from_status(status: u16, message: &str, subject: Subject<'_>) -> EffectError {
    if let Some(error) = error_from_text(message, subject) {
        return error;
    }
    let what = subject.describe();
    let reason = one_line(message);
    let error = match (status, subject) {
        (404, Subject::Start(_)) if !message.starts_with("No such container") => {
            EffectError::new(ErrorKind::NotFound, format!("{what} cannot start: {reason}"))
        }
        (404, _) => subject.not_found(),
        (409, Subject::NewContainer(name)) => container_name_taken(name),
        (409, _) => EffectError::new(ErrorKind::Conflict, format!("{what}: {reason}")),
        (400, _) => EffectError::new(ErrorKind::Invalid, format!("{what}: {reason}")),
        (401 | 403, _) => EffectError::new(ErrorKind::Refused, format!("{what}: {reason}")),
        (429 | 502..=504, _) => EffectError::new(ErrorKind::Unavailable, format!("{what}: {reason}")),
        _ => EffectError::new(ErrorKind::Failed, format!("{what}: {reason}")),
    };
    // A rejected request changed nothing; one that failed in the engine may have.
    if status >= 500 { error } else { error.not_applied() }
}

/// Recognizes errors for which the engine has no status of their own: it reports them as a plain 500.
fn error_from_text(message: &str, subject: Subject<'_>) -> Option<EffectError> {
    let lower = message.to_ascii_lowercase();
    if lower.contains("no space left on device") {
        return Some(EffectError::disk_full(&subject.describe()));
    }
    if lower.contains("port is already allocated") || lower.contains("address already in use") {
        let consequence = format!("{} cannot start", subject.describe());
        return Some(match port_in_use(message) {
            Some(port) => port_taken(port, None, &consequence),
            None => EffectError::new(ErrorKind::PortTaken, format!("a published port is taken, so {consequence}"))
                .hint("find the process that listens on it: ss -ltnp"),
        });
    }
    None
}

/// Returns the host port that could not be published because it is in use, if the error is about one.
pub(super) fn port_taken_in(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { message, .. } => port_in_use(message),
        Error::DockerStreamError { error } => port_in_use(error),
        _ => None,
    }
}

/// Returns the port in `Bind for 0.0.0.0:8080 failed: port is already allocated` or `listen tcp4 0.0.0.0:8080: bind:
/// address already in use`.
fn port_in_use(message: &str) -> Option<u16> {
    let end = message.find(" failed: port is already").or_else(|| message.find(": bind: address already in use"))?;
    message[..end].rsplit_once(':')?.1.parse().ok()
}

/// Joins the text into one line without a final full stop, to be part of a sentence.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::Applied;

    fn error_for(status_code: u16, message: &str, subject: Subject<'_>) -> EffectError {
        engine_error(Error::DockerResponseServerError { status_code, message: message.into() }, subject)
    }

    #[test]
    fn statuses_become_kinds() {
        for (status, subject, kind) in [
            (400, Subject::Container("web"), ErrorKind::Invalid),
            (403, Subject::Image("web"), ErrorKind::Refused),
            (404, Subject::Container("web"), ErrorKind::NotFound),
            (404, Subject::Image("web"), ErrorKind::NotFound),
            (409, Subject::NewContainer("web"), ErrorKind::NameTaken),
            (409, Subject::Volume("data"), ErrorKind::Conflict),
            (503, Subject::Engine, ErrorKind::Unavailable),
            (500, Subject::Engine, ErrorKind::Failed),
        ] {
            let error = error_for(status, "because.", subject);
            assert_eq!(error.kind, kind, "{status} {subject:?}");
            assert_eq!(error.applied == Applied::No, status < 500, "{status}");
        }
    }

    #[test]
    fn ports_in_use_are_named() {
        let allocated = "driver failed programming external connectivity on endpoint web (0a1): \
                         Bind for 0.0.0.0:8080 failed: port is already allocated";
        let listening = "Error starting userland proxy: listen tcp4 0.0.0.0:8081: bind: address already in use";
        let six = "Error starting userland proxy: listen tcp6 [::]:8082: bind: address already in use";
        for (message, port) in [(allocated, 8080), (listening, 8081), (six, 8082)] {
            assert_eq!(port_in_use(message), Some(port));
            let error = error_for(500, message, Subject::Start("web"));
            assert_eq!(error.kind, ErrorKind::PortTaken);
            assert_eq!(error.message, format!("port {port} is taken, so container `web` cannot start"));
        }
    }

    #[test]
    fn a_full_disk_is_recognized_in_replies_and_streams() {
        let text = "write /var/lib/x: no space left on device";
        assert_eq!(error_for(500, text, Subject::Image("web")).kind, ErrorKind::DiskFull);
        let stream = Error::DockerStreamError { error: text.into() };
        assert_eq!(engine_error(stream, Subject::Image("web")).kind, ErrorKind::DiskFull);
    }

    #[test]
    fn a_missing_network_is_not_a_missing_container() {
        let error = error_for(404, "network web-net not found", Subject::Start("web"));
        assert_eq!(error.message, "container `web` cannot start: network web-net not found");
        let error = error_for(404, "No such container: web", Subject::Start("web"));
        assert_eq!(error.message, "container `web` does not exist");
    }
}
