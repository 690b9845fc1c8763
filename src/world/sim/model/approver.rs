//! Simulated people who answer approval requests.

use serde::{Deserialize, Serialize};

/// An approver: the answer, and when it comes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimApprover {
    /// Text that the question must contain for this approver to answer.
    pub asked: String,
    /// Whether the answer is yes.
    pub approves: bool,
    /// Time from the question to the answer.
    pub after_ms: u64,
    /// Who answers.
    pub name: String,
    /// A note with the answer.
    pub note: Option<String>,
}

impl Default for SimApprover {
    fn default() -> Self {
        Self { asked: String::new(), approves: true, after_ms: 60_000, name: "someone@here".into(), note: None }
    }
}
