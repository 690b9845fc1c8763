//! Reads container logs: the last lines for scripts, the whole log into a file.

use std::path::Path;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::TryStreamExt;
use tokio::io::AsyncWriteExt;

use super::Containers;
use crate::base::container_ref::ContainerRef;
use crate::effect::container::{Logs, ReadLogs};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::docker::client::unless_cancelled;
use crate::world::docker::error::{CALL_DEADLINE, Subject, await_reply_within, engine_error};
use crate::world::docker::names;
use crate::world::docker::output_tail::{LineTail, PartialLine};

/// The most lines and bytes of log that are returned.
const LOG_LINES_MAX: usize = 10_000;
const LOG_BYTES_MAX: usize = 4 << 20;

/// How long the engine may send nothing while a log is read.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

impl Containers {
    pub(super) async fn logs(&self, call: &Call, request: &ReadLogs) -> Result<Logs, EffectError> {
        let read = self.log_lines(&request.container, request.tail);
        unless_cancelled(call, "reading the log", read).await.map(|lines| Logs { lines })
    }

    /// Returns the last lines of the log, oldest first.
    pub(in crate::world::docker) async fn log_lines(
        &self,
        container: &ContainerRef,
        tail: u64,
    ) -> Result<Vec<String>, EffectError> {
        let name = names::validate("container", &container.key)?;
        let limit = usize::try_from(tail).unwrap_or(LOG_LINES_MAX).min(LOG_LINES_MAX);
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&limit.to_string()).build();
        let mut stream = self.client.docker.logs(name, Some(options));
        let read = async {
            let mut lines = LineTail::new(limit, LOG_BYTES_MAX);
            let (mut output, mut errors) = (PartialLine::default(), PartialLine::default());
            while let Some(piece) = stream.try_next().await? {
                let line = if matches!(piece, LogOutput::StdErr { .. }) { &mut errors } else { &mut output };
                line.push(piece.as_ref(), |line| lines.push(line));
            }
            output.finish().into_iter().chain(errors.finish()).for_each(|line| lines.push(line));
            Ok::<_, bollard::errors::Error>(lines.into_lines())
        };
        await_reply_within(CALL_DEADLINE, Subject::Container(name), read).await
    }

    /// Writes the whole log into an existing file, each line with its timestamp.
    pub(in crate::world::docker) async fn write_log(
        &self,
        container: &ContainerRef,
        to: &Path,
    ) -> Result<(), EffectError> {
        let name = names::validate("container", &container.key)?;
        let write_failed = |error: std::io::Error| {
            let kind =
                if error.kind() == std::io::ErrorKind::StorageFull { ErrorKind::DiskFull } else { ErrorKind::Failed };
            EffectError::new(kind, format!("cannot write the log of container `{name}`: {error}"))
        };
        let file = tokio::fs::File::options().write(true).truncate(true).open(to).await.map_err(write_failed)?;
        let mut file = tokio::io::BufWriter::new(file);
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).timestamps(true).tail("all").build();
        let mut pieces = self.client.docker.logs(name, Some(options));
        loop {
            let next = tokio::time::timeout(IDLE_TIMEOUT, pieces.try_next()).await.map_err(|_| {
                let message = format!("the engine stopped sending the log of container `{name}`");
                EffectError::new(ErrorKind::Unavailable, message)
            })?;
            match next.map_err(|error| engine_error(error, Subject::Container(name)))? {
                Some(piece) => file.write_all(piece.as_ref()).await.map_err(write_failed)?,
                None => return file.flush().await.map_err(write_failed),
            }
        }
    }
}
