//! Visitors: a stream of requests to the public address, at every instant of the virtual clock. What they see is
//! kept as spells: from when to when it was the same. Knows nothing of deploys.
//!
//! Faults: none of their own; they tell of the others'.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::container::SimContainer;
use super::sim_host::SimHost;

/// Where visitors go, and which answers they are happy with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicAddress {
    /// Of the host.
    pub port: u16,
    pub path: String,
    /// Status codes that count; 200 to 299 when empty.
    #[serde(default)]
    pub status: Vec<u16>,
}

impl PublicAddress {
    fn pleases(&self, status: u16) -> bool {
        if self.status.is_empty() { (200..300).contains(&status) } else { self.status.contains(&status) }
    }
}

/// What visitors saw from an instant to another, in milliseconds of the clock's `steady_ms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spell {
    pub from_ms: u64,
    pub to_ms: u64,
    pub saw: Saw,
}

impl Spell {
    pub fn lasted_ms(&self) -> u64 {
        self.to_ms - self.from_ms
    }
}

/// What a visitor saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "saw")]
pub enum Saw {
    /// A good answer.
    Served {
        image: String,
    },
    /// An answer that is none.
    Answered {
        status: u16,
        image: String,
    },
    Refused,
}

impl Saw {
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Served { .. })
    }
}

impl fmt::Display for Saw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Served { image } => write!(f, "{image} answers"),
            Self::Answered { status, image } => write!(f, "{image} answers {status}"),
            Self::Refused => f.write_str("connections are refused"),
        }
    }
}

/// Spells that are kept; a run that has more has long been told enough of.
const SPELLS: usize = 4_096;

/// What visitors saw so far.
#[derive(Clone, Debug)]
pub(super) struct Visitors {
    pub(super) address: PublicAddress,
    until_ms: u64,
    pub(super) spells: Vec<Spell>,
    /// When a container was killed that had requests to finish, and which.
    pub(super) cut_off: Vec<(u64, String)>,
    /// The first time that requests went to a target which answers none, and which it was.
    pub(super) misdirected: Option<(u64, String)>,
}

impl Visitors {
    pub(super) fn arriving(address: PublicAddress, now: u64) -> Self {
        Self { address, until_ms: now, spells: Vec::new(), cut_off: Vec::new(), misdirected: None }
    }

    fn saw(&mut self, from_ms: u64, to_ms: u64, answer: Option<(u16, &str)>) {
        let good = answer.is_some_and(|(status, image)| self.address.pleases(status) || image == HELD);
        let is_same = |saw: &Saw| match (saw, answer) {
            (Saw::Served { image }, Some((_, of))) => good && image == of,
            (Saw::Answered { status, image }, Some((now, of))) => !good && *status == now && image == of,
            (Saw::Refused, None) => true,
            _ => false,
        };
        if let Some(last) = self.spells.last_mut().filter(|last| is_same(&last.saw)) {
            last.to_ms = to_ms;
        } else if self.spells.len() < SPELLS {
            let saw = match answer {
                Some((_, image)) if good => Saw::Served { image: image.into() },
                Some((status, image)) => Saw::Answered { status, image: image.into() },
                None => Saw::Refused,
            };
            self.spells.push(Spell { from_ms, to_ms, saw });
        }
    }
}

/// Who answers when nobody's container does.
const STRANGER: &str = "another process";
/// Who answers when requests wait; and that waiting is no harm.
const HELD: &str = "whoever comes next";
const GOOD: u16 = 200;

impl SimHost {
    /// Lets visitors come until that instant, with everything as it is now.
    pub(super) fn visit_until(&mut self, at: u64) {
        let Some(mut visitors) = self.visitors.take() else { return };
        let (port, path) = (visitors.address.port, visitors.address.path.clone());
        while visitors.until_ms < at {
            let from = visitors.until_ms;
            let mut to = at;
            let changes = self.containers.running().filter_map(|container| changes_after(container, from)).min();
            to = to.min(changes.unwrap_or(at));
            let answer = self.answer_at(port, &path, from);
            let seen = answer.as_ref().map(|answer| (answer.page.status, answer.image.as_deref().unwrap_or(STRANGER)));
            let held = self.holds(port, from);
            visitors.saw(from, to, if held { Some((GOOD, HELD)) } else { seen });
            if let Some(target) = self.misdirected(port, &path, from).filter(|_| visitors.misdirected.is_none()) {
                visitors.misdirected = Some((from, target));
            }
            visitors.until_ms = to;
        }
        self.visitors = Some(visitors);
    }

    /// A container is killed at that instant that would have ended by itself: whoever it was answering gets nothing.
    pub(super) fn cut_off(&mut self, name: &str, at: u64) {
        let Some(visitors) = &mut self.visitors else { return };
        let port = visitors.address.port;
        if self.containers.publisher(port).is_some_and(|(container, _)| container.name() == name) {
            visitors.cut_off.push((at, name.to_owned()));
        }
    }
}

/// The next instant at which the container answers otherwise by itself.
fn changes_after(container: &SimContainer, from: u64) -> Option<u64> {
    let started = container.started_at?;
    let behaviour = &container.behaviour;
    [Some(started + behaviour.boot_ms), behaviour.sick_after_ms.map(|after| started + after)]
        .into_iter()
        .flatten()
        .filter(|at| *at > from)
        .min()
}
