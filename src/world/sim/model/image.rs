//! The images of the simulated host, its registry and its builds. Knows nothing of containers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::behaviour::Behaviour;
use super::ids::Ids;
use crate::effect::image::with_tag;

/// An image in a scenario: its names and the behaviour of its app.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimImage {
    /// Full names.
    pub names: Vec<String>,
    /// How its app behaves.
    pub behaviour: Arc<Behaviour>,
    /// Size in MB.
    pub size_mb: u64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The user name a registry asks for.
    pub username: Option<String>,
    /// The password a registry asks for.
    pub password: Option<String>,
    /// Its id on the real host, in a copy.
    pub id: Option<String>,
}

impl SimImage {
    /// Returns an image of 100 MB with this name.
    pub fn new(name: &str, behaviour: Behaviour) -> Self {
        Self { names: vec![name.into()], behaviour: Arc::new(behaviour), size_mb: 100, ..Self::default() }
    }
}

/// The result of building a folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimBuild {
    /// The image it produces.
    pub image: SimImage,
    /// How long the build takes, in virtual milliseconds.
    pub takes_ms: u64,
    /// The last line of the builder's output when it fails.
    pub fails: Option<String>,
}

impl Default for SimBuild {
    fn default() -> Self {
        Self { image: SimImage::new("", Behaviour::default()), takes_ms: 5_000, fails: None }
    }
}

/// An image on the host.
#[derive(Clone, Debug)]
pub(crate) struct StoredImage {
    pub(crate) id: String,
    pub(crate) number: u64,
    pub(crate) created_at: u64,
    pub(crate) behaviour: Arc<Behaviour>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) size_mb: u64,
}

/// The images on the host, and the sources of further ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Images {
    by_id: BTreeMap<String, StoredImage>,
    /// Full name to id.
    names: BTreeMap<String, String>,
    pub(crate) registry: BTreeMap<String, SimImage>,
    pub(crate) registry_down: bool,
    pub(crate) archives: BTreeMap<String, Vec<SimImage>>,
    pub(crate) builds: BTreeMap<String, SimBuild>,
    /// Whether every folder builds and every image can be pulled.
    pub(crate) permissive: bool,
}

const ID_PREFIX: &str = "sha256:";

impl Images {
    /// Returns the result of building this folder.
    pub(crate) fn build_for(&self, folder: &str) -> Option<SimBuild> {
        let permissive = || SimBuild { image: SimImage::new("", Behaviour::unknown()), ..SimBuild::default() };
        self.builds.get(folder).cloned().or_else(|| self.permissive.then(permissive))
    }

    /// Returns the image of this full name in the registry.
    pub(crate) fn registry_image(&self, name: &str) -> Option<SimImage> {
        let permissive = || SimImage::new(name, Behaviour::unknown());
        self.registry.get(name).cloned().or_else(|| self.permissive.then(permissive))
    }

    /// Finds an image by full name, by id, or by a prefix that only one id has.
    pub(crate) fn find(&self, wanted: &str) -> Option<&StoredImage> {
        match self.names.get(&with_tag(wanted)) {
            Some(id) => self.by_id.get(id),
            None => self.by_id_prefix(wanted),
        }
    }

    pub(crate) fn by_id_prefix(&self, wanted: &str) -> Option<&StoredImage> {
        let digits = wanted.strip_prefix(ID_PREFIX).unwrap_or(wanted);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let mut alike = self.by_id.values().filter(|image| image.id[ID_PREFIX.len()..].starts_with(digits));
        alike.next().filter(|_| alike.next().is_none())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &StoredImage> {
        self.by_id.values()
    }

    pub(crate) fn names(&self) -> &BTreeMap<String, String> {
        &self.names
    }

    pub(crate) fn names_of(&self, id: &str) -> Vec<String> {
        self.names.iter().filter(|(_, of)| of.as_str() == id).map(|(name, _)| name.clone()).collect()
    }

    /// Names an image. A name that another image has moves to this one.
    pub(crate) fn add_name(&mut self, name: &str, id: &str) {
        self.names.insert(with_tag(name), id.to_owned());
    }

    pub(crate) fn remove_name(&mut self, name: &str) {
        self.names.remove(&with_tag(name));
    }

    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.names.contains_key(&with_tag(name))
    }

    /// Deletes the image and all its names.
    pub(crate) fn delete(&mut self, id: &str) -> Option<StoredImage> {
        self.names.retain(|_, of| of != id);
        self.by_id.remove(id)
    }

    /// Stores an image under its names.
    pub(crate) fn add(&mut self, ids: &mut Ids, image: &SimImage, created_at: u64) -> String {
        let next = ids.next();
        let id = image.id.clone().unwrap_or_else(|| format!("{ID_PREFIX}{next}"));
        let stored = StoredImage {
            id: id.clone(),
            number: ids.count(),
            created_at,
            behaviour: image.behaviour.clone(),
            labels: image.labels.clone(),
            size_mb: image.size_mb,
        };
        self.by_id.insert(id.clone(), stored);
        for name in &image.names {
            self.add_name(name, &id);
        }
        id
    }
}
