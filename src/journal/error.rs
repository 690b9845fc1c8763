//! Why the journal could not be read or written.

use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::base::run_id::RunId;

/// An error of the journal. No effect is performed after one.
#[derive(Debug, Error, Diagnostic)]
pub enum JournalError {
    /// The state folder is not usable.
    #[error("the state folder `{}` cannot be used: {why}", path.display())]
    #[diagnostic(code(deployer::journal::folder), help("choose another one with `--state DIR`"))]
    Folder {
        /// The path.
        path: PathBuf,
        /// Why.
        why: String,
    },

    /// The file is no journal, or cannot be opened.
    #[error("the journal `{}` cannot be opened: {why}", path.display())]
    #[diagnostic(
        code(deployer::journal::open),
        help("nothing is deployed without a journal; move the file away to start a new one, or use `--state DIR`")
    )]
    Open {
        /// The path.
        path: PathBuf,
        /// Why.
        why: String,
    },

    /// The file is damaged.
    #[error("the journal `{}` is damaged: {why}", path.display())]
    #[diagnostic(
        code(deployer::journal::damaged),
        help(
            "nothing is deployed without a journal; restore it from a backup, or recover what you can with \
             `sqlite3 {0} .recover`; to start a new one, move `{0}*` away, and check what an interrupted run left",
            path.display()
        )
    )]
    Damaged {
        /// The path.
        path: PathBuf,
        /// Why.
        why: String,
    },

    /// The state folder is not writable.
    #[error("the state folder `{}` cannot be written: {why}", path.display())]
    #[diagnostic(
        code(deployer::journal::folder),
        help("nothing is deployed without a journal; free disk space and check the permissions, or use `--state DIR`")
    )]
    Unwritable {
        /// The path.
        path: PathBuf,
        /// Why.
        why: String,
    },

    /// Another process has locked the journal.
    #[error("the journal is locked by another process, and was not released within {timeout_s} s")]
    #[diagnostic(
        code(deployer::journal::busy),
        help("find the process that holds `journal.db` in the state folder (`fuser`), stop it, then try again")
    )]
    Busy {
        /// How long it was waited for, in seconds.
        timeout_s: u64,
    },

    /// A newer version wrote the journal.
    #[error(
        "the journal `{}` was written by a newer deployer (journal version {found}, this one knows {known})",
        path.display()
    )]
    #[diagnostic(
        code(deployer::journal::newer),
        help("install the newer deployer, or use another folder with `--state DIR`")
    )]
    Newer {
        /// The path.
        path: PathBuf,
        /// The version of the file.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },

    /// A write failed.
    #[error("the journal cannot be written: {why}")]
    #[diagnostic(
        code(deployer::journal::write),
        help("free space on the disk of the state folder, or use another one with `--state DIR`")
    )]
    Write {
        /// Why.
        why: String,
    },

    /// An entry exceeds the limit for one entry.
    #[error("entry `{entry}` has {size} bytes; the limit is {limit}")]
    #[diagnostic(code(deployer::journal::too_large))]
    TooLarge {
        /// The kind of the entry.
        entry: &'static str,
        /// Its size, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },

    /// An entry exceeds the limit for one run.
    #[error("entry `{entry}` has {size} bytes; with it the large values of this run would exceed {limit}")]
    #[diagnostic(code(deployer::journal::too_large), help("let programs write large results to files"))]
    RunTooLarge {
        /// The kind of the entry.
        entry: &'static str,
        /// Its size, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },

    /// A read failed.
    #[error("the journal cannot be read: {why}")]
    #[diagnostic(
        code(deployer::journal::read),
        help("restore `journal.db` in the state folder from a backup, or use another folder with `--state DIR`")
    )]
    Read {
        /// Why.
        why: String,
    },

    /// Another process writes to the same run.
    #[error("another process also works on run {run}")]
    #[diagnostic(
        code(deployer::journal::overtaken),
        help("wait for it to end, then see what is left: `deployer show {run}`")
    )]
    Overtaken {
        /// The run.
        run: RunId,
    },

    /// The entry cannot follow the entries before it.
    #[error("entry `{entry}` is not allowed here: {why}")]
    #[diagnostic(code(deployer::journal::illegal), help("this is a bug in deployer; please report it"))]
    Illegal {
        /// The kind of the entry.
        entry: &'static str,
        /// Why.
        why: String,
    },
}

impl JournalError {
    /// Returns whether only the size of this entry is at fault: a smaller one can be written.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::RunTooLarge { .. })
    }
}
