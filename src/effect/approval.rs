//! Approvals: asking an operator, and waiting for the answer.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::EffectError;
use super::category::category;
use super::request::request;
use crate::base::duration_text::DurationText;

/// The longest time to wait for an answer.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// The longest question or note, in characters.
pub const TEXT_MAX: usize = 2_000;

category! {
    /// Questions to operators.
    Approval: ApprovalEffect => ApprovalOutcome {
        Wait(AwaitApproval),
    }
}

/// `approval_wait`: waits until an operator runs `deployer approve RUN`, with or without `--no`. No answer within
/// `timeout` means no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaitApproval {
    /// What to approve.
    pub question: String,
    /// Default 30 min, at most 7 days.
    #[serde(default = "default_timeout")]
    pub timeout: DurationText,
}

fn default_timeout() -> DurationText {
    DurationText::secs(30 * 60)
}

impl AwaitApproval {
    /// Checks the question and the timeout.
    ///
    /// # Errors
    /// Fails without a question, or beyond the limits.
    pub fn validate(&self) -> Result<(), EffectError> {
        if self.question.trim().is_empty() {
            return Err(EffectError::invalid("`question` is empty, so there is nothing to approve"));
        }
        if self.question.chars().count() > TEXT_MAX {
            return Err(EffectError::invalid(format!("`question` has at most {TEXT_MAX} characters")));
        }
        if self.timeout.0.is_zero() || self.timeout.0 > TIMEOUT_MAX {
            let longest = DurationText(TIMEOUT_MAX);
            return Err(EffectError::invalid(format!("`timeout` is more than 0 and at most {longest}")));
        }
        Ok(())
    }
}

request! {
    AwaitApproval {
        kind: "approval_wait",
        reply: Approval,
        // A write, so that the answer stays in the journal: a resumed run does not ask again.
        access: Write,
        // The question is stored with its deadline: a second request continues to wait.
        recovery: Repeat,
        deadline: timeout,
        interruptible: true,
        subject: |wait| wait.question.lines().next().unwrap_or_default().to_owned(),
    }
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Whether the answer was yes.
    pub approved: bool,
    /// Whether there was no answer in time.
    pub timed_out: bool,
    /// Who answered, as `user@host`.
    #[serde(default)]
    pub by: Option<String>,
    /// What they noted.
    #[serde(default)]
    pub note: Option<String>,
    /// When it was answered, in milliseconds since 1970, UTC.
    pub at_unix_ms: i64,
}

impl Approval {
    /// Returns the answer for a question that was not answered in time.
    pub fn timed_out(at_unix_ms: i64) -> Self {
        Self { approved: false, timed_out: true, by: None, note: None, at_unix_ms }
    }
}
