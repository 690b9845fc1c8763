//! The texts of a run: the script and every module, by name, with their digests.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use sha2::{Digest, Sha256};

/// Where scripts and modules come from. The stdlib is embedded; everything else is asked of this.
pub trait SourceLoader: Send + Sync {
    /// The text of the module `name` (a relative path without `.rhai`), or why there is none.
    ///
    /// # Errors
    /// One line for people.
    fn module(&self, name: &str) -> Result<String, String>;

    /// The text that a run which is replayed had loaded under this name, before all others.
    fn pinned(&self, name: &str) -> Option<String> {
        let _ = name;
        None
    }

    /// Names of modules that could be meant, for did-you-mean.
    fn known_modules(&self) -> Vec<String>;
}

/// One text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub name: String,
    pub text: Arc<str>,
    digest: String,
}

impl Source {
    pub fn new(name: impl Into<String>, text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        let digest: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { name: name.into(), text, digest }
    }

    /// SHA-256 of the text, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// Every text that was read so far, and which of them each closure was written in.
#[derive(Debug, Default)]
pub struct SourceMap {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    texts: BTreeMap<String, Arc<str>>,
    closures: BTreeMap<String, String>,
}

impl SourceMap {
    pub fn add(&self, source: &Source) {
        self.lock().texts.insert(source.name.clone(), source.text.clone());
    }

    /// Remembers that the closure `function` was written in `source`: Rhai names its caller's.
    pub fn add_closure(&self, function: &str, source: &str) {
        self.lock().closures.insert(function.into(), source.into());
    }

    pub fn text(&self, name: &str) -> Option<Arc<str>> {
        self.lock().texts.get(name).cloned()
    }

    pub fn closure_source(&self, function: &str) -> Option<String> {
        self.lock().closures.get(function).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The modules that come with deployer, by the name that scripts import.
pub const STDLIB: &[(&str, &str)] = &[
    ("std/rebuild", include_str!("../../stdlib/rebuild.rhai")),
    ("std/release", include_str!("../../stdlib/release.rhai")),
    ("std/route", include_str!("../../stdlib/route.rhai")),
    ("std/announce", include_str!("../../stdlib/announce.rhai")),
    ("std/preflight", include_str!("../../stdlib/preflight.rhai")),
    ("std/archive", include_str!("../../stdlib/archive.rhai")),
    ("std/database", include_str!("../../stdlib/database.rhai")),
    ("std/migration", include_str!("../../stdlib/migration.rhai")),
    ("std/mode", include_str!("../../stdlib/mode.rhai")),
    ("std/cutover", include_str!("../../stdlib/cutover.rhai")),
    ("std/canary", include_str!("../../stdlib/canary.rhai")),
];

/// The module of the stdlib that has this name.
pub fn stdlib(name: &str) -> Option<&'static Source> {
    static ALL: LazyLock<BTreeMap<&str, Source>> =
        LazyLock::new(|| STDLIB.iter().map(|(name, text)| (*name, Source::new(*name, *text))).collect());
    ALL.get(name)
}

/// The scripts that come with deployer, by file name.
pub const SHIPPED: &[(&str, &str)] = &[
    ("bluegreen.rhai", include_str!("../../scripts/bluegreen.rhai")),
    ("safe_deploy.rhai", include_str!("../../scripts/safe_deploy.rhai")),
    ("canary.rhai", include_str!("../../scripts/canary.rhai")),
    ("rollback.rhai", include_str!("../../scripts/rollback.rhai")),
    ("take_port.rhai", include_str!("../../scripts/take_port.rhai")),
];
