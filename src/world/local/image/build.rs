//! `docker_build`: builds an image from a Dockerfile and stores it under the hash of its content.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::build_context::BuildContext;
use super::builder::ImageBuilder;
use super::record::{ImageConfig, ImageRecord};
use super::{PREFIX, bare, dockerfile, image};
use crate::base::labels;
use crate::effect::image::{BuildImage, Image, image_timed_out, with_tag};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::local::file_tree::sorted;
use crate::world::local::local_engine::{LocalEngine, run_blocking};
use crate::world::local::state_folder::{hex, instant_text, io_error, write_json};

const COPY_BUFFER: usize = 64 << 10;

impl LocalEngine {
    pub(crate) async fn build_image(self: &Arc<Self>, call: &Call, request: &BuildImage) -> Result<Image, EffectError> {
        if let Some((name, _)) = request.args.iter().find(|(_, value)| value.secret_names().next().is_some()) {
            return Err(EffectError::new(
                ErrorKind::Invalid,
                format!("build argument `{name}` is a secret, and an image stores its build arguments"),
            )
            .hint("pass it to the container: `environment` of `docker_run`")
            .not_applied());
        }
        let given = request
            .args
            .iter()
            .map(|(name, value)| Ok((name.clone(), call.vault.reveal(value)?)))
            .collect::<Result<BTreeMap<_, _>, EffectError>>()?;
        // Stops copying when the caller gives up: blocking work does not end with the future that waits for it.
        let cancel = call.cancel.child_token();
        let _stop_when_dropped = cancel.clone().drop_guard();
        let (timeout, label) = (request.timeout, request.label());
        let (request, call) = (request.clone(), call.clone());
        let mut run_labels: BTreeMap<String, String> =
            call.labels().map(|(key, value)| (key.to_owned(), value)).collect();
        run_labels.insert(labels::IMAGE.into(), with_tag(&request.tag));
        let work =
            run_blocking(self, move |engine| engine.build_image_blocking(&request, &given, run_labels, &call, &cancel));
        tokio::time::timeout(timeout.0, work).await.unwrap_or_else(|_| Err(image_timed_out(&label, timeout)))
    }

    fn build_image_blocking(
        &self,
        request: &BuildImage,
        given: &BTreeMap<String, String>,
        own_labels: BTreeMap<String, String>,
        call: &Call,
        cancel: &CancellationToken,
    ) -> Result<Image, EffectError> {
        let tag = with_tag(&request.tag);
        let folder = Path::new(&request.context);
        let file = folder.join(&request.dockerfile);
        let text = fs::read_to_string(&file).map_err(|why| io_error("read", &file, &why).not_applied())?;
        let name = file.to_string_lossy();
        let instructions = dockerfile::read(&name, &text)?;
        let context = BuildContext::open(folder)?;
        let temporary = tempfile::Builder::new()
            .prefix(".build-")
            .tempdir_in(self.folder.images())
            .map_err(|why| io_error("write", &self.folder.images(), &why).not_applied())?;
        let root = temporary.path().join("root");
        fs::create_dir(&root).map_err(|why| io_error("create", &root, &why).not_applied())?;
        let stop = || cancel.is_cancelled();
        let base = |image: &str| {
            let mut record = self.require_image(image)?;
            // The labels of the run that built the base do not belong to the new image.
            let run_labels = [labels::RUN, labels::EFFECT, labels::EPOCH, labels::IMAGE];
            record.config.labels.retain(|key, _| !run_labels.contains(&key.as_str()));
            Ok((self.image_root(&record.id), record.config))
        };
        let build = ImageBuilder::new(&context, given, &base, &stop, root.clone(), request.target.as_deref());
        let count = instructions.len();
        let on_step = |index: usize, step: &dockerfile::Instruction| {
            let share = index as f32 / count.max(1) as f32;
            call.report_progress_fraction(format!("{}/{count} {} {}", index + 1, step.keyword, step.rest), share);
        };
        let mut config = build.run(&name, &instructions, &on_step).map_err(EffectError::not_applied)?;
        config.labels.extend(request.labels.clone());
        let (id, size) = fingerprint(&root, &config, &stop).map_err(EffectError::not_applied)?;
        // Labels of the run are not part of the content: the same files have the same id in every run.
        config.labels.extend(own_labels);
        let record = ImageRecord { id: id.clone(), config, created_at: instant_text(), size };
        let _guard = self.folder.guard()?;
        let image_folder = self.folder.images().join(bare(&id));
        if !image_folder.join("config.json").exists() {
            write_json(&temporary.path().join("config.json"), &record).map_err(EffectError::not_applied)?;
            let kept = temporary.keep();
            // A folder without its configuration was left by a killed build or removal.
            let _ = fs::remove_dir_all(&image_folder);
            fs::rename(&kept, &image_folder).map_err(|why| io_error("write", &image_folder, &why))?;
        }
        let mut tags = self.tags()?;
        tags.insert(tag, id.clone());
        write_json(&self.folder.tags(), &tags)?;
        self.require_image(&id).map(|record| image(record, &tags))
    }
}

/// Returns the id, a hash of the whole image, and the size of its files.
fn fingerprint(root: &Path, config: &ImageConfig, stop: &dyn Fn() -> bool) -> Result<(String, u64), EffectError> {
    let mut hash = Sha256::new();
    let config = serde_json::to_vec(config).map_err(|why| EffectError::new(ErrorKind::Internal, why.to_string()))?;
    hash.update((config.len() as u64).to_be_bytes());
    hash.update(config);
    let mut size = 0;
    add_folder(root, "", &mut hash, &mut size, stop)?;
    Ok((format!("{PREFIX}{}", hex(&hash.finalize())), size))
}

fn add_folder(
    folder: &Path,
    below: &str,
    hash: &mut Sha256,
    size: &mut u64,
    stop: &dyn Fn() -> bool,
) -> Result<(), EffectError> {
    for name in sorted(folder)? {
        if stop() {
            return Err(EffectError::new(ErrorKind::Cancelled, "the build was cancelled"));
        }
        let full = folder.join(&name);
        let path = format!("{below}/{}", name.to_string_lossy());
        let failed = |why: std::io::Error| io_error("read", &full, &why);
        let meta = full.symlink_metadata().map_err(failed)?;
        hash.update((path.len() as u64).to_be_bytes());
        hash.update(path.as_bytes());
        if meta.is_symlink() {
            let target = fs::read_link(&full).map_err(failed)?;
            hash.update(format!("link {}", target.display()));
        } else if meta.is_dir() {
            hash.update(format!("folder {:o}", meta.permissions().mode()));
            add_folder(&full, &path, hash, size, stop)?;
        } else {
            hash.update(format!("file {:o} {} ", meta.permissions().mode(), meta.len()));
            *size += meta.len();
            let mut file = fs::File::open(&full).map_err(failed)?;
            let mut buffer = vec![0; COPY_BUFFER];
            loop {
                match file.read(&mut buffer).map_err(failed)? {
                    0 => break,
                    count => hash.update(&buffer[..count]),
                }
            }
        }
    }
    Ok(())
}
