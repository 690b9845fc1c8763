//! The images of the simulated host, its registry and what its builds make. Knows nothing of containers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::behaviour::Behaviour;
use super::ids::Ids;
use crate::effect::image::with_tag;
use crate::effect::{EffectError, ErrorKind};

/// An image in a scenario: its names and what its app does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimImage {
    pub names: Vec<String>,
    pub behaviour: Arc<Behaviour>,
    pub size_mb: u64,
    pub labels: BTreeMap<String, String>,
    /// A registry gives it only to who has these credentials.
    pub username: Option<String>,
    pub password: Option<String>,
    /// The id that it has where it was copied from.
    pub id: Option<String>,
}

impl SimImage {
    pub fn new(name: &str, behaviour: Behaviour) -> Self {
        Self { names: vec![name.into()], behaviour: Arc::new(behaviour), size_mb: 100, ..Self::default() }
    }
}

/// What a build of a folder makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    pub image: SimImage,
    pub takes_ms: u64,
    /// The builder's last line when it fails.
    pub fails: Option<String>,
}

impl Default for Recipe {
    fn default() -> Self {
        Self { image: SimImage::new("", Behaviour::default()), takes_ms: 5_000, fails: None }
    }
}

/// An image on the host.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) id: String,
    pub(super) number: u64,
    pub(super) created_at: u64,
    pub(super) behaviour: Arc<Behaviour>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) size_mb: u64,
}

/// The images on the host, and where more come from.
#[derive(Clone, Debug, Default)]
pub(super) struct Images {
    by_id: BTreeMap<String, Stored>,
    /// Full name to id.
    names: BTreeMap<String, String>,
    pub(super) registry: BTreeMap<String, SimImage>,
    pub(super) registry_down: bool,
    pub(super) archives: BTreeMap<String, Vec<SimImage>>,
    pub(super) builds: BTreeMap<String, Recipe>,
    /// Whether every folder builds, and every image can be pulled.
    pub(super) open: bool,
}

pub(super) fn missing(image: &str) -> EffectError {
    EffectError::new(ErrorKind::NotFound, format!("image `{image}` does not exist here"))
        .hint(format!("docker pull {image}"))
        .not_applied()
}

const ID_PREFIX: &str = "sha256:";

impl Images {
    /// What a build of this folder makes.
    pub(super) fn recipe(&self, folder: &str) -> Option<Recipe> {
        let open = || Recipe { image: SimImage::new("", Behaviour::unknown()), ..Recipe::default() };
        self.builds.get(folder).cloned().or_else(|| self.open.then(open))
    }

    /// What the registry has under this full name.
    pub(super) fn offered(&self, name: &str) -> Option<SimImage> {
        let open = || SimImage::new(name, Behaviour::unknown());
        self.registry.get(name).cloned().or_else(|| self.open.then(open))
    }

    /// By full name, by id, or by the beginning of an id that only one has.
    pub(super) fn find(&self, wanted: &str) -> Option<&Stored> {
        match self.names.get(&with_tag(wanted)) {
            Some(id) => self.by_id.get(id),
            None => self.by_id_prefix(wanted),
        }
    }

    pub(super) fn by_id_prefix(&self, wanted: &str) -> Option<&Stored> {
        let digits = wanted.strip_prefix(ID_PREFIX).unwrap_or(wanted);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let mut alike = self.by_id.values().filter(|image| image.id[ID_PREFIX.len()..].starts_with(digits));
        alike.next().filter(|_| alike.next().is_none())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Stored> {
        self.by_id.values()
    }

    pub(super) fn names(&self) -> &BTreeMap<String, String> {
        &self.names
    }

    pub(super) fn names_of(&self, id: &str) -> Vec<String> {
        self.names.iter().filter(|(_, of)| of.as_str() == id).map(|(name, _)| name.clone()).collect()
    }

    /// Gives an image a name; it moves if another had it.
    pub(super) fn name(&mut self, name: &str, id: &str) {
        self.names.insert(with_tag(name), id.to_owned());
    }

    pub(super) fn unname(&mut self, name: &str) {
        self.names.remove(&with_tag(name));
    }

    pub(super) fn has_name(&self, name: &str) -> bool {
        self.names.contains_key(&with_tag(name))
    }

    /// Deletes the image with all its names.
    pub(super) fn delete(&mut self, id: &str) -> Option<Stored> {
        self.names.retain(|_, of| of != id);
        self.by_id.remove(id)
    }

    /// Stores an image under its names.
    pub(super) fn add(&mut self, ids: &mut Ids, image: &SimImage, created_at: u64) -> String {
        let next = ids.next();
        let id = image.id.clone().unwrap_or_else(|| format!("{ID_PREFIX}{next}"));
        let stored = Stored {
            id: id.clone(),
            number: ids.count(),
            created_at,
            behaviour: image.behaviour.clone(),
            labels: image.labels.clone(),
            size_mb: image.size_mb,
        };
        self.by_id.insert(id.clone(), stored);
        for name in &image.names {
            self.name(name, &id);
        }
        id
    }
}
