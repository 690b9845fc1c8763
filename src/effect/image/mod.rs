//! Images: build, pull, push, tag, list, remove, load.

mod error;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::category::category;
use super::container::Removed;
use super::request::request;
use super::{Effect, Observation, Outcome, PendingEffect, Recovery, Undo};
use crate::base::duration_text::DurationText;
use crate::base::text::Text;

/// How long builds and transfers may take by default.
pub const DEFAULT_TRANSFER_TIMEOUT: DurationText = DurationText::secs(30 * 60);

pub use error::{
    HUB, TransferDirection, build_context_not_found, build_failed, image_not_found, image_timed_out, registry,
    transfer_failed,
};

category! {
    /// Actions on images.
    Image: ImageEffect => ImageOutcome {
        Build(BuildImage),
        Pull(PullImage),
        Push(PushImage),
        Tag(TagImage),
        List(ListImages),
        Remove(RemoveImage),
        Load(LoadImage),
    }
}

/// An image as scripts see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// The engine's id, `sha256:...`.
    pub id: String,
    /// All its names, such as `web:v2`.
    pub tags: Vec<String>,
    /// RFC 3339, UTC.
    #[serde(default)]
    pub created_at: Option<String>,
    /// Its size in bytes.
    #[serde(default)]
    pub size: u64,
    /// The labels, deployer's included.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The `docker_build` that built this image on this engine, as `RUN/SEQ`. Unlike a label, it is not inherited by
    /// images that are built from this one. Only known where all images are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_by: Option<String>,
}

/// `docker_build`: builds an image from a folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuildImage {
    /// The folder that is sent to the engine, without what its `.dockerignore` excludes.
    pub context: String,
    /// The name of the new image.
    pub tag: String,
    /// The Dockerfile, relative to the context. Default `Dockerfile`.
    #[serde(default = "default_dockerfile")]
    pub dockerfile: String,
    /// Values for the Dockerfile's `ARG`s.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, Text>,
    /// The stage to build. Default: the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Labels to set, besides deployer's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Builds every layer again.
    #[serde(default)]
    pub no_cache: bool,
    /// Pulls newer base images.
    #[serde(default)]
    pub pull: bool,
    /// Default 30 min.
    #[serde(default = "default_transfer_timeout")]
    pub timeout: DurationText,
}

fn default_dockerfile() -> String {
    "Dockerfile".into()
}

fn default_transfer_timeout() -> DurationText {
    DEFAULT_TRANSFER_TIMEOUT
}

/// Returns the read of the image that has this name now.
fn image_named(name: &str) -> Effect {
    ListImages { name: Some(with_tag(name)), labels: BTreeMap::new() }.into()
}

/// Returns the full name: `web` becomes `web:latest`; an id stays as it is.
pub fn with_tag(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains(':') || last.contains('@') || name.starts_with("sha256:") {
        name.into()
    } else {
        format!("{name}:latest")
    }
}

/// Restores a tag: gives it back to the image that had it, or removes it if no image had it.
fn restore_tag(name: &str, prior: Option<&Outcome>) -> Undo {
    match prior {
        Some(Outcome::Image(ImageOutcome::List(images))) => match images.first() {
            Some(image) => Undo::by(TagImage { image: image.id.clone(), tag: name.into() }),
            None => Undo::by(RemoveImage { image: name.into(), force: false, missing_ok: true, disposable: false }),
        },
        _ => Undo::Nothing,
    }
}

request! {
    BuildImage {
        kind: "docker_build",
        reply: Image,
        access: Write,
        recovery: Repeat,
        deadline: |request| request.timeout.0,
        interruptible: true,
        subject: tag,
        prior: |request| Some(image_named(&request.tag)),
        undo: |request, prior| restore_tag(&request.tag, prior),
    }
}

/// `docker_pull`: downloads an image from its registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PullImage {
    /// The image's name.
    pub image: String,
    /// The registry's user. Default: none, or what `docker login` stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Text>,
    /// The password of `username`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Text>,
    /// Default 30 min.
    #[serde(default = "default_transfer_timeout")]
    pub timeout: DurationText,
}

request! {
    PullImage {
        kind: "docker_pull",
        reply: Image,
        access: Write,
        recovery: Repeat,
        deadline: |request| request.timeout.0,
        interruptible: true,
        subject: image,
        prior: |request| Some(image_named(&request.image)),
        undo: Self::undo_from,
    }
}

