//! Faults: a closed list of what can go wrong with an effect, and which fault applies to which effect. That follows
//! from the effect's access and category alone. How a fault is injected is the gateway's and the simulation's concern.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::compose::ComposeEffect;
use super::container::ContainerEffect;
use super::host::HostEffect;
use super::image::ImageEffect;
use super::volume::VolumeEffect;
use super::{Access, Effect, Recovery};

/// What goes wrong with an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// It is refused; nothing was changed.
    Refused,
    /// A temporary fault: the next try of the same effect succeeds.
    Transient,
    /// It was done, but the answer was lost.
    TimeoutApplied,
    /// It was not done, and that cannot be told: no answer arrives.
    TimeoutNotApplied,
    /// It was done, but the connection broke before the answer, and every further attempt is refused.
    ConnectionLost,
    /// It takes [`SLOW_MS`] longer, then succeeds.
    Slow,
    /// Part of it is done, then it fails.
    Partial,
    /// A read returns the state before the last change.
    Stale,
    /// The container that it leaves running exits shortly after, and each time it is started again.
    Dies,
    /// The container that it leaves running becomes healthy, and unhealthy shortly after.
    #[serde(alias = "falls_ill")]
    BecomesUnhealthy,
    /// The disk is full, for this effect and all that follow.
    DiskFull,
    /// The engine restarts: the effect is not done, all containers exit, and those with a restart policy start again.
    DaemonRestarts,
}

/// The delay of [`FaultKind::Slow`], in milliseconds.
pub const SLOW_MS: u64 = 10_000;

impl FaultKind {
    /// Every fault.
    pub const ALL: [Self; 12] = [
        Self::Refused,
        Self::Transient,
        Self::TimeoutApplied,
        Self::TimeoutNotApplied,
        Self::ConnectionLost,
        Self::Slow,
        Self::Partial,
        Self::Stale,
        Self::Dies,
        Self::BecomesUnhealthy,
        Self::DiskFull,
        Self::DaemonRestarts,
    ];

    /// Describes the fault, to follow the effect's name: `docker_run` "was refused".
    pub fn description(self) -> &'static str {
        match self {
            Self::Refused => "was refused",
            Self::Transient => "had a temporary fault",
            Self::TimeoutApplied => "was done, but the answer was lost",
            Self::TimeoutNotApplied => "was not done, and no answer arrived",
            Self::ConnectionLost => "was done, but the connection was lost, and every further attempt was refused",
            Self::Slow => "took 10 s longer",
            Self::Partial => "failed halfway",
            Self::Stale => "returned the state before the last change",
            Self::Dies => "succeeded, but the container exited shortly after",
            Self::BecomesUnhealthy => "succeeded, but the container became unhealthy soon after",
            Self::DiskFull => "found the disk full",
            Self::DaemonRestarts => "failed because the engine restarted",
        }
    }

    /// Returns whether it can happen to this effect.
    pub fn applies_to(self, effect: &Effect) -> bool {
        // Time, and what deployer itself knows, cannot fail.
        if matches!(effect, Effect::Time(_) | Effect::Host(HostEffect::Env(_) | HostEffect::Secret(_))) {
            return false;
        }
        let writes = effect.spec().access() == Access::Write;
        match self {
            Self::Refused | Self::Transient | Self::TimeoutNotApplied | Self::Slow => true,
            Self::TimeoutApplied => writes,
            // Other effects are attempted once: for them it is `TimeoutApplied`.
            Self::ConnectionLost => writes && effect.spec().recovery() == Recovery::Repeat,
            Self::Partial => matches!(
                effect,
                Effect::Container(ContainerEffect::Run(_) | ContainerEffect::Remove(_))
                    | Effect::Compose(ComposeEffect::Up(_) | ComposeEffect::Stop(_))
            ),
            Self::Stale => !writes && is_of_engine(effect),
            Self::Dies | Self::BecomesUnhealthy => matches!(
                effect,
                Effect::Container(ContainerEffect::Run(_) | ContainerEffect::Start(_))
                    | Effect::Compose(ComposeEffect::Up(_))
            ),
            Self::DiskFull => needs_disk_space(effect),
            Self::DaemonRestarts => writes && is_of_engine(effect) || matches!(effect, Effect::Health(_)),
        }
    }

    /// Returns whether only the simulated engine can inject it.
    pub fn needs_simulation(self) -> bool {
        !matches!(
            self,
            Self::Refused | Self::Transient | Self::TimeoutApplied | Self::TimeoutNotApplied | Self::ConnectionLost
        )
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Returns whether the container engine performs it.
pub fn is_of_engine(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Container(_) | Effect::Image(_) | Effect::Volume(_) | Effect::Network(_) | Effect::Compose(_)
    )
}

/// Returns whether it needs space on the disk.
fn needs_disk_space(effect: &Effect) -> bool {
    match effect {
        Effect::Container(effect) => matches!(effect, ContainerEffect::Run(_) | ContainerEffect::Create(_)),
        Effect::Image(effect) => {
            matches!(effect, ImageEffect::Build(_) | ImageEffect::Pull(_) | ImageEffect::Load(_))
        }
        Effect::Volume(effect) => matches!(effect, VolumeEffect::Create(_)),
        Effect::Compose(effect) => matches!(effect, ComposeEffect::Up(_)),
        Effect::Sqlite(_) | Effect::Object(_) => effect.spec().access() == Access::Write,
        _ => false,
    }
}

/// A set of faults, small enough to keep one for every effect of many runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultSet(u16);

impl FaultSet {
    /// Returns the faults that can happen to this effect.
    pub fn of(effect: &Effect) -> Self {
        let bits = FaultKind::ALL.iter().enumerate().filter(|(_, fault)| fault.applies_to(effect));
        Self(bits.fold(0, |set, (index, _)| set | 1 << index))
    }

    /// Iterates over the faults, in the order of [`FaultKind::ALL`].
    pub fn iter(self) -> impl Iterator<Item = FaultKind> {
        FaultKind::ALL
            .into_iter()
            .enumerate()
            .filter(move |(index, _)| self.0 & 1 << index != 0)
            .map(|(_, fault)| fault)
    }

    /// Returns the set without the failures of containers. The containers that a rollback starts again are the last
    /// ones left: if they fail too, no script can help.
    #[must_use]
    pub fn without_container_failures(self) -> Self {
        let failures = [FaultKind::Dies, FaultKind::BecomesUnhealthy];
        let kept = FaultKind::ALL.iter().enumerate().filter(|(_, fault)| !failures.contains(fault));
        Self(kept.fold(0, |set, (index, _)| set | 1 << index) & self.0)
    }

    /// Returns whether it has no fault.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::container::{InspectContainer, RunContainer};

    #[test]
    fn the_effect_decides_which_faults_apply() {
        let spec = serde_json::from_value(serde_json::json!({"name": "web", "image": "web:v1"})).unwrap();
        let run: Effect = RunContainer(spec).into();
        let faults: Vec<FaultKind> = FaultSet::of(&run).iter().collect();
        assert!(!faults.contains(&FaultKind::Stale));
        assert_eq!(faults.len(), 10, "{faults:?}");
        let read: Effect = InspectContainer { container: "web".into(), missing_ok: true }.into();
        let faults: Vec<FaultKind> = FaultSet::of(&read).iter().collect();
        let reads = [FaultKind::Refused, FaultKind::Transient, FaultKind::TimeoutNotApplied, FaultKind::Slow];
        assert_eq!(faults[..4], reads);
        assert_eq!(faults[4..], [FaultKind::Stale]);
    }
}
