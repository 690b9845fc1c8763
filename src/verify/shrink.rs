//! Shrinks an attempt to the smallest set of faults that still shows the violation.

use tokio::runtime::Handle;

use super::attempt::Attempt;
use super::baseline::Baseline;
use super::judge::judge;
use super::property::Finding;
use super::simulated_run::{SimulatedRun, simulate};
use super::target::VerifyTarget;
use crate::effect::EffectError;

/// Returns the run of the smallest attempt that shows a finding of the same class, and that finding.
///
/// # Errors
/// When the scenario cannot be set up.
pub fn shrink(
    subject: &VerifyTarget,
    attempt: &Attempt,
    finding: &Finding,
    handle: &Handle,
) -> Result<(SimulatedRun, Finding), EffectError> {
    let baseline = Baseline::of(&simulate(subject, &Attempt::default(), handle)?);
    let shows = |attempt: &Attempt| -> Result<Option<(SimulatedRun, Finding)>, EffectError> {
        let run = simulate(subject, attempt, handle)?;
        let found = judge(&baseline, subject.gap, &run).into_iter().find(|found| found.class() == finding.class());
        Ok(found.map(|found| (run, found)))
    };
    let mut best = match shows(attempt)? {
        Some(shown) => shown,
        None => return Ok((simulate(subject, attempt, handle)?, finding.clone())),
    };
    loop {
        let mut smaller = None;
        for lesser in best.0.attempt.lesser() {
            if let Some(shown) = shows(&lesser)? {
                smaller = Some(shown);
                break;
            }
        }
        match smaller {
            Some(shown) => best = shown,
            None => return Ok(best),
        }
    }
}
