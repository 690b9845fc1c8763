//! Building images: sends the context, tells of the steps, keeps the last lines for the error.

use std::collections::HashMap;
use std::path::PathBuf;

use bollard::query_parameters::BuildImageOptionsBuilder;
use futures_util::TryStreamExt;
use tokio_util::io::ReaderStream;

use super::build_context::{self, BuildContext};
use super::error::{About, explain, missing_image, one_line};
use super::output::{LineTail, Unfinished};
use super::{DockerEngine, credentials, names, unless_cancelled};
use crate::base::byte_size::ByteSize;
use crate::base::labels;
use crate::effect::image::{BuildImage, Image, with_tag};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// Lines of a failed build that its error shows.
const SHOWN_LINES: usize = 40;
const SHOWN_BYTES: usize = 32 << 10;

impl DockerEngine {
    pub(super) async fn build(&self, call: &Call, request: &BuildImage) -> Result<Image, EffectError> {
        let tag = with_tag(names::image(&request.tag)?);
        let what = format!("the build of image `{tag}`");
        let build = async {
            let context = pack(call, request).await?;
            self.send(call, request, &tag, context).await
        };
        match tokio::time::timeout(request.timeout.0, unless_cancelled(call, &what, build)).await {
            Ok(built) => built?,
            Err(_) => {
                return Err(EffectError::new(
                    ErrorKind::Timeout,
                    format!("{what} did not end within {}", request.timeout),
                )
                .hint("give it more time with the option `timeout`"));
            }
        }
        self.image_named(&tag).await?.ok_or_else(|| missing_image(&tag))
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
        let stored = credentials::all(self.config_folder.as_deref())?;
        let body = bollard::body_try_stream(ReaderStream::new(tokio::fs::File::from_std(context.archive)));
        let mut progress = BuildProgress::default();
        let mut stream = self.docker.build_image(options.build(), (!stored.is_empty()).then_some(stored), Some(body));
        loop {
            match stream.try_next().await {
                Ok(Some(said)) => {
                    if let Some(text) = said.stream {
                        progress.output(call, &text);
                    } else if let Some(status) = said.status {
                        progress.line(call, said.id.map_or(status.clone(), |id| format!("{id}: {status}")));
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(progress.failure(error, tag)),
            }
        }
    }
}

/// Packs the context on a thread that may block.
async fn pack(call: &Call, request: &BuildImage) -> Result<BuildContext, EffectError> {
    let (folder, dockerfile) = (PathBuf::from(&request.context), request.dockerfile.clone());
    let packed = tokio::task::spawn_blocking(move || build_context::pack(&folder, &dockerfile)).await;
    let context =
        packed.map_err(|error| EffectError::new(ErrorKind::Internal, format!("packing broke off: {error}")))??;
    call.tell(format!("sending {} files, {} KiB", context.files, context.bytes.div_ceil(ByteSize(1 << 10).0)));
    Ok(context)
}

/// What a build said so far.
struct BuildProgress {
    tail: LineTail,
    unfinished: Unfinished,
    fraction: Option<f32>,
}

impl Default for BuildProgress {
    fn default() -> Self {
        Self { tail: LineTail::new(SHOWN_LINES, SHOWN_BYTES), unfinished: Unfinished::default(), fraction: None }
    }
}

impl BuildProgress {
    fn output(&mut self, call: &Call, text: &str) {
        let mut lines = Vec::new();
        self.unfinished.push(text.as_bytes(), |line| lines.push(line));
        for line in lines {
            self.line(call, line);
        }
    }

    fn line(&mut self, call: &Call, line: String) {
        if line.trim().is_empty() {
            return;
        }
        self.fraction = step(&line).or(self.fraction);
        match self.fraction {
            Some(fraction) => call.tell_fraction(line.clone(), fraction),
            None => call.tell(line.clone()),
        }
        self.tail.push(line);
    }

    fn failure(self, error: bollard::errors::Error, tag: &str) -> EffectError {
        let error = match error {
            bollard::errors::Error::DockerStreamError { error } => {
                let broke =
                    explain(bollard::errors::Error::DockerStreamError { error: error.clone() }, About::Image(tag));
                match broke.kind {
                    ErrorKind::Failed => failed(tag, &error),
                    _ => broke,
                }
            }
            bollard::errors::Error::DockerResponseServerError { message, status_code: 400..=499 } => {
                failed(tag, &message)
            }
            other => explain(other, About::Image(tag)),
        };
        error.detail(self.tail.text())
    }
}

fn failed(tag: &str, why: &str) -> EffectError {
    EffectError::new(ErrorKind::Failed, format!("image `{tag}` cannot be built: {}", one_line(why)))
}

/// How much is done at the beginning of `Step 3/7 : RUN make`.
fn step(line: &str) -> Option<f32> {
    let (step, of) = line.strip_prefix("Step ")?.split_once(" : ")?.0.split_once('/')?;
    let (step, of) = (step.parse::<u16>().ok()?, of.parse::<u16>().ok()?);
    (step >= 1 && step <= of).then(|| f32::from(step - 1) / f32::from(of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_progress() {
        assert_eq!(step("Step 1/4 : FROM scratch"), Some(0.0));
        assert_eq!(step("Step 3/4 : RUN x : y"), Some(0.5));
        for line in ["Step 5/4 : X", "Step x/4 : X", "Step 1/4", " ---> abc", "Step 0/0 : X"] {
            assert_eq!(step(line), None, "{line}");
        }
    }
}
