//! A violation as a file: everything that brings the same run about again.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Handle;

use super::attempt::Attempt;
use super::baseline::Baseline;
use super::judge::judge;
use super::property::Finding;
use super::rehearsal::{Rehearsed, rehearse};
use super::search::Violation;
use super::shrink::shrink;
use super::story::story;
use super::subject::{Gap, Subject};
use crate::effect::EffectError;
use crate::world::sim::{PublicAddress, Scenario};

/// What `deployer verify --replay` reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ViolationFile {
    pub script: String,
    /// Of the script's text when this was found.
    pub digest: String,
    pub finding: Finding,
    pub attempt: Attempt,
    pub story: Vec<String>,
    pub given: Value,
    #[serde(default)]
    pub public: Option<PublicAddress>,
    #[serde(default)]
    pub gap: Option<Gap>,
    pub scenario: Scenario,
}

/// A violation as it is told.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    pub finding: Finding,
    pub attempt: Attempt,
    /// Attempts that showed the same.
    pub attempts: u64,
    pub story: Vec<String>,
    /// Where it was written, for `--replay`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// Shrinks a violation and tells its story.
///
/// # Errors
/// When the scenario cannot be set up.
pub fn tell(subject: &Subject, violation: &Violation, handle: &Handle) -> Result<Told, EffectError> {
    let (run, finding) = shrink(subject, &violation.attempt, &violation.finding, handle)?;
    let story = story(&run, &finding);
    Ok(Told { finding, attempt: run.attempt, attempts: violation.attempts, story, file: None })
}

impl ViolationFile {
    pub fn new(subject: &Subject, told: &Told) -> Self {
        Self {
            script: subject.source.name.clone(),
            digest: subject.source.digest().to_owned(),
            finding: told.finding.clone(),
            attempt: told.attempt.clone(),
            story: told.story.clone(),
            given: subject.given.clone(),
            public: subject.public.clone(),
            gap: subject.gap,
            scenario: subject.scenario.clone(),
        }
    }

    /// Runs it again, with the script as it is now.
    ///
    /// # Errors
    /// When the scenario cannot be set up.
    pub fn replay(&self, subject: &Subject, handle: &Handle) -> Result<(Rehearsed, Vec<Finding>), EffectError> {
        let baseline = Baseline::of(&rehearse(subject, &Attempt::default(), handle)?);
        let run = rehearse(subject, &self.attempt, handle)?;
        let found = judge(&baseline, subject.gap, &run);
        Ok((run, found))
    }
}
