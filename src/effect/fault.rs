//! What can go wrong with an effect: a closed list, and which of them can strike which effect. Follows from what the
//! effect is (access, family), never from who asks. Knows nothing of how a fault is brought about.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::compose::ComposeEffect;
use super::container::ContainerEffect;
use super::host::HostEffect;
use super::image::ImageEffect;
use super::volume::VolumeEffect;
use super::{Access, Effect};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Refused for good; nothing was changed.
    Refused,
    /// A passing fault: the next try of the same effect goes through.
    Transient,
    /// It was done, and the answer got lost.
    TimeoutApplied,
    /// It was not done, and nobody can tell.
    TimeoutNotApplied,
    /// It takes [`SLOW_MS`] longer, and is done.
    Slow,
    /// A part of it is done, then it fails.
    Partial,
    /// A read that answers what was true before the last change.
    Stale,
    /// The container that it leaves running dies shortly after, and each time that it is started again.
    Dies,
    /// The container that it leaves running gets well, and falls ill shortly after.
    FallsIll,
    /// No room is left on the disk, for this and for what comes after.
    DiskFull,
    /// The engine restarts: this is not done, containers end, and those come back whose restart policy says so.
    DaemonRestarts,
}

/// What [`FaultKind::Slow`] adds.
pub const SLOW_MS: u64 = 10_000;

impl FaultKind {
    pub const ALL: [Self; 11] = [
        Self::Refused,
        Self::Transient,
        Self::TimeoutApplied,
        Self::TimeoutNotApplied,
        Self::Slow,
        Self::Partial,
        Self::Stale,
        Self::Dies,
        Self::FallsIll,
        Self::DiskFull,
        Self::DaemonRestarts,
    ];

    /// What it does, after the effect's name: `docker_run` was refused.
    pub fn words(self) -> &'static str {
        match self {
            Self::Refused => "was refused",
            Self::Transient => "got no answer once",
            Self::TimeoutApplied => "was done, but the answer got lost",
            Self::TimeoutNotApplied => "was not done, and no answer came",
            Self::Slow => "took 10 s longer",
            Self::Partial => "failed when a part of it was done",
            Self::Stale => "answered what was true before the last change",
            Self::Dies => "succeeded, and the container died just after",
            Self::FallsIll => "succeeded, and the container fell ill soon after",
            Self::DiskFull => "found the disk full",
            Self::DaemonRestarts => "met a restart of the engine",
        }
    }

    /// Whether it can strike this effect.
    pub fn strikes(self, effect: &Effect) -> bool {
        // Time, and what the program knows by itself, cannot fail.
        if matches!(effect, Effect::Time(_) | Effect::Host(HostEffect::Env(_) | HostEffect::Secret(_))) {
            return false;
        }
        let writes = effect.facts().access() == Access::Write;
        match self {
            Self::Refused | Self::Transient | Self::TimeoutNotApplied | Self::Slow => true,
            Self::TimeoutApplied => writes,
            Self::Partial => matches!(
                effect,
                Effect::Container(ContainerEffect::Run(_) | ContainerEffect::Remove(_))
                    | Effect::Compose(ComposeEffect::Up(_) | ComposeEffect::Stop(_))
            ),
            Self::Stale => !writes && is_of_engine(effect),
            Self::Dies | Self::FallsIll => matches!(
                effect,
                Effect::Container(ContainerEffect::Run(_) | ContainerEffect::Start(_))
                    | Effect::Compose(ComposeEffect::Up(_))
            ),
            Self::DiskFull => stores(effect),
            Self::DaemonRestarts => writes && is_of_engine(effect) || matches!(effect, Effect::Health(_)),
        }
    }

    /// Whether only a simulated engine can bring it about.
    pub fn is_of_world(self) -> bool {
        !matches!(self, Self::Refused | Self::Transient | Self::TimeoutApplied | Self::TimeoutNotApplied)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Whether the engine of containers answers it.
pub fn is_of_engine(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Container(_) | Effect::Image(_) | Effect::Volume(_) | Effect::Network(_) | Effect::Compose(_)
    )
}

/// Whether it needs room on the disk.
fn stores(effect: &Effect) -> bool {
    match effect {
        Effect::Container(effect) => matches!(effect, ContainerEffect::Run(_) | ContainerEffect::Create(_)),
        Effect::Image(effect) => {
            matches!(effect, ImageEffect::Build(_) | ImageEffect::Pull(_) | ImageEffect::Load(_))
        }
        Effect::Volume(effect) => matches!(effect, VolumeEffect::Create(_)),
        Effect::Compose(effect) => matches!(effect, ComposeEffect::Up(_)),
        Effect::Sqlite(_) | Effect::Object(_) => effect.facts().access() == Access::Write,
        _ => false,
    }
}

/// A set of faults, small enough to keep one for every effect of many runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultSet(u16);

impl FaultSet {
    /// Those that can strike this effect.
    pub fn of(effect: &Effect) -> Self {
        let bits = FaultKind::ALL.iter().enumerate().filter(|(_, fault)| fault.strikes(effect));
        Self(bits.fold(0, |set, (place, _)| set | 1 << place))
    }

    pub fn iter(self) -> impl Iterator<Item = FaultKind> {
        FaultKind::ALL
            .into_iter()
            .enumerate()
            .filter(move |(place, _)| self.0 & 1 << place != 0)
            .map(|(_, fault)| fault)
    }

    /// Without the ends of containers: what comes back when a run is taken back is the last that there is, and if
    /// that dies as well, no script can help.
    #[must_use]
    pub fn without_ends(self) -> Self {
        let ends = [FaultKind::Dies, FaultKind::FallsIll];
        let kept = FaultKind::ALL.iter().enumerate().filter(|(_, fault)| !ends.contains(fault));
        Self(kept.fold(0, |set, (place, _)| set | 1 << place) & self.0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::container::{InspectContainer, RunContainer};

    #[test]
    fn what_applies_follows_from_the_effect() {
        let spec = serde_json::from_value(serde_json::json!({"name": "web", "image": "web:v1"})).unwrap();
        let run: Effect = RunContainer(spec).into();
        let faults: Vec<FaultKind> = FaultSet::of(&run).iter().collect();
        assert!(!faults.contains(&FaultKind::Stale));
        assert_eq!(faults.len(), 10);
        let look: Effect = InspectContainer { container: "web".into(), missing_ok: true }.into();
        let faults: Vec<FaultKind> = FaultSet::of(&look).iter().collect();
        let reads = [FaultKind::Refused, FaultKind::Transient, FaultKind::TimeoutNotApplied, FaultKind::Slow];
        assert_eq!(faults[..4], reads);
        assert_eq!(faults[4..], [FaultKind::Stale]);
    }
}
