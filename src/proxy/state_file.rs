//! The state on disk: written as a whole, synced and renamed; protected by a digest, with the previous version as a copy.
//! Knows no route.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::state::State;

const VERSION: u32 = 1;
/// The largest file that is read.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The state file with its previous copy.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    version: u32,
    /// The digest of the text of `state`.
    sha256: String,
    state: Box<RawValue>,
}

/// What [`StateFile::load`] found.
#[derive(Debug)]
pub enum Loaded {
    /// No file: this is the first start.
    Missing,
    /// The state of the file.
    Current(State),
    /// The state of the previous copy, and why the file cannot be used.
    Previous(State, String),
}

impl StateFile {
    /// Creates a state file at this path.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Reads the file, or its previous copy when it is damaged.
    ///
    /// # Errors
    /// When neither can be used: no proxy is better than one that answers 404 to every request.
    pub fn load(&self) -> Result<Loaded, String> {
        let previous = self.beside("previous");
        let error = match read(&self.path) {
            Ok(Some(state)) => return Ok(Loaded::Current(state)),
            Ok(None) => match read(&previous) {
                Ok(None) => return Ok(Loaded::Missing),
                _ => "the file is missing".to_owned(),
            },
            Err(error) => error,
        };
        let shown = self.path.display();
        match read(&previous) {
            Ok(Some(state)) => Ok(Loaded::Previous(state, format!("state file `{shown}` is damaged ({error})"))),
            Ok(None) => Err(format!("state file `{shown}` is damaged ({error}) and there is no previous copy")),
            Err(also) => {
                Err(format!("state file `{shown}` is damaged ({error}), and so is its previous copy ({also})"))
            }
        }
    }

    /// Renames a damaged file, so that an operator can inspect it.
    pub fn keep_damaged(&self) {
        // The file may be missing, and nothing depends on it.
        drop(fs::rename(&self.path, self.beside("damaged")));
    }

    /// Writes the state; it is durable when this returns.
    ///
    /// # Errors
    /// When it cannot be written; the file is unchanged.
    pub fn save(&self, state: &State) -> io::Result<()> {
        let text = serde_json::to_string(state)?;
        let envelope = Envelope { version: VERSION, sha256: digest(&text), state: RawValue::from_string(text)? };
        let fresh = self.beside("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&serde_json::to_vec(&envelope)?)?;
        file.sync_all()?;
        if self.path.exists() {
            // A hard link keeps the file in place at every moment.
            let link = self.beside("link");
            drop(fs::remove_file(&link));
            fs::hard_link(&self.path, &link)?;
            fs::rename(&link, self.beside("previous"))?;
        }
        fs::rename(&fresh, &self.path)?;
        File::open(self.folder())?.sync_all()
    }

    /// Creates the folder of the file.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn make_folder(&self) -> io::Result<()> {
        fs::create_dir_all(self.folder())
    }

    fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn beside(&self, extension: &str) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{extension}"));
        self.path.with_file_name(name)
    }
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a state. `None`: the file does not exist.
fn read(path: &Path) -> Result<Option<State>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut text = String::new();
    file.take(BYTES_MAX).read_to_string(&mut text).map_err(|error| error.to_string())?;
    parse(&text).map(Some)
}

/// Parses a state file.
///
/// # Errors
/// When it is incomplete, of another version, or describes an invalid state.
pub fn parse(text: &str) -> Result<State, String> {
    if text.trim().is_empty() {
        return Err("the file is empty".to_owned());
    }
    let envelope: Envelope = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if envelope.version != VERSION {
        return Err(format!("version {} of the file is not supported, only {VERSION}", envelope.version));
    }
    if digest(envelope.state.get()) != envelope.sha256 {
        return Err("the digest does not match".to_owned());
    }
    let state: State = serde_json::from_str(envelope.state.get()).map_err(|error| error.to_string())?;
    state.verify().map_err(|refusal| refusal.message)?;
    Ok(state)
}
