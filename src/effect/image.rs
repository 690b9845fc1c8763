//! Images: build, pull, push, tag, list, remove, load.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::container::Removed;
use super::family::family;
use super::{Access, Effect, Facts, Outcome, Recovery, Request, Trace, Undo, Verdict};
use crate::base::duration_text::DurationText;
use crate::base::text::Text;

/// Builds and transfers may take long; a stuck one still ends.
pub const DEFAULT_TRANSFER_TIMEOUT: DurationText = DurationText::secs(30 * 60);

family! {
    /// What can be asked of images.
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
    pub id: String,
    /// All its names, such as `web:v2`.
    pub tags: Vec<String>,
    /// RFC 3339, UTC.
    #[serde(default)]
    pub created_at: Option<String>,
    /// Bytes.
    #[serde(default)]
    pub size: u64,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The effect, as `RUN/SEQ`, whose `docker_build` made this very image on this engine. Unlike a label it does not
    /// pass to images that are built from this one. Told only where all images are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_by: Option<String>,
}

/// `docker_build`: builds an image from a folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuildImage {
    /// The folder that is sent to the engine, less what its `.dockerignore` names.
    pub context: String,
    pub tag: String,
    /// Relative to the context. Default `Dockerfile`.
    #[serde(default = "default_dockerfile")]
    pub dockerfile: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
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

/// The image that has this name now.
fn image_named(name: &str) -> Effect {
    ListImages { name: Some(with_tag(name)), labels: BTreeMap::new() }.into()
}

/// The full name: `web` is `web:latest`, an id stays as it is.
pub fn with_tag(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains(':') || last.contains('@') || name.starts_with("sha256:") {
        name.into()
    } else {
        format!("{name}:latest")
    }
}

/// Gives the name back to the image that had it, or takes the name away.
fn give_name_back(name: &str, prior: Option<&Outcome>) -> Undo {
    match prior {
        Some(Outcome::Image(ImageOutcome::List(images))) => match images.first() {
            Some(image) => Undo::by(TagImage { image: image.id.clone(), tag: name.into() }),
            None => Undo::by(RemoveImage { image: name.into(), force: false, missing_ok: true, disposable: false }),
        },
        _ => Undo::Nothing,
    }
}

impl Facts for BuildImage {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn patience(&self) -> Duration {
        self.timeout.0
    }

    fn interruptible(&self) -> bool {
        true
    }

    fn prior(&self) -> Option<Effect> {
        Some(image_named(&self.tag))
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        give_name_back(&self.tag, prior)
    }

    fn subject(&self) -> String {
        self.tag.clone()
    }
}

impl Request for BuildImage {
    const KIND: &'static str = "docker_build";
    type Reply = Image;
}

/// `docker_pull`: fetches an image from its registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PullImage {
    pub image: String,
    /// Default: none, or what `docker login` stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Text>,
    /// Default 30 min.
    #[serde(default = "default_transfer_timeout")]
    pub timeout: DurationText,
}

impl Facts for PullImage {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn patience(&self) -> Duration {
        self.timeout.0
    }

    fn interruptible(&self) -> bool {
        true
    }

    fn prior(&self) -> Option<Effect> {
        Some(image_named(&self.image))
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        match give_name_back(&self.image, prior) {
            // A pulled image that is new here does no harm and would only have to be fetched again.
            Undo::Effect(effect) if matches!(*effect, Effect::Image(ImageEffect::Remove(_))) => Undo::Nothing,
            undo => undo,
        }
    }

    fn subject(&self) -> String {
        self.image.clone()
    }
}

impl Request for PullImage {
    const KIND: &'static str = "docker_pull";
    type Reply = Image;
}

/// `docker_push`: sends an image to its registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PushImage {
    pub image: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Text>,
    /// Default 30 min.
    #[serde(default = "default_transfer_timeout")]
    pub timeout: DurationText,
}

impl Facts for PushImage {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn patience(&self) -> Duration {
        self.timeout.0
    }

    fn interruptible(&self) -> bool {
        true
    }

    fn subject(&self) -> String {
        self.image.clone()
    }
}

impl Request for PushImage {
    const KIND: &'static str = "docker_push";
    type Reply = Pushed;
}

/// What a registry answered to a push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// `sha256:...`, where the registry told it.
    pub digest: Option<String>,
}

/// `docker_tag`: gives an image one more name. The name moves if another image had it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TagImage {
    pub image: String,
    pub tag: String,
}

impl Facts for TagImage {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn prior(&self) -> Option<Effect> {
        Some(image_named(&self.tag))
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        give_name_back(&self.tag, prior)
    }

    fn subject(&self) -> String {
        format!("{} -> {}", self.image, self.tag)
    }
}

impl Request for TagImage {
    const KIND: &'static str = "docker_tag";
    type Reply = ();
}

/// `docker_images`: images, newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListImages {
    /// A repository (`web`: all its tags), a full name (`web:v2`) or an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Facts for ListImages {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        self.name.clone().unwrap_or_default()
    }
}

impl Request for ListImages {
    const KIND: &'static str = "docker_images";
    type Reply = Vec<Image>;
}

/// `docker_image_remove`: takes a name away, and the image with its last name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RemoveImage {
    pub image: String,
    #[serde(default)]
    pub force: bool,
    #[serde(default)]
    pub missing_ok: bool,
    /// States that nobody will miss it: the run can be taken back without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disposable: bool,
}

impl Facts for RemoveImage {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        // Once it is gone, the same request would find nothing to remove.
        if self.missing_ok { Recovery::Repeat } else { Recovery::Observe }
    }

    fn evidence(&self) -> Option<Effect> {
        Some(image_named(&self.image))
    }

    fn verdict(&self, _: Trace<'_>, evidence: &Outcome) -> Verdict {
        match evidence {
            Outcome::Image(ImageOutcome::List(images)) if images.is_empty() => {
                Verdict::happened(Outcome::Image(ImageOutcome::Remove(Removed { removed: true })))
            }
            _ => Verdict::Not,
        }
    }

    fn prior(&self) -> Option<Effect> {
        (!self.disposable).then(|| image_named(&self.image))
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
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

    fn subject(&self) -> String {
        self.image.clone()
    }
}

impl Request for RemoveImage {
    const KIND: &'static str = "docker_image_remove";
    type Reply = Removed;
}

/// `docker_load`: reads images from an archive that `docker save` wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadImage {
    pub file: String,
    /// Default 30 min.
    #[serde(default = "default_transfer_timeout")]
    pub timeout: DurationText,
}

impl Facts for LoadImage {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn patience(&self) -> Duration {
        self.timeout.0
    }

    fn subject(&self) -> String {
        self.file.clone()
    }
}

impl Request for LoadImage {
    const KIND: &'static str = "docker_load";
    type Reply = Vec<Image>;
}
