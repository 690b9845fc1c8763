//! Stores approval questions and answers as files in the state folder: a run asks, another process answers. Knows
//! neither why a run asks nor how long it waits.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::base::run_id::RunId;
use crate::base::seq::Seq;
use crate::effect::approval::Approval;

/// The subfolder of the state folder.
const FOLDER: &str = "approvals";
const FOLDER_MODE: u32 = 0o700;
const QUESTION: &str = "question.json";
const ANSWER: &str = "answer.json";
/// The largest file that is read. deployer writes no larger ones.
const BYTES_MAX: u64 = 64 * 1024;

/// The files `STATE/approvals/RUN/SEQ.question.json` and `SEQ.answer.json`. Each is written once, atomically, and never
/// changed.
#[derive(Clone, Debug)]
pub struct ApprovalStore {
    folder: PathBuf,
}

/// A question as it was first asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalQuestion {
    /// The text that the operator reads.
    pub question: String,
    /// When it was asked.
    pub asked_unix_ms: i64,
    /// When it expires. Later answers do not count.
    pub until_unix_ms: i64,
}

impl ApprovalStore {
    /// Opens the store of a state folder. The folder is created with the first question.
    pub fn new(state: &Path) -> Self {
        Self { folder: state.join(FOLDER) }
    }

    fn path(&self, run: &RunId, seq: &Seq, what: &str) -> PathBuf {
        self.folder.join(run.as_str()).join(format!("{seq}.{what}"))
    }

    /// Asks a question. If one was asked at this position before, returns that one with its original deadline.
    ///
    /// # Errors
    ///
    /// Returns an error when the question cannot be written or read.
    pub fn ask(&self, run: &RunId, seq: &Seq, question: ApprovalQuestion) -> io::Result<ApprovalQuestion> {
        let path = self.path(run, seq, QUESTION);
        if write_once(&path, &question)? { Ok(question) } else { read(&path) }
    }

    /// Records an answer and returns whether it counts. Only the first answer does.
    ///
    /// # Errors
    ///
    /// Returns an error when the answer cannot be written.
    pub fn answer(&self, run: &RunId, seq: &Seq, answer: &Approval) -> io::Result<bool> {
        write_once(&self.path(run, seq, ANSWER), answer)
    }

    /// Returns the answer that counts, if there is one.
    ///
    /// # Errors
    ///
    /// Returns an error when the answer cannot be read.
    pub fn answered(&self, run: &RunId, seq: &Seq) -> io::Result<Option<Approval>> {
        match read(&self.path(run, seq, ANSWER)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Lists the unanswered questions of a run, in the order of the script.
    ///
    /// # Errors
    ///
    /// Returns an error when a question cannot be read.
    pub fn pending(&self, run: &RunId) -> io::Result<Vec<(Seq, ApprovalQuestion)>> {
        let mut pending = Vec::new();
        for name in file_names(&self.folder.join(run.as_str()))? {
            let seq = name.strip_suffix(QUESTION).and_then(|seq| seq.strip_suffix('.')?.parse::<Seq>().ok());
            let Some(seq) = seq else { continue };
            if self.answered(run, &seq)?.is_none() {
                let question = read(&self.path(run, &seq, QUESTION))?;
                pending.push((seq, question));
            }
        }
        pending.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(pending)
    }

    /// Lists the runs that have asked a question.
    ///
    /// # Errors
    ///
    /// Returns an error when the folder cannot be read.
    pub fn runs(&self) -> io::Result<Vec<RunId>> {
        Ok(file_names(&self.folder)?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Removes the questions and answers of a run. The journal of the run keeps the answers.
    ///
    /// # Errors
    ///
    /// Returns an error when the files cannot be removed.
    pub fn remove(&self, run: &RunId) -> io::Result<()> {
        match fs::remove_dir_all(self.folder.join(run.as_str())) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn file_names(folder: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Writes the file atomically and durably, and returns whether it did not exist before.
fn write_once(path: &Path, value: &impl Serialize) -> io::Result<bool> {
    let folder = path.parent().unwrap_or(path);
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
    serde_json::to_writer(&mut file, value)?;
    file.flush()?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => File::open(folder).and_then(|folder| folder.sync_all()).map(|()| true),
        Err(lost) if lost.error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(lost) => Err(lost.error),
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    if fs::metadata(path)?.len() > BYTES_MAX {
        return Err(io::Error::other(format!("`{}` is too large", path.display())));
    }
    serde_json::from_slice(&fs::read(path)?)
        .map_err(|error| io::Error::other(format!("`{}` is damaged: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_question_and_the_first_answer_stay() {
        let state = tempfile::tempdir().unwrap();
        let approvals = ApprovalStore::new(state.path());
        let (run, seq) = (RunId::from_bytes([3; 10]), "12.2.3".parse::<Seq>().unwrap());
        assert!(approvals.runs().unwrap().is_empty() && approvals.pending(&run).unwrap().is_empty());
        let question = |text: &str, asked: i64| ApprovalQuestion {
            question: text.into(),
            asked_unix_ms: asked,
            until_unix_ms: asked + 1_000,
        };
        assert_eq!(approvals.ask(&run, &seq, question("go on?", 5)).unwrap(), question("go on?", 5));
        assert_eq!(approvals.ask(&run, &seq, question("go on?", 900)).unwrap().until_unix_ms, 1_005);
        assert_eq!(approvals.pending(&run).unwrap(), [(seq.clone(), question("go on?", 5))]);
        assert_eq!(approvals.runs().unwrap(), std::slice::from_ref(&run));
        assert_eq!(approvals.answered(&run, &seq).unwrap(), None);
        let yes = Approval { approved: true, ..Approval::timed_out(7) };
        assert!(approvals.answer(&run, &seq, &yes).unwrap());
        assert!(!approvals.answer(&run, &seq, &Approval::timed_out(8)).unwrap());
        assert_eq!(approvals.answered(&run, &seq).unwrap(), Some(yes));
        assert!(approvals.pending(&run).unwrap().is_empty());
        approvals.remove(&run).unwrap();
        approvals.remove(&run).unwrap();
        assert!(approvals.runs().unwrap().is_empty());
    }

    #[test]
    fn a_damaged_file_is_an_error_and_no_answer() {
        let state = tempfile::tempdir().unwrap();
        let approvals = ApprovalStore::new(state.path());
        let (run, seq) = (RunId::from_bytes([3; 10]), "4".parse::<Seq>().unwrap());
        approvals.answer(&run, &seq, &Approval::timed_out(1)).unwrap();
        fs::write(approvals.path(&run, &seq, ANSWER), "{\"approved\": tr").unwrap();
        assert!(approvals.answered(&run, &seq).unwrap_err().to_string().contains("is damaged"));
    }
}
