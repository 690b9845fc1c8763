//! Loads images from an archive that `docker save` wrote.

use bollard::errors::Error;
use bollard::query_parameters::ImportImageOptionsBuilder;
use futures_util::TryStreamExt;
use tokio_util::io::ReaderStream;

use super::Images;
use super::transfer::within_timeout;
use crate::effect::image::{Image, LoadImage, image_not_found};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::docker::error::{Subject, engine_error, one_line};

/// The engine's messages for each image that it loaded.
const LOADED: [&str; 2] = ["Loaded image: ", "Loaded image ID: "];

impl Images {
    pub(super) async fn load(&self, call: &Call, request: &LoadImage) -> Result<Vec<Image>, EffectError> {
        let file = tokio::fs::File::open(&request.file).await.map_err(|error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::Refused,
            };
            request.unreadable(kind, &error)
        })?;
        let load = async {
            let mut loaded = Vec::new();
            let body = bollard::body_try_stream(ReaderStream::new(file));
            let mut stream = self.client.docker.import_image(ImportImageOptionsBuilder::new().build(), body, None);
            loop {
                match stream.try_next().await {
                    Ok(Some(message)) => {
                        if let Some(line) = message.stream.as_deref().map(str::trim).filter(|line| !line.is_empty()) {
                            call.report_progress(line);
                            loaded.extend(
                                LOADED.iter().find_map(|prefix| line.strip_prefix(prefix)).map(ToOwned::to_owned),
                            );
                        } else if let Some(status) = message.status {
                            call.report_progress(status);
                        }
                    }
                    Ok(None) => return Ok(loaded),
                    Err(error) => return Err(load_error(error, &request.file)),
                }
            }
        };
        let loaded = within_timeout(call, &format!("loading `{}`", request.file), request.timeout, load).await?;
        let mut images: Vec<Image> = Vec::new();
        for name in loaded {
            let image = self.find(&name).await?.ok_or_else(|| image_not_found(&name))?;
            if images.iter().all(|other| other.id != image.id) {
                images.push(image);
            }
        }
        if images.is_empty() {
            return Err(invalid_archive(&request.file, "it contains no image"));
        }
        Ok(images)
    }
}

fn invalid_archive(file: &str, why: &str) -> EffectError {
    EffectError::new(ErrorKind::Invalid, format!("`{file}` is not an image archive: {why}"))
        .hint(format!("create one: docker save --output {file} IMAGE"))
}

fn load_error(error: Error, file: &str) -> EffectError {
    match error {
        Error::DockerStreamError { error } | Error::DockerResponseServerError { message: error, .. } => {
            match engine_error(Error::DockerStreamError { error: error.clone() }, Subject::Engine) {
                full if full.kind == ErrorKind::DiskFull => full,
                _ => invalid_archive(file, &one_line(&error)),
            }
        }
        other => engine_error(other, Subject::Engine),
    }
}
