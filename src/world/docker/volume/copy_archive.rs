//! Copies a volume through the engine's archive API: out of one container that is never started, into another. It takes
//! two containers, since the engine locks a container while an archive is transferred.
//!
//! Each chunk is passed on unchanged and read at the same time (`archive_reader.rs`). Afterwards the copy is read back
//! and compared. The engine transfers times to the second, and neither holes nor extended attributes of users.

use bollard::body_try_stream;
use bollard::query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::Volumes;
use super::archive_reader::{ArchiveContents, ChunkReader, read_archive};
use super::clone::CopyPlan;
use super::copy_container::{CopyContainer, VOLUME_MOUNT};
use super::copy_files::ENGINE;
use crate::effect::volume::{Content, VolumeSize, WhileWritten};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::docker::error::{Subject, engine_error};
use crate::world::folder_copy::CopyProgress;

/// How many chunks of an archive may wait for their receiver. From a fast engine, a chunk has up to 400 kB, the most
/// that hyper reads at once.
const CHANNEL_CHUNKS: usize = 8;

/// Sends chunks to the upload.
type Upload = mpsc::Sender<Result<Bytes, std::io::Error>>;

impl Volumes {
    /// Copies the plan's source into its target through the engine.
    pub(super) async fn copy_through_engine(
        &self,
        call: &Call,
        plan: &CopyPlan,
        stop: &CancellationToken,
    ) -> Result<Content, EffectError> {
        let from = self.copy_container(&plan.from, Some(&plan.to), true).await?;
        let to = self.copy_container(&plan.to, Some(&plan.to), false).await?;
        let work = async {
            let sent = self.transfer(call, &from, &to, plan).await?;
            let read_back = match plan.verify {
                true => Some(
                    self.read_back(&CopyProgress::new(call, Some(sent.archive_bytes), 0.5, 1.0), &to, &plan.to).await?,
                ),
                false => None,
            };
            if read_back.as_ref().is_some_and(|copy| copy.digest != sent.digest) {
                let message = format!("the copy of volume `{}` differs from its source", plan.from);
                return Err(EffectError::new(ErrorKind::Failed, message).hint(match plan.while_written {
                    WhileWritten::Allow => "the source changed during the copy: try `while_written: \"pause\"`",
                    _ => "check the engine's log: journalctl -u docker",
                }));
            }
            let digest = read_back.map(|copy| copy.digest.text());
            Ok(Content { bytes: sent.bytes, files: sent.files, shared: 0, way: ENGINE.into(), digest })
        };
        let result = unless_stopped(stop, work).await;
        from.remove().await;
        to.remove().await;
        result
    }

    /// Measures a volume by reading its archive.
    pub(super) async fn measure_through_engine(
        &self,
        call: &Call,
        volume: &str,
        stop: &CancellationToken,
    ) -> Result<VolumeSize, EffectError> {
        let container = self.copy_container(volume, None, true).await?;
        let progress = CopyProgress::new(call, None, 0.0, 1.0);
        let read = unless_stopped(stop, self.read_back(&progress, &container, volume)).await;
        container.remove().await;
        read.map(|contents| VolumeSize { bytes: contents.bytes, files: Some(contents.files) })
    }

    /// Sends the archive of one container to the other, and reads it at the same time.
    async fn transfer(
        &self,
        call: &Call,
        from: &CopyContainer,
        to: &CopyContainer,
        plan: &CopyPlan,
    ) -> Result<ArchiveContents, EffectError> {
        let (send, receive) = mpsc::channel(CHANNEL_CHUNKS);
        let (chunks, contents) = reader(&plan.from);
        let download = self.download(from, &plan.from, chunks, Some(send));
        let progress = CopyProgress::new(call, None, 0.0, 0.5);
        let body = stream::unfold(receive, |mut receive| async { receive.recv().await.map(|piece| (piece, receive)) });
        // The archive contains the mount's own folder, so the volume's folder gets its owner and mode too.
        let options = UploadToContainerOptionsBuilder::new().path("/").build();
        let upload = async {
            let reply = self.client.docker.upload_to_container(to.id(), Some(options), body_try_stream(body)).await;
            reply.map_err(|error| engine_error(error, Subject::Volume(&plan.to)))
        };
        let fetch = async {
            let mut archive_bytes = 0;
            let mut download = download;
            while let Some(bytes) = download.sizes.recv().await {
                archive_bytes += bytes;
                progress.add(bytes);
            }
            download.finish().await.map(|()| archive_bytes)
        };
        let (uploaded, archive_bytes) = tokio::join!(upload, fetch);
        // Report a failed source first: it is why the upload is incomplete.
        let archive_bytes = archive_bytes?;
        uploaded?;
        let mut contents = contents.await.unwrap_or_else(|why| Err(join_error(&why)))?;
        contents.archive_bytes = archive_bytes;
        Ok(contents)
    }

