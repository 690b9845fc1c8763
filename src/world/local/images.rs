//! Local images: where they are kept, their names, and what can be asked of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::build::Build;
use super::context::Context;
use super::dockerfile;
use super::folder::{hex, instant_text, io_error, not_found, read_json, write_json};
use super::image_record::{ImageConfig, ImageRecord};
use super::tree::sorted;
use super::{LocalEngine, blocking};
use crate::base::labels;
use crate::effect::container::Removed;
use crate::effect::image::{BuildImage, Image, ListImages, RemoveImage, TagImage, with_tag};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// Name to id.
type Tags = BTreeMap<String, String>;

const PREFIX: &str = "sha256:";
/// The shortest beginning of an id that stands for it, as `docker images` prints.
const SHORTEST_ID: usize = 12;
const COPY_BUFFER: usize = 64 << 10;

impl LocalEngine {
    pub(super) async fn build_image(self: &Arc<Self>, call: &Call, request: &BuildImage) -> Result<Image, EffectError> {
        if let Some((name, _)) = request.args.iter().find(|(_, value)| value.secret_names().next().is_some()) {
            return Err(EffectError::new(
                ErrorKind::Invalid,
                format!("build argument `{name}` is a secret, and an image keeps what it is built with"),
            )
            .hint("give it to the container: `environment` of `docker_run`")
            .not_applied());
        }
        let given = request
            .args
            .iter()
            .map(|(name, value)| Ok((name.clone(), call.vault.reveal(value)?)))
            .collect::<Result<BTreeMap<_, _>, EffectError>>()?;
        // Stops the copying when the caller gives up: blocking work does not end with the future that waits for it.
        let cancel = call.cancel.child_token();
        let _stop_when_dropped = cancel.clone().drop_guard();
        let timeout = request.timeout.0;
        let (request, call) = (request.clone(), call.clone());
        let mut own: BTreeMap<String, String> = call.labels().map(|(key, value)| (key.to_owned(), value)).collect();
        own.insert(labels::IMAGE.into(), with_tag(&request.tag));
        let work = blocking(self, move |engine| engine.build_now(&request, &given, own, &call, &cancel));
        tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| {
            Err(EffectError::new(ErrorKind::Timeout, format!("the build took longer than {timeout:?}")))
        })
    }

    fn build_now(
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
        let context = Context::open(folder)?;
        let temporary = tempfile::Builder::new()
            .prefix(".build-")
            .tempdir_in(self.folder.images())
            .map_err(|why| io_error("write", &self.folder.images(), &why).not_applied())?;
        let root = temporary.path().join("root");
        fs::create_dir(&root).map_err(|why| io_error("create", &root, &why).not_applied())?;
        let stop = || cancel.is_cancelled();
        let base = |image: &str| {
            let mut record = self.image_need(image)?;
            // Who built the base is no part of what is built on it.
            let own = [labels::RUN, labels::EFFECT, labels::EPOCH, labels::IMAGE];
            record.config.labels.retain(|key, _| !own.contains(&key.as_str()));
            Ok((self.image_root(&record.id), record.config))
        };
        let build = Build::new(&context, given, &base, &stop, root.clone(), request.target.as_deref());
        let count = instructions.len();
        let told = |index: usize, step: &dockerfile::Instruction| {
            let share = index as f32 / count.max(1) as f32;
            call.tell_fraction(format!("{}/{count} {} {}", index + 1, step.keyword, step.rest), share);
        };
        let mut config = build.perform(&name, &instructions, &told).map_err(EffectError::not_applied)?;
        config.labels.extend(request.labels.clone());
        let (id, size) = fingerprint(&root, &config, &stop).map_err(EffectError::not_applied)?;
        // Labels of the run are no part of the content: the same files give the same id in every run.
        config.labels.extend(own_labels);
        let record = ImageRecord { id: id.clone(), config, created_at: instant_text(), size };
        let _guard = self.folder.guard()?;
        let place = self.folder.images().join(bare(&id));
        if !place.join("config.json").exists() {
            write_json(&temporary.path().join("config.json"), &record).map_err(EffectError::not_applied)?;
            let kept = temporary.keep();
            // A folder there without its configuration is what a killed build or removal left.
            let _ = fs::remove_dir_all(&place);
            fs::rename(&kept, &place).map_err(|why| io_error("write", &place, &why))?;
        }
        let mut tags = self.tags()?;
        tags.insert(tag, id.clone());
        write_json(&self.folder.tags(), &tags)?;
        self.image_need(&id).map(|record| image(record, &tags))
    }

    pub(super) fn image_root(&self, id: &str) -> std::path::PathBuf {
        self.folder.images().join(bare(id)).join("root")
    }

    fn tags(&self) -> Result<Tags, EffectError> {
        Ok(read_json(&self.folder.tags())?.unwrap_or_default())
    }

    /// The image of this name or id.
    pub(super) fn image_find(&self, name: &str) -> Result<Option<ImageRecord>, EffectError> {
        let tags = self.tags()?;
        let id = match tags.get(&with_tag(name)) {
            Some(id) => bare(id).to_owned(),
            None => {
                let wanted = bare(name);
                let is_id = wanted.len() >= SHORTEST_ID && wanted.bytes().all(|b| b.is_ascii_hexdigit());
                let known = self.folder.names(&self.folder.images())?;
                let mut found = known.into_iter().filter(|id| is_id && id.starts_with(wanted));
                match (found.next(), found.next()) {
                    (Some(id), None) => id,
                    _ => return Ok(None),
                }
            }
        };
        read_json(&self.folder.images().join(id).join("config.json"))
    }

    pub(super) fn image_need(&self, name: &str) -> Result<ImageRecord, EffectError> {
        match self.image_find(name)? {
            Some(record) => Ok(record),
            None => {
                let tags = self.tags()?;
                let known = tags.keys().map(String::as_str);
                let short = tags.keys().filter_map(|tag| tag.strip_suffix(":latest"));
                Err(not_found(
                    "local image",
                    name,
                    known.chain(short),
                    "build it: `docker_build`; images cannot be pulled with `--engine local`",
                ))
            }
        }
    }

    fn all_images(&self) -> Result<Vec<Image>, EffectError> {
        let tags = self.tags()?;
        let mut images = Vec::new();
        for id in self.folder.names(&self.folder.images())? {
            if let Some(record) = read_json::<ImageRecord>(&self.folder.images().join(id).join("config.json"))? {
                images.push(image(record, &tags));
            }
        }
        images.sort_by(|a, b| b.created_at.cmp(&a.created_at));
        Ok(images)
    }

    pub(super) fn list_images(&self, request: &ListImages) -> Result<Vec<Image>, EffectError> {
        let mut images = self.all_images()?;
        if let Some(name) = &request.name {
            let by_id = self.image_find(name)?.map(|record| record.id);
            images.retain(|image| {
                by_id.as_ref() == Some(&image.id)
                    || image
                        .tags
                        .iter()
                        .any(|tag| tag.rsplit_once(':').is_some_and(|(repository, _)| repository == name))
            });
        }
        images.retain(|image| super::has_labels(&image.labels, &request.labels));
        Ok(images)
    }

    pub(super) fn tag_image(&self, request: &TagImage) -> Result<(), EffectError> {
        let _guard = self.folder.guard()?;
        let record = self.image_need(&request.image)?;
        let mut tags = self.tags()?;
        tags.insert(with_tag(&request.tag), record.id);
        write_json(&self.folder.tags(), &tags)
    }

    pub(super) fn remove_image(&self, request: &RemoveImage) -> Result<Removed, EffectError> {
        let _guard = self.folder.guard()?;
        let record = match self.image_find(&request.image)? {
            Some(record) => record,
            None if request.missing_ok => return Ok(Removed { removed: false }),
            None => return self.image_need(&request.image).map(|_| Removed { removed: false }),
        };
        let mut tags = self.tags()?;
        let named: Vec<String> = tags.iter().filter(|(_, id)| **id == record.id).map(|(tag, _)| tag.clone()).collect();
        let asked = with_tag(&request.image);
        let by_name = named.contains(&asked);
        if by_name && named.len() > 1 {
            tags.remove(&asked);
            write_json(&self.folder.tags(), &tags)?;
            return Ok(Removed { removed: true });
        }
        let conflict = |why: String| {
            EffectError::new(ErrorKind::Conflict, format!("image `{}` {why}", request.image))
                .hint("use `force: true`")
                .not_applied()
        };
        if !request.force {
            if named.len() > 1 {
                return Err(conflict(format!("has several names: {}", named.join(", "))));
            }
            if let Some(user) = self.records()?.into_iter().find(|container| container.image_id == record.id) {
                return Err(conflict(format!("is used by container `{}`", user.spec.name)));
            }
        }
        tags.retain(|_, id| *id != record.id);
        write_json(&self.folder.tags(), &tags)?;
        self.discard(&self.folder.images().join(bare(&record.id)))?;
        Ok(Removed { removed: true })
    }
}

fn bare(id: &str) -> &str {
    id.strip_prefix(PREFIX).unwrap_or(id)
}

fn image(record: ImageRecord, tags: &Tags) -> Image {
    Image {
        tags: tags.iter().filter(|(_, id)| **id == record.id).map(|(tag, _)| tag.clone()).collect(),
        id: record.id,
        created_at: Some(record.created_at),
        size: record.size,
        built_by: record.config.labels.get(labels::EFFECT).cloned(),
        labels: record.config.labels,
    }
}

/// The id over all that an image is, and the size of its files.
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
