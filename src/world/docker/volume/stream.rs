//! The way of the bytes through the engine's archive API: out of one container that is never started, into another.
//! Two containers, since the engine locks one for as long as an archive is under way.
//!
//! What comes is passed on as it is and read on the side (`archive.rs`). Afterwards the copy is read back and compared.
//! The engine gives times to the second and neither holes nor users' extended attributes.

use bollard::body_try_stream;
use bollard::query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::archive::{Contents, Pieces, read_archive};
use super::clone::CopyPlan;
use super::fill::ENGINE;
use crate::effect::volume::{Content, VolumeSize, WhileWritten};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::docker::DockerEngine;
use crate::world::docker::error::{About, explain};
use crate::world::docker::volume_copy::{CopyContainer, INSIDE};
use crate::world::replica::Told;

/// Pieces of an archive that may wait for whoever takes them. Of a fast engine each has up to 400 kB, the most that
/// hyper reads at once.
const WAITING: usize = 8;

type Upload = mpsc::Sender<Result<Bytes, std::io::Error>>;

impl DockerEngine {
    pub(super) async fn copy_through_engine(
        &self,
        call: &Call,
        plan: &CopyPlan,
        stop: &CancellationToken,
    ) -> Result<Content, EffectError> {
        let from = self.copy_container(&plan.from, Some(&plan.to), true).await?;
        let to = self.copy_container(&plan.to, Some(&plan.to), false).await?;
        let work = async {
            let sent = self.pass_on(call, &from, &to, plan).await?;
            let came = match plan.verify {
                true => Some(self.read_back(&Told::new(call, Some(sent.passed), 0.5, 1.0), &to, &plan.to).await?),
                false => None,
            };
            if came.as_ref().is_some_and(|came| came.digest != sent.digest) {
                let message = format!("the copy of volume `{}` is not like its source", plan.from);
                return Err(EffectError::new(ErrorKind::Failed, message).hint(match plan.while_written {
                    WhileWritten::Allow => "it was written to meanwhile: try `while_written: \"pause\"`",
                    _ => "the engine's log may say why: journalctl -u docker",
                }));
            }
            let digest = came.map(|came| came.digest.text());
            Ok(Content { bytes: sent.bytes, files: sent.files, shared: 0, way: ENGINE.into(), digest })
        };
        let done = unless_stopped(stop, work).await;
        from.remove().await;
        to.remove().await;
        done
    }

    pub(super) async fn measure_through_engine(
        &self,
        call: &Call,
        volume: &str,
        stop: &CancellationToken,
    ) -> Result<VolumeSize, EffectError> {
        let container = self.copy_container(volume, None, true).await?;
        let told = Told::new(call, None, 0.0, 1.0);
        let read = unless_stopped(stop, self.read_back(&told, &container, volume)).await;
        container.remove().await;
        read.map(|contents| VolumeSize { bytes: contents.bytes, files: Some(contents.files) })
    }

    /// Sends the archive of one container to the other, and reads it on the side.
    async fn pass_on(
        &self,
        call: &Call,
        from: &CopyContainer,
        to: &CopyContainer,
        plan: &CopyPlan,
    ) -> Result<Contents, EffectError> {
        let (send, receive) = mpsc::channel(WAITING);
        let (reading, contents) = reader(&plan.from);
        let fetching = self.fetch(from, &plan.from, reading, Some(send));
        let told = Told::new(call, None, 0.0, 0.5);
        let body = stream::unfold(receive, |mut receive| async { receive.recv().await.map(|piece| (piece, receive)) });
        // The name of the mount comes along in the archive: so the volume's own folder gets its owner and mode too.
        let options = UploadToContainerOptionsBuilder::new().path("/").build();
        let upload = async {
            let answer = self.docker.upload_to_container(to.id(), Some(options), body_try_stream(body)).await;
            answer.map_err(|error| explain(error, About::Volume(&plan.to)))
        };
        let fetch = async {
            let mut passed = 0;
            let mut fetching = fetching;
            while let Some(bytes) = fetching.counted.recv().await {
                passed += bytes;
                told.add(bytes);
            }
            fetching.ended().await.map(|()| passed)
        };
        let (uploaded, passed) = tokio::join!(upload, fetch);
        // A source that fails is why the other end got half of it.
        let passed = passed?;
        uploaded?;
        let mut contents = contents.await.unwrap_or_else(|why| Err(broke_off(&why)))?;
        contents.passed = passed;
        Ok(contents)
    }

    async fn read_back(&self, told: &Told<'_>, of: &CopyContainer, volume: &str) -> Result<Contents, EffectError> {
        let (reading, contents) = reader(volume);
        let mut fetching = self.fetch(of, volume, reading, None);
        while let Some(bytes) = fetching.counted.recv().await {
            told.add(bytes);
        }
        fetching.ended().await?;
        contents.await.unwrap_or_else(|why| Err(broke_off(&why)))
    }

    /// Fetches the volume of a container, to a reader and to an upload.
    fn fetch(
        &self,
        from: &CopyContainer,
        volume: &str,
        reading: mpsc::Sender<Bytes>,
        upload: Option<Upload>,
    ) -> Fetching {
        let (docker, id, volume) = (self.docker.clone(), from.id().to_owned(), volume.to_owned());
        let (count, counted) = mpsc::channel(WAITING);
        let task = tokio::spawn(async move {
            let options = DownloadFromContainerOptionsBuilder::new().path(INSIDE).build();
            let mut pieces = std::pin::pin!(docker.download_from_container(&id, Some(options)));
            while let Some(piece) = pieces.next().await {
                let bytes = match piece {
                    Ok(bytes) => bytes,
                    Err(error) => {
                        let error = explain(error, About::Volume(&volume));
                        if let Some(upload) = &upload {
                            let _ = upload.send(Err(std::io::Error::other(error.message.clone()))).await;
                        }
                        return Err(error);
                    }
                };
                // A reader that has seen the end of the archive takes no more, and what follows is padding.
                let _ = reading.send(bytes.clone()).await;
                if let Some(upload) = &upload
                    && upload.send(Ok(bytes.clone())).await.is_err()
                {
                    // The other end says why it took no more.
                    return Ok(());
                }
                if count.send(bytes.len() as u64).await.is_err() {
                    return Ok(());
                }
            }
            Ok(())
        });
        Fetching { task, counted }
    }
}

/// A download that is under way; it ends when this is dropped.
struct Fetching {
    task: JoinHandle<Result<(), EffectError>>,
    /// Sizes of the pieces that came.
    counted: mpsc::Receiver<u64>,
}

impl Fetching {
    async fn ended(&mut self) -> Result<(), EffectError> {
        (&mut self.task).await.unwrap_or_else(|why| Err(broke_off(&why)))
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn reader(volume: &str) -> (mpsc::Sender<Bytes>, JoinHandle<Result<Contents, EffectError>>) {
    let (send, receive) = mpsc::channel(WAITING);
    let volume = volume.to_owned();
    let reading = tokio::task::spawn_blocking(move || read_archive(Pieces::new(receive), &volume));
    (send, reading)
}

async fn unless_stopped<T>(
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, EffectError>>,
) -> Result<T, EffectError> {
    tokio::select! {
        done = work => done,
        () = stop.cancelled() => Err(EffectError::new(ErrorKind::Cancelled, "the copying was stopped")),
    }
}

fn broke_off(why: &tokio::task::JoinError) -> EffectError {
    EffectError::new(ErrorKind::Internal, format!("the copying broke off: {why}"))
}
