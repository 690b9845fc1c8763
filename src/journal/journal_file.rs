//! The file of the journal: whether it may be opened, how it is created, who may read it. Knows files and what SQLite
//! puts beside them, but not the tables.

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::JournalError;

/// Name of the database in the state folder.
const FILE_NAME: &str = "journal.db";
/// Only the owner may read what was deployed and how.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const OTHERS: u32 = 0o077;
/// The first bytes of a database, and the length of its header.
const MAGIC: &[u8] = b"SQLite format 3\0";
const HEADER_LEN: usize = 100;
/// The first bytes of the log beside the database, for both byte orders.
const LOG_MAGIC: [[u8; 4]; 2] = [[0x37, 0x7f, 0x06, 0x82], [0x37, 0x7f, 0x06, 0x83]];

/// Identifies a file independent of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

/// The database file in the state folder.
#[derive(Clone, Debug)]
pub(super) struct JournalFile {
    path: PathBuf,
}

impl JournalFile {
    pub fn in_folder(folder: &Path) -> Self {
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

    /// Creates the state folder, readable only by its owner, if there is none.
    ///
    /// # Errors
    /// When it cannot be created or is no folder.
    pub fn create_folder(&self) -> Result<(), JournalError> {
        let unusable = |why: String| JournalError::Folder { path: self.folder().into(), why };
        if self.folder().is_file() {
            return Err(unusable("it is a file".into()));
        }
        let created = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(self.folder());
        created.map_err(|error| unusable(error.to_string()))
    }

    /// Returns whether there is a journal.
    ///
    /// # Errors
    /// When the file must not be opened: SQLite would treat it as empty, and entries would be lost silently.
    pub fn exists(&self) -> Result<bool, JournalError> {
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
            return Err(open("it is not a regular file".into()));
        }
        if found.len() == 0 {
            return Err(self.damaged(match self.log_size() {
                0 => "the file is empty".into(),
                size => format!("it is empty, but `{FILE_NAME}-wal` next to it has {size} bytes of its entries"),
            }));
        }
        if !self.has_database_header() {
            return Err(open("it is not a database, or it is truncated".into()));
        }
        if self.has_foreign_log() {
            let why = format!("`{FILE_NAME}-wal` next to it, which has its latest entries, is not a log");
            return Err(self.damaged(why));
        }
        Ok(true)
    }

    fn is_absent(&self) -> Result<(), JournalError> {
        if fs::symlink_metadata(&self.path).is_ok() {
            let why = "it is a link to a file that does not exist".into();
            return Err(JournalError::Open { path: self.path.clone(), why });
        }
        match self.log_size() {
            0 => Ok(()),
            size => Err(self
                .damaged(format!("it is missing, but `{FILE_NAME}-wal` next to it has {size} bytes of its entries"))),
        }
    }

    fn damaged(&self, why: String) -> JournalError {
        JournalError::Damaged { path: self.path.clone(), why }
    }

    /// Returns the size of the log, in bytes: entries that are not in the database yet.
    pub fn log_size(&self) -> u64 {
        fs::metadata(self.log()).map_or(0, |log| log.len())
    }

    /// SQLite treats a file that is shorter than the header as an empty database.
    fn has_database_header(&self) -> bool {
        let mut header = [0; HEADER_LEN];
        let read = File::open(&self.path).and_then(|mut file| file.read_exact(&mut header));
        read.is_ok() && header.starts_with(MAGIC)
    }

    /// SQLite ignores a log that it does not recognise, with all entries in it. A log that starts with zeros is what a
    /// power failure leaves before anything in it was durable.
    fn has_foreign_log(&self) -> bool {
        let mut start = [0; 4];
        let read = File::open(self.log()).and_then(|mut log| log.read_exact(&mut start));
        read.is_ok() && start != [0; 4] && !LOG_MAGIC.contains(&start)
    }

    /// Creates the file: `fill` writes to a temporary path, which is then renamed. If another process was first, its
    /// file stays.
    ///
    /// # Errors
    /// Returns the error of `fill` or of the disk.
    pub fn create(&self, fill: impl FnOnce(&Path) -> Result<(), JournalError>) -> Result<(), JournalError> {
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

    /// Makes the file readable only by its owner. A failure is ignored: it means that another user owns the file.
    pub fn restrict_access(&self) {
        if fs::metadata(&self.path).is_ok_and(|found| found.mode() & OTHERS != 0) {
            drop(fs::set_permissions(&self.path, Permissions::from_mode(FILE_MODE)));
        }
    }

    /// Returns the identity of the file that has the journal's name now.
    pub fn identity(&self) -> Option<Identity> {
        let identity = |found: Metadata| Identity { device: found.dev(), inode: found.ino() };
        fs::metadata(&self.path).ok().map(identity)
    }

    /// Returns the size of the database and its log, in bytes.
    pub fn size(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |found| found.len()) + self.log_size()
    }
}