impl PullImage {
    fn undo_from(&self, prior: Option<&Outcome>) -> Undo {
        match restore_tag(&self.image, prior) {
            // A new image does no harm, and removing it would only mean pulling it again.
            Undo::Effect(effect) if matches!(*effect, Effect::Image(ImageEffect::Remove(_))) => Undo::Nothing,
            undo => undo,
        }
    }
}

/// `docker_push`: uploads an image to its registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PushImage {
    /// The image's name.
    pub image: String,
    /// The registry's user. Default: none, or what `docker login` stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Text>,
    /// The password of `username`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Text>,
    /// Default 30 min.
    #[serde(default = "default_transfer_timeout")]
    pub timeout: DurationText,
}

request! {
    PushImage {
        kind: "docker_push",
        reply: Pushed,
        access: Write,
        recovery: Repeat,
        deadline: |request| request.timeout.0,
        interruptible: true,
        subject: image,
    }
}

/// A registry's answer to a push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// `sha256:...`, if the registry reported it.
    pub digest: Option<String>,
}

/// `docker_tag`: gives an image another name. The name moves if another image has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TagImage {
    /// The image's name or id.
    pub image: String,
    /// The new name.
    pub tag: String,
}

request! {
    TagImage {
        kind: "docker_tag",
        reply: (),
        access: Write,
        recovery: Repeat,
        subject: |request| format!("{} -> {}", request.image, request.tag),
        prior: |request| Some(image_named(&request.tag)),
        undo: |request, prior| restore_tag(&request.tag, prior),
    }
}

/// `docker_images`: lists images, newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListImages {
    /// A repository (`web`: all its tags), a full name (`web:v2`) or an id. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only those with all of these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

request! {
    ListImages {
        kind: "docker_images",
        reply: Vec<Image>,
        access: Read,
        subject: |request| request.name.clone().unwrap_or_default(),
    }
}

/// `docker_image_remove`: removes a name of an image, and the image with its last name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RemoveImage {
    /// The image's name or id.
    pub image: String,
    /// Removes it even if a stopped container uses it.
    #[serde(default)]
    pub force: bool,
    /// Succeeds if the image does not exist.
    #[serde(default)]
    pub missing_ok: bool,
    /// States that it is not needed any more: the run can be rolled back without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disposable: bool,
}

request! {
    RemoveImage {
        kind: "docker_image_remove",
        reply: Removed,
        access: Write,
        // Once it is gone, the same request would fail: there is nothing to remove.
        recovery: |remove| if remove.missing_ok { Recovery::Repeat } else { Recovery::Observe },
        subject: image,
        prior: |request| (!request.disposable).then(|| image_named(&request.image)),
        undo: Self::undo_from,
        evidence: |request| Some(image_named(&request.image)),
        observe: Self::observe_from,
    }
}

impl RemoveImage {
    fn undo_from(&self, prior: Option<&Outcome>) -> Undo {
        match prior {
            Some(Outcome::Image(ImageOutcome::List(images))) => match images.first() {
                None => Undo::Nothing,
                Some(image) if image.tags.len() > 1 && image.tags.contains(&with_tag(&self.image)) => {
                    Undo::by(TagImage { image: image.id.clone(), tag: self.image.clone() })
                }
                Some(_) => Undo::Impossible(format!(
                    "image `{}` was removed; build or pull it again: docker pull {}",
                    self.image, self.image
                )),
            },
            _ => Undo::Nothing,
        }
    }

    fn observe_from(&self, _: PendingEffect<'_>, evidence: &Outcome) -> Observation {
        match evidence {
            Outcome::Image(ImageOutcome::List(images)) if images.is_empty() => {
                Observation::done(Outcome::Image(ImageOutcome::Remove(Removed { removed: true })))
            }
            _ => Observation::NotDone,
        }
    }
}

/// `docker_load`: loads images from an archive that `docker save` wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadImage {
    /// The archive.
    pub file: String,
    /// Default 30 min.
    #[serde(default = "default_transfer_timeout")]
    pub timeout: DurationText,
}

request! {
    LoadImage {
        kind: "docker_load",
        reply: Vec<Image>,
        access: Write,
        recovery: Repeat,
        deadline: |request| request.timeout.0,
        subject: file,
    }
}
