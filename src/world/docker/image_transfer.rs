//! Images on their way: pull, push, load.

use std::collections::HashMap;

use bollard::errors::Error;
use bollard::models::{ErrorDetail, ProgressDetail};
use bollard::query_parameters::{CreateImageOptionsBuilder, ImportImageOptionsBuilder, PushImageOptionsBuilder};
use futures_util::TryStreamExt;
use tokio_util::io::ReaderStream;

use super::error::{About, ask, explain, missing_image, one_line};
use super::{DockerEngine, credentials, names, unless_cancelled};
use crate::base::duration_text::DurationText;
use crate::effect::image::{Image, LoadImage, PullImage, PushImage, Pushed, with_tag};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// Layers whose progress is added up; an image has at most 127.
const MOST_LAYERS: usize = 512;
/// What the engine says of every image that it read from an archive.
const LOADED: [&str; 2] = ["Loaded image: ", "Loaded image ID: "];

impl DockerEngine {
    pub(super) async fn pull(&self, call: &Call, request: &PullImage) -> Result<Image, EffectError> {
        // Without a tag the engine would fetch every one of them.
        let name = with_tag(names::image(&request.image)?);
        let given = (request.username.as_ref(), request.password.as_ref());
        let config = self.config_folder.as_deref();
        let auth = credentials::for_registry(config, names::registry(&name), given, &call.vault).await?;
        let options = CreateImageOptionsBuilder::new().from_image(&name).build();
        let pull = async {
            let mut progress = TransferProgress::default();
            let mut stream = self.docker.create_image(Some(options), None, auth);
            while let Some(said) = stream.try_next().await.map_err(|error| transfer_error(error, "pulled", &name))? {
                progress.tell(call, said.id, said.status, said.progress_detail);
            }
            Ok(())
        };
        in_time(call, &format!("the pull of image `{name}`"), request.timeout, pull).await?;
        self.image_named(&name).await?.ok_or_else(|| missing_image(&name))
    }

    pub(super) async fn push(&self, call: &Call, request: &PushImage) -> Result<Pushed, EffectError> {
        let name = with_tag(names::image(&request.image)?);
        if self.image_named(&name).await?.is_none() {
            return Err(missing_image(&name));
        }
        let given = (request.username.as_ref(), request.password.as_ref());
        let config = self.config_folder.as_deref();
        let auth = credentials::for_registry(config, names::registry(&name), given, &call.vault).await?;
        let (repository, tag) = names::repository_and_tag(&name);
        let options = PushImageOptionsBuilder::new().tag(&tag).build();
        let push = async {
            let mut progress = TransferProgress::default();
            let mut stream = self.docker.push_image(&repository, Some(options), auth);
            while let Some(said) = stream.try_next().await.map_err(|error| transfer_error(error, "pushed", &name))? {
                if let Some(ErrorDetail { message: Some(error), .. }) = said.error_detail {
                    return Err(transfer_error(Error::DockerStreamError { error }, "pushed", &name));
                }
                progress.tell(call, None, said.status, said.progress_detail);
            }
            Ok(())
        };
        in_time(call, &format!("the push of image `{name}`"), request.timeout, push).await?;
        let pushed = ask(About::Image(&name), self.docker.inspect_image(&name)).await?;
        let digests = pushed.repo_digests.unwrap_or_default();
        let digest = digests.iter().filter_map(|digest| digest.split_once('@')).find_map(|(place, digest)| {
            (names::familiar(place) == names::familiar(&repository)).then(|| digest.to_owned())
        });
        Ok(Pushed { digest })
    }

    pub(super) async fn load(&self, call: &Call, request: &LoadImage) -> Result<Vec<Image>, EffectError> {
        let file = tokio::fs::File::open(&request.file).await.map_err(|error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::Refused,
            };
            EffectError::new(kind, format!("the image archive `{}` cannot be read: {error}", request.file))
                .hint(format!("write one: docker save --output {} IMAGE", request.file))
                .not_applied()
        })?;
        let load = async {
            let mut loaded = Vec::new();
            let body = bollard::body_try_stream(ReaderStream::new(file));
            let mut stream = self.docker.import_image(ImportImageOptionsBuilder::new().build(), body, None);
            loop {
                match stream.try_next().await {
                    Ok(Some(said)) => {
                        if let Some(line) = said.stream.as_deref().map(str::trim).filter(|line| !line.is_empty()) {
                            call.tell(line);
                            loaded.extend(
                                LOADED.iter().find_map(|words| line.strip_prefix(words)).map(ToOwned::to_owned),
                            );
                        } else if let Some(status) = said.status {
                            call.tell(status);
                        }
                    }
                    Ok(None) => return Ok(loaded),
                    Err(error) => return Err(load_error(error, &request.file)),
                }
            }
        };
        let loaded = in_time(call, &format!("loading `{}`", request.file), request.timeout, load).await?;
        let mut images: Vec<Image> = Vec::new();
        for name in loaded {
            let image = self.image_named(&name).await?.ok_or_else(|| missing_image(&name))?;
            if images.iter().all(|other| other.id != image.id) {
                images.push(image);
            }
        }
        if images.is_empty() {
            return Err(no_archive(&request.file, "there is no image in it"));
        }
        Ok(images)
    }
}

