//! Script and module texts, with names and digests; the embedded standard library and shipped scripts.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use sha2::{Digest, Sha256};

/// Loads modules. The standard library is embedded and does not need a loader.
pub trait SourceLoader: Send + Sync {
    /// Returns the text of the module `name`, a relative path without `.rhai`.
    ///
    /// # Errors
    /// Returns a one-line message.
    fn module(&self, name: &str) -> Result<String, String>;

    /// Returns the text that a replayed run had loaded under this name. It takes precedence over all others.
    fn pinned(&self, name: &str) -> Option<String> {
        let _ = name;
        None
    }

    /// Returns the names of existing modules, for suggestions.
    fn known_modules(&self) -> Vec<String>;
}

/// The text of a script or module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// File name of the script, or path of the module.
    pub name: String,
    /// The text.
    pub text: Arc<str>,
    digest: String,
}

impl Source {
    /// Creates a source and computes its digest.
    pub fn new(name: impl Into<String>, text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        let digest: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { name: name.into(), text, digest }
    }

    /// Returns the SHA-256 of the text in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// The texts loaded so far, and the source of each closure.
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
    /// Adds a text.
    pub fn add(&self, source: &Source) {
        self.lock().texts.insert(source.name.clone(), source.text.clone());
    }

    /// Remembers that these closures were written in `source`. Rhai reports the source of the caller instead.
    pub fn add_closures(&self, closures: &[String], source: &str) {
        let mut inner = self.lock();
        inner.closures.extend(closures.iter().map(|closure| (closure.clone(), source.to_owned())));
    }

    /// Returns the text of the source `name`.
    pub fn text(&self, name: &str) -> Option<Arc<str>> {
        self.lock().texts.get(name).cloned()
    }

    /// Returns the name of the source that the closure `function` was written in.
    pub fn closure_source(&self, function: &str) -> Option<String> {
        self.lock().closures.get(function).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The modules of the standard library: import name and text.
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

/// Returns the module of the standard library with this name.
pub fn stdlib(name: &str) -> Option<&'static Source> {
    static ALL: LazyLock<BTreeMap<&str, Source>> =
        LazyLock::new(|| STDLIB.iter().map(|(name, text)| (*name, Source::new(*name, *text))).collect());
    ALL.get(name)
}

/// The shipped scripts: file name and text.
pub const SHIPPED: &[(&str, &str)] = &[
    ("bluegreen.rhai", include_str!("../../scripts/bluegreen.rhai")),
    ("safe_deploy.rhai", include_str!("../../scripts/safe_deploy.rhai")),
    ("canary.rhai", include_str!("../../scripts/canary.rhai")),
    ("rollback.rhai", include_str!("../../scripts/rollback.rhai")),
    ("take_port.rhai", include_str!("../../scripts/take_port.rhai")),
];
