//! Why the journal could not be read or written.

use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::base::run_id::RunId;

/// A fault of the journal. No effect is performed after one.
#[derive(Debug, Error, Diagnostic)]
pub enum JournalError {
    #[error("the state folder `{}` cannot be used: {why}", path.display())]
    #[diagnostic(code(deployer::journal::folder), help("choose another one with `--state DIR`"))]
    Folder { path: PathBuf, why: String },

    #[error("the journal `{}` cannot be opened: {why}", path.display())]
    #[diagnostic(
        code(deployer::journal::open),
        help("nothing is deployed without a journal; move the file away to begin a new one, or use `--state DIR`")
    )]
    Open { path: PathBuf, why: String },

    #[error("the journal `{}` is damaged: {why}", path.display())]
    #[diagnostic(
        code(deployer::journal::damaged),
        help(
            "nothing is deployed without a journal; restore it from a backup, or see what can be saved: \
             `sqlite3 {0} .recover`; to begin a new one, move `{0}*` away, and look for what a killed run left",
            path.display()
        )
    )]
    Damaged { path: PathBuf, why: String },

    #[error("the state folder `{}` cannot be written: {why}", path.display())]
    #[diagnostic(
        code(deployer::journal::folder),
        help("nothing is deployed without a journal; make room and give the right to write, or use `--state DIR`")
    )]
    Unwritable { path: PathBuf, why: String },

    #[error("the journal is held by another process, and was not let go of within {patience_s} s")]
    #[diagnostic(
        code(deployer::journal::busy),
        help("see who holds `journal.db` in the state folder (`fuser` tells), end it, then try again")
    )]
    Busy { patience_s: u64 },

    #[error(
        "the journal `{}` was written by a newer deployer (journal version {found}, this one knows {known})",
        path.display()
    )]
    #[diagnostic(
        code(deployer::journal::newer),
        help("install the newer deployer, or use another folder with `--state DIR`")
    )]
    Newer { path: PathBuf, found: i64, known: i64 },

    #[error("the journal cannot be written: {why}")]
    #[diagnostic(
        code(deployer::journal::write),
        help("make room on the disk of the state folder, or use another one with `--state DIR`")
    )]
    Write { why: String },

    #[error("entry `{entry}` has {size} bytes, and the journal takes {limit} at the most")]
    #[diagnostic(code(deployer::journal::too_large))]
    TooLarge { entry: &'static str, size: usize, limit: usize },

    #[error("entry `{entry}` has {size} bytes, and with it the large values of this run would exceed {limit}")]
    #[diagnostic(code(deployer::journal::too_large), help("let programs write large results into files"))]
    RunTooLarge { entry: &'static str, size: usize, limit: usize },

    #[error("the journal cannot be read: {why}")]
    #[diagnostic(
        code(deployer::journal::read),
        help("restore `journal.db` in the state folder from a backup, or use another folder with `--state DIR`")
    )]
    Read { why: String },

    #[error("another process works on run {run} too")]
    #[diagnostic(code(deployer::journal::overtaken), help("let it end, then see what is left: `deployer show {run}`"))]
    Overtaken { run: RunId },

    #[error("entry `{entry}` is not allowed here: {why}")]
    #[diagnostic(code(deployer::journal::illegal), help("this is a fault of deployer; please report it"))]
    Illegal { entry: &'static str, why: String },
}

impl JournalError {
    /// Whether only this entry is at fault: a smaller one can be written.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::RunTooLarge { .. })
    }
}
