//! Builds images: sends the context, reports the steps, and keeps the last lines of output for the error.

use std::collections::HashMap;
use std::path::PathBuf;

use bollard::query_parameters::BuildImageOptionsBuilder;
use futures_util::TryStreamExt;
use tokio_util::io::ReaderStream;

use super::build_context::{self, BuildContext};
use super::{Images, credentials};
use crate::base::byte_size::ByteSize;
use crate::base::labels;
use crate::effect::image::{BuildImage, Image, build_failed, image_not_found, image_timed_out, with_tag};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::docker::client::unless_cancelled;
use crate::world::docker::error::{Subject, engine_error, one_line};
use crate::world::docker::names;
use crate::world::docker::output_tail::{LineTail, PartialLine};

/// How many lines and bytes of output the error of a failed build shows.
const DETAIL_LINES: usize = 40;
const DETAIL_BYTES: usize = 32 << 10;

impl Images {
    pub(super) async fn build(&self, call: &Call, request: &BuildImage) -> Result<Image, EffectError> {
        let tag = with_tag(names::validate_image(&request.tag)?);
        let what = request.label();
        let build = async {
            let context = pack(call, request).await?;
            self.send(call, request, &tag, context).await
        };
        match tokio::time::timeout(request.timeout.0, unless_cancelled(call, &what, build)).await {
            Ok(built) => built?,
            Err(_) => {
                return Err(image_timed_out(&what, request.timeout));
            }
        }
        self.find(&tag).await?.ok_or_else(|| image_not_found(&tag))
    }

    async fn send(
        &self,
        call: &Call,
        request: &BuildImage,
        tag: &str,
        context: BuildContext,
    ) -> Result<(), EffectError> {
        let arguments = request
            .args
            .iter()
            .map(|(key, value)| Ok((key.clone(), call.vault.reveal(value)?)))
            .collect::<Result<HashMap<_, _>, EffectError>>()?;
        let mut all: HashMap<String, String> = request.labels.clone().into_iter().collect();
        all.extend(call.labels().map(|(key, value)| (key.to_owned(), value)));
        all.insert(labels::IMAGE.into(), tag.into());
        let mut options = BuildImageOptionsBuilder::new()
            .dockerfile(&request.dockerfile)
            .t(tag)
            .buildargs(&arguments)
            .labels(&all)
            .nocache(request.no_cache)
            .rm(true)
            .forcerm(true);
        if let Some(target) = &request.target {
            options = options.target(target);
        }
        if request.pull {
            options = options.pull("true");
        }
        let stored = credentials::all(self.client.config_folder.as_deref())?;
        let body = bollard::body_try_stream(ReaderStream::new(tokio::fs::File::from_std(context.archive)));
        let mut progress = BuildProgress::default();
        let mut stream =
            self.client.docker.build_image(options.build(), (!stored.is_empty()).then_some(stored), Some(body));
        loop {
            match stream.try_next().await {
                Ok(Some(message)) => {
                    if let Some(text) = message.stream {
                        progress.output(call, &text);
                    } else if let Some(status) = message.status {
                        progress.line(call, message.id.map_or(status.clone(), |id| format!("{id}: {status}")));
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(progress.failure(error, tag)),
            }
        }
    }
}

/// Packs the context on a blocking thread.
async fn pack(call: &Call, request: &BuildImage) -> Result<BuildContext, EffectError> {
    let (folder, dockerfile) = (PathBuf::from(&request.context), request.dockerfile.clone());
    let packed = tokio::task::spawn_blocking(move || build_context::pack(&folder, &dockerfile)).await;
    let context = packed.map_err(|error| {
        EffectError::new(ErrorKind::Internal, format!("packing the build context failed: {error}"))
    })??;
    call.report_progress(format!(
        "sending {} files, {} KiB",
        context.files,
        context.bytes.div_ceil(ByteSize(1 << 10).0)
    ));
    Ok(context)
}

/// The output of a build so far.
struct BuildProgress {
    tail: LineTail,
    partial_line: PartialLine,
    fraction: Option<f32>,
}

impl Default for BuildProgress {
    fn default() -> Self {
        Self { tail: LineTail::new(DETAIL_LINES, DETAIL_BYTES), partial_line: PartialLine::default(), fraction: None }
    }
}

impl BuildProgress {
    fn output(&mut self, call: &Call, text: &str) {
        let mut lines = Vec::new();
        self.partial_line.push(text.as_bytes(), |line| lines.push(line));
        for line in lines {
            self.line(call, line);
        }
    }

    fn line(&mut self, call: &Call, line: String) {
        if line.trim().is_empty() {
            return;
        }
        self.fraction = step_fraction(&line).or(self.fraction);
        match self.fraction {
            Some(fraction) => call.report_progress_fraction(line.clone(), fraction),
            None => call.report_progress(line.clone()),
        }
        self.tail.push(line);
    }

    fn failure(self, error: bollard::errors::Error, tag: &str) -> EffectError {
        let error = match error {
            bollard::errors::Error::DockerStreamError { error } => {
                let converted = engine_error(
                    bollard::errors::Error::DockerStreamError { error: error.clone() },
                    Subject::Image(tag),
                );
                match converted.kind {
                    ErrorKind::Failed => build_failed(tag, &one_line(&error)),
                    _ => converted,
                }
            }
            bollard::errors::Error::DockerResponseServerError { message, status_code: 400..=499 } => {
                build_failed(tag, &one_line(&message))
            }
            other => engine_error(other, Subject::Image(tag)),
        };
        error.detail(self.tail.text())
    }
}

/// Returns the share that is done at the start of a step such as `Step 3/7 : RUN make`.
fn step_fraction(line: &str) -> Option<f32> {
    let (step, of) = line.strip_prefix("Step ")?.split_once(" : ")?.0.split_once('/')?;
    let (step, of) = (step.parse::<u16>().ok()?, of.parse::<u16>().ok()?);
    (step >= 1 && step <= of).then(|| f32::from(step - 1) / f32::from(of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_progress_of_steps() {
        assert_eq!(step_fraction("Step 1/4 : FROM scratch"), Some(0.0));
        assert_eq!(step_fraction("Step 3/4 : RUN x : y"), Some(0.5));
        for line in ["Step 5/4 : X", "Step x/4 : X", "Step 1/4", " ---> abc", "Step 0/0 : X"] {
            assert_eq!(step_fraction(line), None, "{line}");
        }
    }
}
