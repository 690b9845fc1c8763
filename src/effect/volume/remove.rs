//! `volume_remove`.

use serde::{Deserialize, Serialize};

use super::{VolumeOutcome, existed, list_named};
use crate::effect::container::Removed;
use crate::effect::request::request;
use crate::effect::{Observation, Outcome, PendingEffect, Recovery, Undo};

/// `volume_remove`: removes a volume and everything in it, an incomplete copy too. Refused while a container uses it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RemoveVolume {
    /// The name.
    pub name: String,
    /// Succeeds if the volume does not exist.
    #[serde(default)]
    pub missing_ok: bool,
    /// States that it is not needed any more: the run can be rolled back without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disposable: bool,
    /// Removes it only if this very run created it. Used by the undo of `volume_create`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_own: bool,
}

request! {
    RemoveVolume {
        kind: "volume_remove",
        reply: Removed,
        access: Write,
        // Once it is gone, the same request would fail: there is nothing to remove.
        recovery: |remove| if remove.missing_ok { Recovery::Repeat } else { Recovery::Observe },
        subject: name,
        prior: |remove| (!remove.only_own && !remove.disposable).then(|| list_named(&remove.name)),
        undo: Self::undo_from,
        evidence: |remove| Some(list_named(&remove.name)),
        observe: Self::observe_from,
    }
}

impl RemoveVolume {
    fn undo_from(&self, prior: Option<&Outcome>) -> Undo {
        if existed(prior) {
            Undo::Impossible(format!(
                "volume `{}` was removed and its files with it; restore it from a backup",
                self.name
            ))
        } else {
            Undo::Nothing
        }
    }

    fn observe_from(&self, _: PendingEffect<'_>, evidence: &Outcome) -> Observation {
        if existed(Some(evidence)) {
            return Observation::NotDone;
        }
        Observation::done(Outcome::Volume(VolumeOutcome::Remove(Removed { removed: true })))
    }
}