async fn in_time<T>(
    call: &Call,
    what: &str,
    timeout: DurationText,
    work: impl Future<Output = Result<T, EffectError>>,
) -> Result<T, EffectError> {
    tokio::time::timeout(timeout.0, unless_cancelled(call, what, work)).await.unwrap_or_else(|_| {
        Err(EffectError::new(ErrorKind::Timeout, format!("{what} did not end within {timeout}"))
            .hint("give it more time with the option `timeout`"))
    })
}

fn no_archive(file: &str, why: &str) -> EffectError {
    EffectError::new(ErrorKind::Invalid, format!("`{file}` is not an archive of images: {why}"))
        .hint(format!("write one: docker save --output {file} IMAGE"))
}

fn load_error(error: Error, file: &str) -> EffectError {
    match error {
        Error::DockerStreamError { error } | Error::DockerResponseServerError { message: error, .. } => {
            match explain(Error::DockerStreamError { error: error.clone() }, About::Engine) {
                full if full.kind == ErrorKind::DiskFull => full,
                _ => no_archive(file, &one_line(&error)),
            }
        }
        other => explain(other, About::Engine),
    }
}

/// The engine passes a registry's answers on as text, and most of them with status 500 or inside a good answer.
fn transfer_error(error: Error, done: &str, name: &str) -> EffectError {
    let (status, text) = match &error {
        Error::DockerResponseServerError { status_code, message } => (*status_code, message.clone()),
        Error::DockerStreamError { error } => (0, error.clone()),
        _ => return explain(error, About::Image(name)),
    };
    let plain = explain(error, About::Image(name));
    if plain.kind == ErrorKind::DiskFull {
        return plain;
    }
    let lower = text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let registry = names::registry(name);
    let (kind, hint) = if matches!(status, 401 | 403) || has(&["denied", "unauthorized", "no basic auth", "forbidden"])
    {
        (ErrorKind::Refused, format!("log in to the registry: docker login {registry}"))
    } else if status == 404 || has(&["not found", "manifest unknown", "name unknown"]) {
        (ErrorKind::NotFound, format!("see which tags the registry `{registry}` has, or build the image here"))
    } else {
        (
            ErrorKind::Unavailable,
            format!("see whether the registry `{registry}` can be reached from the engine's machine"),
        )
    };
    EffectError::new(kind, format!("image `{name}` cannot be {done}: {}", one_line(&text))).hint(hint)
}

/// The bytes of every layer, as far as they are known.
#[derive(Default)]
struct TransferProgress {
    layers: HashMap<String, (i64, i64)>,
}

impl TransferProgress {
    fn tell(&mut self, call: &Call, id: Option<String>, status: Option<String>, detail: Option<ProgressDetail>) {
        let Some(status) = status else { return };
        if let (Some(id), Some(ProgressDetail { current: Some(current), total: Some(total) })) = (&id, detail)
            && (self.layers.len() < MOST_LAYERS || self.layers.contains_key(id))
        {
            self.layers.insert(id.clone(), (current.min(total), total));
        }
        let text = id.map_or(status.clone(), |id| format!("{id}: {status}"));
        let (done, total) = self.layers.values().fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
        if total > 0 {
            // Only shown: the lost digits do not matter.
            call.tell_fraction(text, done as f32 / total as f32);
        } else {
            call.tell(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_registries_become_kinds() {
        let stream = |text: &str| Error::DockerStreamError { error: text.into() };
        let answer =
            |status_code, message: &str| Error::DockerResponseServerError { status_code, message: message.into() };
        for (error, kind) in [
            (answer(404, "manifest for web:v1 not found: manifest unknown"), ErrorKind::NotFound),
            (answer(404, "pull access denied for web, repository does not exist"), ErrorKind::Refused),
            (answer(500, "Get https://r/v2/: unauthorized: authentication required"), ErrorKind::Refused),
            (
                answer(500, "Get https://r/v2/: dial tcp 127.0.0.1:1: connect: connection refused"),
                ErrorKind::Unavailable,
            ),
            (stream("no basic auth credentials"), ErrorKind::Refused),
            (stream("write /x: no space left on device"), ErrorKind::DiskFull),
        ] {
            let shown = error.to_string();
            assert_eq!(transfer_error(error, "pulled", "r.example/web:v1").kind, kind, "{shown}");
        }
    }
}
