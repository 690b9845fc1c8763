//! A violation as a file: everything that reproduces the run.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Handle;

use super::attempt::Attempt;
use super::baseline::Baseline;
use super::judge::judge;
use super::property::Finding;
use super::search::Violation;
use super::shrink::shrink;
use super::simulated_run::{SimulatedRun, simulate};
use super::story::story;
use super::target::{Gap, VerifyTarget};
use crate::effect::EffectError;
use crate::world::sim::{PublicAddress, Scenario};

/// What `deployer verify --replay` reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ViolationFile {
    /// The script.
    pub script: String,
    /// Of the script's text when this was found.
    pub digest: String,
    /// What was found.
    pub finding: Finding,
    /// The faults that show it.
    pub attempt: Attempt,
    /// The timeline of the run.
    pub story: Vec<String>,
    /// The parameters as given.
    pub given: Value,
    /// The public address.
    #[serde(default)]
    pub public: Option<PublicAddress>,
    /// The longest gap that was allowed.
    #[serde(default)]
    pub gap: Option<Gap>,
    /// The simulated host.
    pub scenario: Scenario,
}

/// A violation as it is reported.
#[derive(Clone, Debug, Serialize)]
pub struct ReportedViolation {
    /// What was found.
    pub finding: Finding,
    /// The faults that show it.
    pub attempt: Attempt,
    /// The number of attempts with the same finding.
    pub attempts: u64,
    /// The timeline of the run.
    pub story: Vec<String>,
    /// Where it was written, for `--replay`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// Shrinks a violation and adds its timeline.
///
/// # Errors
/// When the scenario cannot be set up.
pub fn tell(subject: &VerifyTarget, violation: &Violation, handle: &Handle) -> Result<ReportedViolation, EffectError> {
    let (run, finding) = shrink(subject, &violation.attempt, &violation.finding, handle)?;
    let story = story(&run, &finding);
    Ok(ReportedViolation { finding, attempt: run.attempt, attempts: violation.attempts, story, file: None })
}

impl ViolationFile {
    /// Creates the file of a violation.
    pub fn new(subject: &VerifyTarget, violation: &ReportedViolation) -> Self {
        Self {
            script: subject.source.name.clone(),
            digest: subject.source.digest().to_owned(),
            finding: violation.finding.clone(),
            attempt: violation.attempt.clone(),
            story: violation.story.clone(),
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
    pub fn replay(&self, subject: &VerifyTarget, handle: &Handle) -> Result<(SimulatedRun, Vec<Finding>), EffectError> {
        let baseline = Baseline::of(&simulate(subject, &Attempt::default(), handle)?);
        let run = simulate(subject, &self.attempt, handle)?;
        let found = judge(&baseline, subject.gap, &run);
        Ok((run, found))
    }
}
