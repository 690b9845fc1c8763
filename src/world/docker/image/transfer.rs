//! What pulls, pushes and loads share: the timeout, the progress, and errors of registries.

use std::collections::HashMap;

use bollard::errors::Error;
use bollard::models::ProgressDetail;

use crate::base::duration_text::DurationText;
use crate::effect::image::{TransferDirection, image_timed_out, transfer_failed};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::docker::client::unless_cancelled;
use crate::world::docker::error::{Subject, engine_error, one_line};

/// The most layers whose progress is added up. An image has at most 127.
const LAYERS_MAX: usize = 512;

/// Limits `work` by the request's timeout, and ends it when the run is cancelled.
pub(super) async fn within_timeout<T>(
    call: &Call,
    what: &str,
    timeout: DurationText,
    work: impl Future<Output = Result<T, EffectError>>,
) -> Result<T, EffectError> {
    tokio::time::timeout(timeout.0, unless_cancelled(call, what, work))
        .await
        .unwrap_or_else(|_| Err(image_timed_out(what, timeout)))
}

/// Converts an error of a pull or push. The engine passes on a registry's replies as text, most of them with status 500
/// or inside a successful reply.
pub(super) fn transfer_error(error: Error, direction: TransferDirection, name: &str) -> EffectError {
    let (status, text) = match &error {
        Error::DockerResponseServerError { status_code, message } => (*status_code, message.clone()),
        Error::DockerStreamError { error } => (0, error.clone()),
        _ => return engine_error(error, Subject::Image(name)),
    };
    let plain = engine_error(error, Subject::Image(name));
    if plain.kind == ErrorKind::DiskFull {
        return plain;
    }
    let lower = text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let kind = if matches!(status, 401 | 403) || has(&["denied", "unauthorized", "no basic auth", "forbidden"]) {
        ErrorKind::Refused
    } else if status == 404 || has(&["not found", "manifest unknown", "name unknown"]) {
        ErrorKind::NotFound
    } else {
        ErrorKind::Unavailable
    };
    transfer_failed(direction, kind, name, &one_line(&text))
}

/// The progress in bytes of each layer, as far as it is known.
#[derive(Default)]
pub(super) struct TransferProgress {
    layers: HashMap<String, (i64, i64)>,
}

impl TransferProgress {
    pub(super) fn report(
        &mut self,
        call: &Call,
        id: Option<String>,
        status: Option<String>,
        detail: Option<ProgressDetail>,
    ) {
        let Some(status) = status else { return };
        if let (Some(id), Some(ProgressDetail { current: Some(current), total: Some(total) })) = (&id, detail)
            && (self.layers.len() < LAYERS_MAX || self.layers.contains_key(id))
        {
            self.layers.insert(id.clone(), (current.min(total), total));
        }
        let text = id.map_or(status.clone(), |id| format!("{id}: {status}"));
        let (done, total) = self.layers.values().fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
        if total > 0 {
            // Only displayed, so the lost precision does not matter.
            call.report_progress_fraction(text, done as f32 / total as f32);
        } else {
            call.report_progress(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_replies_become_error_kinds() {
        let stream = |text: &str| Error::DockerStreamError { error: text.into() };
        let reply =
            |status_code, message: &str| Error::DockerResponseServerError { status_code, message: message.into() };
        for (error, kind) in [
            (reply(404, "manifest for web:v1 not found: manifest unknown"), ErrorKind::NotFound),
            (reply(404, "pull access denied for web, repository does not exist"), ErrorKind::Refused),
            (reply(500, "Get https://r/v2/: unauthorized: authentication required"), ErrorKind::Refused),
            (
                reply(500, "Get https://r/v2/: dial tcp 127.0.0.1:1: connect: connection refused"),
                ErrorKind::Unavailable,
            ),
            (stream("no basic auth credentials"), ErrorKind::Refused),
            (stream("write /x: no space left on device"), ErrorKind::DiskFull),
        ] {
            let shown = error.to_string();
            assert_eq!(transfer_error(error, TransferDirection::Pull, "r.example/web:v1").kind, kind, "{shown}");
        }
    }
}
