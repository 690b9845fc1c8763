//! What the engine answers, as errors that scripts catch. Knows statuses and no request.

use std::error::Error as _;
use std::time::Duration;

use bollard::errors::Error;

use crate::effect::{EffectError, ErrorKind};

/// How long one short question to the engine may take: a daemon can hold a container's lock for ever.
/// Less than an effect's own patience, so that the error tells what was waited for.
pub(super) const CALL_DEADLINE: Duration = Duration::from_secs(50);

/// What a request was about: decides what "not found" and "conflict" mean.
#[derive(Clone, Copy, Debug)]
pub(super) enum About<'a> {
    Engine,
    Container(&'a str),
    NewContainer(&'a str),
    Start(&'a str),
    Image(&'a str),
    Volume(&'a str),
    Network(&'a str),
}

impl About<'_> {
    fn words(self) -> String {
        match self {
            Self::Engine => "the docker engine".into(),
            Self::Container(name) | Self::NewContainer(name) | Self::Start(name) => format!("container `{name}`"),
            Self::Image(name) => format!("image `{name}`"),
            Self::Volume(name) => format!("volume `{name}`"),
            Self::Network(name) => format!("network `{name}`"),
        }
    }

    fn list_command(self) -> &'static str {
        match self {
            Self::Engine => "docker info",
            Self::Container(_) | Self::NewContainer(_) | Self::Start(_) => "docker ps --all",
            Self::Image(_) => "docker images",
            Self::Volume(_) => "docker volume ls",
            Self::Network(_) => "docker network ls",
        }
    }
}

/// Waits for the engine, but not for ever.
pub(super) async fn within<T>(
    deadline: Duration,
    about: About<'_>,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, EffectError> {
    match tokio::time::timeout(deadline, answer).await {
        Ok(answer) => answer.map_err(|error| explain(error, about)),
        Err(_) => Err(too_slow(deadline, about)),
    }
}

/// The same for a short question.
pub(super) async fn ask<T>(about: About<'_>, answer: impl Future<Output = Result<T, Error>>) -> Result<T, EffectError> {
    within(CALL_DEADLINE, about, answer).await
}

/// None where the thing does not exist.
pub(super) fn found<T>(answer: Result<T, EffectError>) -> Result<Option<T>, EffectError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn too_slow(deadline: Duration, about: About<'_>) -> EffectError {
    EffectError::new(
        ErrorKind::Timeout,
        format!("the docker engine did not answer about {} within {} s", about.words(), deadline.as_secs()),
    )
    .hint("the daemon may hold the container's lock; see `docker ps` and the daemon's log: journalctl -u docker")
}

pub(super) fn explain(error: Error, about: About<'_>) -> EffectError {
    match error {
        Error::DockerResponseServerError { status_code, message } => refusal(status_code, &message, about),
        Error::DockerStreamError { error } => by_text(&error, about)
            .unwrap_or_else(|| EffectError::new(ErrorKind::Failed, format!("{}: {}", about.words(), one_line(&error)))),
        Error::RequestTimeoutError => too_slow(CALL_DEADLINE, about),
        Error::SocketNotFoundError(path) => silent(&format!("there is no socket `{path}`")).not_applied(),
        Error::HyperLegacyError { err } if err.is_connect() => silent(&root_cause(&err)).not_applied(),
        error @ (Error::HyperLegacyError { .. } | Error::HyperResponseError { .. } | Error::IOError { .. }) => {
            silent(&root_cause(&error))
        }
        other => EffectError::new(
            ErrorKind::Internal,
            format!("the docker engine's answer about {} is not understood: {other}", about.words()),
        ),
    }
}

fn silent(why: &str) -> EffectError {
    EffectError::new(ErrorKind::Unavailable, format!("the docker engine does not answer: {why}"))
        .hint("see whether the engine is still running: docker info")
}

/// The innermost reason of an error.
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Whether the innermost reason is missing permission.
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

fn refusal(status: u16, message: &str, about: About<'_>) -> EffectError {
    if let Some(error) = by_text(message, about) {
        return error;
    }
    let what = about.words();
    let said = one_line(message);
    match (status, about) {
        (404, About::Start(_)) if !message.starts_with("No such container") => {
            EffectError::new(ErrorKind::NotFound, format!("{what} cannot start: {said}"))
        }
        (404, About::Image(name)) => missing_image(name),
        (404, _) => EffectError::new(ErrorKind::NotFound, format!("{what} does not exist"))
            .hint(format!("list what there is: {}", about.list_command())),
        (409, About::NewContainer(name)) => name_taken(name),
        (409, _) => EffectError::new(ErrorKind::Conflict, format!("{what}: {said}")),
        (400, _) => EffectError::new(ErrorKind::Invalid, format!("{what}: {said}")),
        (401 | 403, _) => EffectError::new(ErrorKind::Refused, format!("{what}: {said}")),
        (429 | 502..=504, _) => EffectError::new(ErrorKind::Unavailable, format!("{what}: {said}")),
        _ => EffectError::new(ErrorKind::Failed, format!("{what}: {said}")),
    }
    .known_unless(status >= 500)
}

/// A refused request changed nothing; one that broke may have.
trait KnownUnless {
    fn known_unless(self, broke: bool) -> Self;
}

impl KnownUnless for EffectError {
    fn known_unless(self, broke: bool) -> Self {
        if broke { self } else { self.not_applied() }
    }
}

pub(super) fn missing_image(name: &str) -> EffectError {
    EffectError::new(ErrorKind::NotFound, format!("image `{name}` is not on this engine"))
        .hint(format!("build it first, or fetch it: docker pull {name}"))
        .not_applied()
}

pub(super) fn name_taken(name: &str) -> EffectError {
    EffectError::new(ErrorKind::NameTaken, format!("there is a container named `{name}` already"))
        .hint(format!("see what it is: docker inspect {name}"))
        .not_applied()
}

/// The cases for which the engine has no status of their own: both come as a plain 500.
fn by_text(message: &str, about: About<'_>) -> Option<EffectError> {
    let lower = message.to_ascii_lowercase();
    if lower.contains("no space left on device") {
        return Some(
            EffectError::new(ErrorKind::DiskFull, format!("{}: no space left on the engine's disk", about.words()))
                .hint("see what takes the room: docker system df"),
        );
    }
    if lower.contains("port is already allocated") || lower.contains("address already in use") {
        let (what, hint) = match taken_port(message) {
            Some(port) => (format!("port {port} is taken"), format!("see who listens: ss -ltnp 'sport = :{port}'")),
            None => ("a published port is taken".into(), "see who listens: ss -ltnp".into()),
        };
        return Some(
            EffectError::new(ErrorKind::PortTaken, format!("{what}, so {} cannot start", about.words())).hint(hint),
        );
    }
    None
}

/// The port in `Bind for 0.0.0.0:8080 failed: port is already allocated` or
/// `listen tcp4 0.0.0.0:8080: bind: address already in use`.
pub(super) fn taken_port(message: &str) -> Option<u16> {
    let end = message.find(" failed: port is already").or_else(|| message.find(": bind: address already in use"))?;
    message[..end].rsplit_once(':')?.1.parse().ok()
}

/// The engine's words without line ends and full stop, as a part of a sentence.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::Applied;

    fn answer(status_code: u16, message: &str, about: About<'_>) -> EffectError {
        explain(Error::DockerResponseServerError { status_code, message: message.into() }, about)
    }

    #[test]
    fn statuses_become_kinds() {
        for (status, about, kind) in [
            (400, About::Container("web"), ErrorKind::Invalid),
            (403, About::Image("web"), ErrorKind::Refused),
            (404, About::Container("web"), ErrorKind::NotFound),
            (404, About::Image("web"), ErrorKind::NotFound),
            (409, About::NewContainer("web"), ErrorKind::NameTaken),
            (409, About::Volume("data"), ErrorKind::Conflict),
            (503, About::Engine, ErrorKind::Unavailable),
            (500, About::Engine, ErrorKind::Failed),
        ] {
            let error = answer(status, "because.", about);
            assert_eq!(error.kind, kind, "{status} {about:?}");
            assert_eq!(error.applied == Applied::No, status < 500, "{status}");
        }
    }

    #[test]
    fn taken_ports_are_named() {
        let allocated = "driver failed programming external connectivity on endpoint web (0a1): \
                         Bind for 0.0.0.0:8080 failed: port is already allocated";
        let listening = "Error starting userland proxy: listen tcp4 0.0.0.0:8081: bind: address already in use";
        let six = "Error starting userland proxy: listen tcp6 [::]:8082: bind: address already in use";
        for (message, port) in [(allocated, 8080), (listening, 8081), (six, 8082)] {
            assert_eq!(taken_port(message), Some(port));
            let error = answer(500, message, About::Start("web"));
            assert_eq!(error.kind, ErrorKind::PortTaken);
            assert_eq!(error.message, format!("port {port} is taken, so container `web` cannot start"));
        }
    }

    #[test]
    fn a_full_disk_is_told_wherever_it_shows() {
        let text = "write /var/lib/x: no space left on device";
        assert_eq!(answer(500, text, About::Image("web")).kind, ErrorKind::DiskFull);
        let stream = Error::DockerStreamError { error: text.into() };
        assert_eq!(explain(stream, About::Image("web")).kind, ErrorKind::DiskFull);
    }

    #[test]
    fn a_missing_network_is_no_missing_container() {
        let error = answer(404, "network web-net not found", About::Start("web"));
        assert_eq!(error.message, "container `web` cannot start: network web-net not found");
        let error = answer(404, "No such container: web", About::Start("web"));
        assert_eq!(error.message, "container `web` does not exist");
    }
}
