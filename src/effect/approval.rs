//! Asking a person, and waiting for the answer.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::facts::GRACE;
use super::family::family;
use super::{Access, EffectError, ErrorKind, Facts, Recovery, Request};
use crate::base::duration_text::DurationText;

/// How long somebody may be waited for.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Characters of a question, and of a note.
pub const TEXT_MAX: usize = 2_000;

family! {
    /// What can be asked of people.
    Approval: ApprovalEffect => ApprovalOutcome {
        Wait(AwaitApproval),
    }
}

/// `approval_wait`: waits until somebody says `deployer approve RUN`, with `--no` or without. Nobody within `timeout`
/// means no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaitApproval {
    pub question: String,
    /// Default 30 min, at most 7 days.
    #[serde(default = "default_timeout")]
    pub timeout: DurationText,
}

fn default_timeout() -> DurationText {
    DurationText::secs(30 * 60)
}

impl AwaitApproval {
    /// # Errors
    /// [`ErrorKind::Invalid`] without a question, or beyond the bounds.
    pub fn check(&self) -> Result<(), EffectError> {
        let invalid = |why: String| Err(EffectError::new(ErrorKind::Invalid, why).not_applied());
        if self.question.trim().is_empty() {
            return invalid("`question` is empty: nobody knows what to say yes to".into());
        }
        if self.question.chars().count() > TEXT_MAX {
            return invalid(format!("`question` has at most {TEXT_MAX} characters"));
        }
        if self.timeout.0.is_zero() || self.timeout.0 > TIMEOUT_MAX {
            return invalid(format!("`timeout` is more than 0 and at most {}", DurationText(TIMEOUT_MAX)));
        }
        Ok(())
    }
}

impl Facts for AwaitApproval {
    /// A write, so that the answer is in the journal for good: a run that is resumed does not ask again.
    fn access(&self) -> Access {
        Access::Write
    }

    /// The question is kept with its deadline: whoever asks again goes on waiting.
    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn interruptible(&self) -> bool {
        true
    }

    fn subject(&self) -> String {
        self.question.lines().next().unwrap_or_default().to_owned()
    }
}

impl Request for AwaitApproval {
    const KIND: &'static str = "approval_wait";
    type Reply = Approval;
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    pub approved: bool,
    /// Nobody answered.
    pub timed_out: bool,
    /// Who answered, `user@host`.
    #[serde(default)]
    pub by: Option<String>,
    #[serde(default)]
    pub note: Option<String>,
    /// When it was answered, milliseconds since 1970, UTC.
    pub at_unix_ms: i64,
}

impl Approval {
    /// Nobody said yes.
    pub fn timed_out(at_unix_ms: i64) -> Self {
        Self { approved: false, timed_out: true, by: None, note: None, at_unix_ms }
    }
}
