//! `volume_create`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{RemoveVolume, Volume, existed, list_named};
use crate::effect::request::request;
use crate::effect::{Outcome, Undo};

/// `volume_create`: creates a volume. One of that name that already exists is left as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreateVolume {
    /// The name.
    pub name: String,
    /// Labels to set, besides deployer's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The service that it belongs to; becomes the label `deployer.service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

request! {
    CreateVolume {
        kind: "volume_create",
        reply: Volume,
        access: Write,
        recovery: Repeat,
        subject: name,
        service: |create| create.service.as_deref(),
        prior: |create| Some(list_named(&create.name)),
        undo: Self::undo_from,
    }
}

impl CreateVolume {
    fn undo_from(&self, prior: Option<&Outcome>) -> Undo {
        if existed(prior) {
            return Undo::Nothing;
        }
        Undo::by(RemoveVolume { name: self.name.clone(), missing_ok: true, disposable: false, only_own: true })
    }
}
