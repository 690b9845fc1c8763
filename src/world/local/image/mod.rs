//! Local images: finds, lists, tags and removes them.

pub(crate) mod build;
pub(crate) mod build_context;
pub(crate) mod builder;
pub(crate) mod dockerfile;
pub(crate) mod dockerfile_words;
pub(crate) mod record;

use std::collections::BTreeMap;

use self::record::ImageRecord;
use super::local_engine::{LocalEngine, has_labels};
use super::state_folder::{read_json, with_suggestion, write_json};
use crate::base::labels;
use crate::effect::EffectError;
use crate::effect::container::Removed;
use crate::effect::image::{Image, ListImages, RemoveImage, TagImage, image_not_found, with_tag};

/// Name to id.
type Tags = BTreeMap<String, String>;

pub(crate) const PREFIX: &str = "sha256:";
/// The shortest accepted prefix of an id, as `docker images` prints.
const MIN_ID_PREFIX: usize = 12;

impl LocalEngine {
    pub(crate) fn image_root(&self, id: &str) -> std::path::PathBuf {
        self.folder.images().join(bare(id)).join("root")
    }

    pub(crate) fn tags(&self) -> Result<Tags, EffectError> {
        Ok(read_json(&self.folder.tags())?.unwrap_or_default())
    }

    /// Finds an image by name or id.
    pub(crate) fn find_image(&self, name: &str) -> Result<Option<ImageRecord>, EffectError> {
        let tags = self.tags()?;
        let id = match tags.get(&with_tag(name)) {
            Some(id) => bare(id).to_owned(),
            None => {
                let wanted = bare(name);
                let is_id = wanted.len() >= MIN_ID_PREFIX && wanted.bytes().all(|b| b.is_ascii_hexdigit());
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

    pub(crate) fn require_image(&self, name: &str) -> Result<ImageRecord, EffectError> {
        match self.find_image(name)? {
            Some(record) => Ok(record),
            None => {
                let tags = self.tags()?;
                let known = tags.keys().map(String::as_str);
                let short = tags.keys().filter_map(|tag| tag.strip_suffix(":latest"));
                let error = image_not_found(name)
                    .hint("build it: `docker_build`; images cannot be pulled with `--engine local`");
                Err(with_suggestion(error, name, known.chain(short)))
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

    pub(crate) fn list_images(&self, request: &ListImages) -> Result<Vec<Image>, EffectError> {
        let mut images = self.all_images()?;
        if let Some(name) = &request.name {
            let by_id = self.find_image(name)?.map(|record| record.id);
            images.retain(|image| {
                by_id.as_ref() == Some(&image.id)
                    || image
                        .tags
                        .iter()
                        .any(|tag| tag.rsplit_once(':').is_some_and(|(repository, _)| repository == name))
            });
        }
        images.retain(|image| has_labels(&image.labels, &request.labels));
        Ok(images)
    }

    pub(crate) fn tag_image(&self, request: &TagImage) -> Result<(), EffectError> {
        let _guard = self.folder.guard()?;
        let record = self.require_image(&request.image)?;
        let mut tags = self.tags()?;
        tags.insert(with_tag(&request.tag), record.id);
        write_json(&self.folder.tags(), &tags)
    }

    pub(crate) fn remove_image(&self, request: &RemoveImage) -> Result<Removed, EffectError> {
        let _guard = self.folder.guard()?;
        let record = match self.find_image(&request.image)? {
            Some(record) => record,
            None if request.missing_ok => return Ok(Removed { removed: false }),
            None => return self.require_image(&request.image).map(|_| Removed { removed: false }),
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
        if !request.force {
            if named.len() > 1 {
                return Err(request.has_several_names(&named));
            }
            if let Some(user) = self.container_records()?.into_iter().find(|container| container.image_id == record.id)
            {
                return Err(request.in_use(&user.spec.name, true));
            }
        }
        tags.retain(|_, id| *id != record.id);
        write_json(&self.folder.tags(), &tags)?;
        self.remove_folder(&self.folder.images().join(bare(&record.id)))?;
        Ok(Removed { removed: true })
    }
}

pub(crate) fn bare(id: &str) -> &str {
    id.strip_prefix(PREFIX).unwrap_or(id)
}

pub(crate) fn image(record: ImageRecord, tags: &Tags) -> Image {
    Image {
        tags: tags.iter().filter(|(_, id)| **id == record.id).map(|(tag, _)| tag.clone()).collect(),
        id: record.id,
        created_at: Some(record.created_at),
        size: record.size,
        built_by: record.config.labels.get(labels::EFFECT).cloned(),
        labels: record.config.labels,
    }
}