    /// Reads the volume of a container.
    async fn read_back(
        &self,
        progress: &CopyProgress<'_>,
        of: &CopyContainer,
        volume: &str,
    ) -> Result<ArchiveContents, EffectError> {
        let (chunks, contents) = reader(volume);
        let mut download = self.download(of, volume, chunks, None);
        while let Some(bytes) = download.sizes.recv().await {
            progress.add(bytes);
        }
        download.finish().await?;
        contents.await.unwrap_or_else(|why| Err(join_error(&why)))
    }

    /// Downloads the volume of a container, to a reader and to an upload.
    fn download(
        &self,
        from: &CopyContainer,
        volume: &str,
        chunks: mpsc::Sender<Bytes>,
        upload: Option<Upload>,
    ) -> Download {
        let (docker, id, volume) = (self.client.docker.clone(), from.id().to_owned(), volume.to_owned());
        let (size_sender, sizes) = mpsc::channel(CHANNEL_CHUNKS);
        let task = tokio::spawn(async move {
            let options = DownloadFromContainerOptionsBuilder::new().path(VOLUME_MOUNT).build();
            let mut chunks_in = std::pin::pin!(docker.download_from_container(&id, Some(options)));
            while let Some(chunk) = chunks_in.next().await {
                let bytes = match chunk {
                    Ok(bytes) => bytes,
                    Err(error) => {
                        let error = engine_error(error, Subject::Volume(&volume));
                        if let Some(upload) = &upload {
                            let _ = upload.send(Err(std::io::Error::other(error.message.clone()))).await;
                        }
                        return Err(error);
                    }
                };
                // A reader that has seen the end of the archive accepts no more; the rest is padding.
                let _ = chunks.send(bytes.clone()).await;
                if let Some(upload) = &upload
                    && upload.send(Ok(bytes.clone())).await.is_err()
                {
                    // The upload reports why it stopped.
                    return Ok(());
                }
                if size_sender.send(bytes.len() as u64).await.is_err() {
                    return Ok(());
                }
            }
            Ok(())
        });
        Download { task, sizes }
    }
}

/// A running download. Aborted when dropped.
struct Download {
    task: JoinHandle<Result<(), EffectError>>,
    /// The sizes of the chunks that arrived.
    sizes: mpsc::Receiver<u64>,
}

impl Download {
    /// Waits for the end of the download.
    async fn finish(&mut self) -> Result<(), EffectError> {
        (&mut self.task).await.unwrap_or_else(|why| Err(join_error(&why)))
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a thread that reads an archive, and returns the sender of its chunks.
fn reader(volume: &str) -> (mpsc::Sender<Bytes>, JoinHandle<Result<ArchiveContents, EffectError>>) {
    let (send, receive) = mpsc::channel(CHANNEL_CHUNKS);
    let volume = volume.to_owned();
    let reader = tokio::task::spawn_blocking(move || read_archive(ChunkReader::new(receive), &volume));
    (send, reader)
}

async fn unless_stopped<T>(
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, EffectError>>,
) -> Result<T, EffectError> {
    tokio::select! {
        done = work => done,
        () = stop.cancelled() => Err(EffectError::new(ErrorKind::Cancelled, "the copy was stopped")),
    }
}

fn join_error(why: &tokio::task::JoinError) -> EffectError {
    EffectError::new(ErrorKind::Internal, format!("the copy failed: {why}"))
}
