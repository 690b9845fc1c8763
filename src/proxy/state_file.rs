//! The state on disk: written whole, synced and renamed; read with a digest, else from the copy before. Knows no route.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::state::State;

const VERSION: u32 = 1;
/// More is no state of ours.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The file, and the copy before it.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    version: u32,
    /// Of the text of `state`.
    sha256: String,
    state: Box<RawValue>,
}

/// What was found.
#[derive(Debug)]
pub enum Loaded {
    /// Nothing: the first start.
    Fresh,
    Good(State),
    /// The file is damaged, for this reason; this is the copy before it.
    Previous(State, String),
}

impl StateFile {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// # Errors
    /// When there is a file and neither it nor the copy before it is good: better no proxy than one that answers 404.
    pub fn load(&self) -> Result<Loaded, String> {
        let previous = self.beside("previous");
        let error = match read(&self.path) {
            Ok(Some(state)) => return Ok(Loaded::Good(state)),
            Ok(None) => match read(&previous) {
                Ok(None) => return Ok(Loaded::Fresh),
                _ => "it is gone".to_owned(),
            },
            Err(error) => error,
        };
        let shown = self.path.display();
        match read(&previous) {
            Ok(Some(state)) => Ok(Loaded::Previous(state, format!("state file `{shown}` is damaged ({error})"))),
            Ok(None) => Err(format!("state file `{shown}` is damaged ({error}) and there is no copy before it")),
            Err(also) => {
                Err(format!("state file `{shown}` is damaged ({error}), and so is the copy before it ({also})"))
            }
        }
    }

    /// Keeps a damaged file for a person to look at.
    pub fn set_aside(&self) {
        // There may be none, and it is only for looking at.
        drop(fs::rename(&self.path, self.beside("damaged")));
    }

    /// On disk when this returns.
    ///
    /// # Errors
    /// When it is not; the file is as it was.
    pub fn save(&self, state: &State) -> io::Result<()> {
        let text = serde_json::to_string(state)?;
        let envelope = Envelope { version: VERSION, sha256: digest(&text), state: RawValue::from_string(text)? };
        let fresh = self.beside("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&serde_json::to_vec(&envelope)?)?;
        file.sync_all()?;
        if self.path.exists() {
            // By a link, so that at every moment there is a file of that name.
            let link = self.beside("link");
            drop(fs::remove_file(&link));
            fs::hard_link(&self.path, &link)?;
            fs::rename(&link, self.beside("previous"))?;
        }
        fs::rename(&fresh, &self.path)?;
        File::open(self.folder())?.sync_all()
    }

    /// # Errors
    /// When its folder cannot be made.
    pub fn make_folder(&self) -> io::Result<()> {
        fs::create_dir_all(self.folder())
    }

    fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn beside(&self, word: &str) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{word}"));
        self.path.with_file_name(name)
    }
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `None`: there is no such file.
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

/// A state from its text.
///
/// # Errors
/// When it is not whole, not ours, or tells of something that cannot be.
pub fn parse(text: &str) -> Result<State, String> {
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    let envelope: Envelope = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if envelope.version != VERSION {
        return Err(format!("its version is {}, this program reads {VERSION}", envelope.version));
    }
    if digest(envelope.state.get()) != envelope.sha256 {
        return Err("its digest does not fit".to_owned());
    }
    let state: State = serde_json::from_str(envelope.state.get()).map_err(|error| error.to_string())?;
    state.verify().map_err(|refusal| refusal.message)?;
    Ok(state)
}
