//! Questions to people and their answers, as files of the state folder: one run asks, another process answers. Knows
//! neither who asks why nor how long it waits.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::base::run_id::RunId;
use crate::base::seq::Seq;
use crate::effect::approval::Approval;

/// Below the state folder.
const FOLDER: &str = "approvals";
const FOLDER_MODE: u32 = 0o700;
const QUESTION: &str = "question.json";
const ANSWER: &str = "answer.json";
/// Of one file; larger ones were not written here.
const BYTES_MAX: u64 = 64 * 1024;

/// `STATE/approvals/RUN/SEQ.question.json` and `SEQ.answer.json`. Each is written once, whole, and never changed.
#[derive(Clone, Debug)]
pub struct Approvals {
    folder: PathBuf,
}

/// A question as it was first asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    pub question: String,
    pub asked_unix_ms: i64,
    /// From then on nobody's answer counts.
    pub until_unix_ms: i64,
}

impl Approvals {
    /// Of this state folder. Nothing is made before the first question.
    pub fn of(state: &Path) -> Self {
        Self { folder: state.join(FOLDER) }
    }

    fn path(&self, run: &RunId, seq: &Seq, what: &str) -> PathBuf {
        self.folder.join(run.as_str()).join(format!("{seq}.{what}"))
    }

    /// Asks; the one that was asked at this place before stays, with its deadline.
    ///
    /// # Errors
    /// When it cannot be written or read.
    pub fn ask(&self, run: &RunId, seq: &Seq, question: Question) -> io::Result<Question> {
        let path = self.path(run, seq, QUESTION);
        if write_once(&path, &question)? { Ok(question) } else { read(&path) }
    }

    /// Answers, unless somebody did before; whether this answer counts.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn answer(&self, run: &RunId, seq: &Seq, answer: &Approval) -> io::Result<bool> {
        write_once(&self.path(run, seq, ANSWER), answer)
    }

    /// The answer that counts.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn answered(&self, run: &RunId, seq: &Seq) -> io::Result<Option<Approval>> {
        match read(&self.path(run, seq, ANSWER)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// The questions of a run that nobody has answered, in the order of the script.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn open(&self, run: &RunId) -> io::Result<Vec<(Seq, Question)>> {
        let mut open = Vec::new();
        for name in names(&self.folder.join(run.as_str()))? {
            let seq = name.strip_suffix(QUESTION).and_then(|seq| seq.strip_suffix('.')?.parse::<Seq>().ok());
            let Some(seq) = seq else { continue };
            if self.answered(run, &seq)?.is_none() {
                let question = read(&self.path(run, &seq, QUESTION))?;
                open.push((seq, question));
            }
        }
        open.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(open)
    }

    /// The runs that have asked something.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn runs(&self) -> io::Result<Vec<RunId>> {
        Ok(names(&self.folder)?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Forgets what a run asked. The answers are in the journal too, for as long as the run is.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn forget(&self, run: &RunId) -> io::Result<()> {
        match fs::remove_dir_all(self.folder.join(run.as_str())) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Whole and on disk, or not at all; whether it was the first.
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
        let approvals = Approvals::of(state.path());
        let (run, seq) = (RunId::from_bytes([3; 10]), "12.2.3".parse::<Seq>().unwrap());
        assert!(approvals.runs().unwrap().is_empty() && approvals.open(&run).unwrap().is_empty());
        let question = |text: &str, asked: i64| Question {
            question: text.into(),
            asked_unix_ms: asked,
            until_unix_ms: asked + 1_000,
        };
        assert_eq!(approvals.ask(&run, &seq, question("go on?", 5)).unwrap(), question("go on?", 5));
        assert_eq!(approvals.ask(&run, &seq, question("go on?", 900)).unwrap().until_unix_ms, 1_005);
        assert_eq!(approvals.open(&run).unwrap(), [(seq.clone(), question("go on?", 5))]);
        assert_eq!(approvals.runs().unwrap(), std::slice::from_ref(&run));
        assert_eq!(approvals.answered(&run, &seq).unwrap(), None);
        let yes = Approval { approved: true, ..Approval::timed_out(7) };
        assert!(approvals.answer(&run, &seq, &yes).unwrap());
        assert!(!approvals.answer(&run, &seq, &Approval::timed_out(8)).unwrap());
        assert_eq!(approvals.answered(&run, &seq).unwrap(), Some(yes));
        assert!(approvals.open(&run).unwrap().is_empty());
        approvals.forget(&run).unwrap();
        approvals.forget(&run).unwrap();
        assert!(approvals.runs().unwrap().is_empty());
    }

    #[test]
    fn a_damaged_file_is_an_error_and_no_answer() {
        let state = tempfile::tempdir().unwrap();
        let approvals = Approvals::of(state.path());
        let (run, seq) = (RunId::from_bytes([3; 10]), "4".parse::<Seq>().unwrap());
        approvals.answer(&run, &seq, &Approval::timed_out(1)).unwrap();
        fs::write(approvals.path(&run, &seq, ANSWER), "{\"approved\": tr").unwrap();
        assert!(approvals.answered(&run, &seq).unwrap_err().to_string().contains("is damaged"));
    }
}
