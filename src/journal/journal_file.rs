//! The file of the journal: whether what lies there may be opened, how it is made, who may read it. Knows files and
//! what SQLite puts beside them; not the tables.

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::JournalError;

/// Name of the database in the state folder.
pub const FILE_NAME: &str = "journal.db";
/// What people did and with what is nobody else's business.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const EVERYBODY_ELSE: u32 = 0o077;
/// What a database begins with, and how long its head is.
const MAGIC: &[u8] = b"SQLite format 3\0";
const HEAD: usize = 100;
/// What the log beside the database begins with, whatever the machine.
const LOG_MAGIC: [[u8; 4]; 2] = [[0x37, 0x7f, 0x06, 0x82], [0x37, 0x7f, 0x06, 0x83]];

/// Which file it is, whatever it is called by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

#[derive(Clone, Debug)]
pub struct JournalFile {
    path: PathBuf,
}

impl JournalFile {
    pub fn of(folder: &Path) -> Self {
        Self { path: folder.join(FILE_NAME) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    fn log(&self) -> PathBuf {
        self.folder().join(format!("{FILE_NAME}-wal"))
    }

    /// Makes the state folder, for its owner alone, when there is none.
    ///
    /// # Errors
    /// When it cannot be made or is no folder.
    pub fn make_folder(&self) -> Result<(), JournalError> {
        let unusable = |why: String| JournalError::Folder { path: self.folder().into(), why };
        if self.folder().is_file() {
            return Err(unusable("it is a file".into()));
        }
        let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(self.folder());
        made.map_err(|error| unusable(error.to_string()))
    }

    /// Whether there is a journal. What SQLite would take for an empty one although it is not, is none.
    ///
    /// # Errors
    /// When what is there must not be opened: entries would be lost without a word.
    pub fn is_there(&self) -> Result<bool, JournalError> {
        let open = |why: String| JournalError::Open { path: self.path.clone(), why };
        let found = match fs::metadata(&self.path) {
            Ok(found) => found,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return self.is_absent().map(|()| false);
            }
            Err(error) => return Err(open(error.to_string())),
        };
        if found.is_dir() {
            return Err(open("it is a folder".into()));
        }
        if !found.is_file() {
            return Err(open("it is no file that can be read and written".into()));
        }
        if found.len() == 0 {
            return Err(self.damaged(match self.log_size() {
                0 => "it is empty, which a journal never is".into(),
                size => format!("it is empty, but `{FILE_NAME}-wal` beside it has {size} bytes of its entries"),
            }));
        }
        if !self.begins_like_a_database() {
            return Err(open("it is no database, or was cut short".into()));
        }
        if self.has_foreign_log() {
            return Err(self.damaged(format!("`{FILE_NAME}-wal` beside it, which has its latest entries, is no log")));
        }
        Ok(true)
    }

    fn is_absent(&self) -> Result<(), JournalError> {
        if fs::symlink_metadata(&self.path).is_ok() {
            let why = "it is a link to a file that is not there".into();
            return Err(JournalError::Open { path: self.path.clone(), why });
        }
        match self.log_size() {
            0 => Ok(()),
            size => {
                Err(self
                    .damaged(format!("it is missing, but `{FILE_NAME}-wal` beside it has {size} bytes of its entries")))
            }
        }
    }

    fn damaged(&self, why: String) -> JournalError {
        JournalError::Damaged { path: self.path.clone(), why }
    }

    /// Bytes in the log beside the database: entries that are not in it yet.
    pub fn log_size(&self) -> u64 {
        fs::metadata(self.log()).map_or(0, |log| log.len())
    }

    /// SQLite takes what is shorter than the head of a database for an empty one.
    fn begins_like_a_database(&self) -> bool {
        let mut head = [0; HEAD];
        let read = File::open(&self.path).and_then(|mut file| file.read_exact(&mut head));
        read.is_ok() && head.starts_with(MAGIC)
    }

    /// SQLite ignores a log that it does not know, with all that is in it. One that begins with nothing is what a
    /// power cut leaves before anything was safe in it.
    fn has_foreign_log(&self) -> bool {
        let mut start = [0; 4];
        let read = File::open(self.log()).and_then(|mut log| log.read_exact(&mut start));
        read.is_ok() && start != [0; 4] && !LOG_MAGIC.contains(&start)
    }

    /// Makes the file: `fill` gets a path beside it, and what it wrote there gets the journal's name when it is whole.
    /// If another process was first, theirs stays.
    ///
    /// # Errors
    /// Those of `fill`, and of the disk.
    pub fn make(&self, fill: impl FnOnce(&Path) -> Result<(), JournalError>) -> Result<(), JournalError> {
        let unwritable =
            |error: io::Error| JournalError::Unwritable { path: self.folder().into(), why: error.to_string() };
        let file = tempfile::Builder::new().prefix(".journal-").tempfile_in(self.folder()).map_err(unwritable)?;
        fill(file.path())?;
        match file.persist_noclobber(&self.path) {
            Ok(_) => File::open(self.folder()).and_then(|folder| folder.sync_all()).map_err(unwritable),
            Err(lost) if lost.error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(lost) => Err(unwritable(lost.error)),
        }
    }

    /// Takes the right to read it from everybody but its owner. Whoever may not do that did not make it.
    pub fn close_to_others(&self) {
        if fs::metadata(&self.path).is_ok_and(|found| found.mode() & EVERYBODY_ELSE != 0) {
            drop(fs::set_permissions(&self.path, Permissions::from_mode(FILE_MODE)));
        }
    }

    /// Which file lies there now.
    pub fn identity(&self) -> Option<Identity> {
        let identity = |found: Metadata| Identity { device: found.dev(), inode: found.ino() };
        fs::metadata(&self.path).ok().map(identity)
    }

    pub fn size(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |found| found.len()) + self.log_size()
    }
}
