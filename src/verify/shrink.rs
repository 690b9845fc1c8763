//! Makes an attempt as small as it can be while the same still does not hold.

use tokio::runtime::Handle;

use super::attempt::Attempt;
use super::baseline::Baseline;
use super::judge::judge;
use super::property::Finding;
use super::rehearsal::{Rehearsed, rehearse};
use super::subject::Subject;
use crate::effect::EffectError;

/// The smallest attempt that shows a finding of the same kind, its run, and the finding.
///
/// # Errors
/// When the scenario cannot be set up.
pub fn shrink(
    subject: &Subject,
    attempt: &Attempt,
    wanted: &Finding,
    handle: &Handle,
) -> Result<(Rehearsed, Finding), EffectError> {
    let baseline = Baseline::of(&rehearse(subject, &Attempt::default(), handle)?);
    let shows = |attempt: &Attempt| -> Result<Option<(Rehearsed, Finding)>, EffectError> {
        let run = rehearse(subject, attempt, handle)?;
        let found = judge(&baseline, subject.gap, &run).into_iter().find(|found| found.class() == wanted.class());
        Ok(found.map(|found| (run, found)))
    };
    let mut best = match shows(attempt)? {
        Some(shown) => shown,
        None => return Ok((rehearse(subject, attempt, handle)?, wanted.clone())),
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
