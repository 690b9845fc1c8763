//! Networks: create, list, connect, remove.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::category::category;
use super::container::{ContainerOutcome, InspectContainer, Removed};
use super::request::request;
use super::{EffectError, ErrorKind, Outcome, Undo};
use crate::base::container_ref::ContainerRef;

/// The networks that every engine has.
pub const BUILT_IN_NETWORKS: [&str; 3] = ["bridge", "host", "none"];

category! {
    /// Actions on networks.
    Network: NetworkEffect => NetworkOutcome {
        Create(CreateNetwork),
        List(ListNetworks),
        Connect(ConnectNetwork),
        Remove(RemoveNetwork),
    }
}

/// A network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// The engine's id.
    pub id: String,
    /// The name.
    pub name: String,
    /// The driver, such as `bridge`.
    pub driver: String,
    /// Whether this call created it; false if it existed.
    #[serde(default)]
    pub created: bool,
    /// The labels, deployer's included.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// `network_create`: creates a network. One of that name that already exists is left as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreateNetwork {
    /// The name.
    pub name: String,
    /// Default `bridge`.
    #[serde(default = "default_driver")]
    pub driver: String,
    /// Has no access to the outside.
    #[serde(default)]
    pub internal: bool,
    /// Labels to set, besides deployer's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

fn default_driver() -> String {
    "bridge".into()
}

request! {
    CreateNetwork {
        kind: "network_create",
        reply: Network,
        access: Write,
        recovery: Repeat,
        subject: name,
        undo: |create, _| Undo::by(RemoveNetwork {
            name: create.name.clone(),
            missing_ok: true,
            disposable: false,
            only_own: true,
        }),
    }
}

/// `network_list`: lists networks by name, those that every engine has included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListNetworks {
    /// Only the one with exactly this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only those with all of these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

request! {
    ListNetworks {
        kind: "network_list",
        reply: Vec<Network>,
        access: Read,
        subject: |list| list.name.clone().unwrap_or_default(),
    }
}

/// `network_connect`: connects a container to a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectNetwork {
    /// The network.
    pub network: String,
    /// The container.
    pub container: ContainerRef,
    /// Other names of the container on this network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Disconnects the container instead. Used by the undo.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disconnect: bool,
}

request! {
    ConnectNetwork {
        kind: "network_connect",
        reply: (),
        access: Write,
        recovery: Repeat,
        subject: |connect| format!("{} to {}", connect.container, connect.network),
        prior: |connect| Some(
            InspectContainer { container: connect.container.clone(), missing_ok: true }.into()
        ),
        undo: Self::undo_from,
    }
}

impl ConnectNetwork {
    fn undo_from(&self, prior: Option<&Outcome>) -> Undo {
        let was_connected = match prior {
            Some(Outcome::Container(ContainerOutcome::Inspect(Some(found)))) => {
                found.networks.contains_key(&self.network)
            }
            _ => false,
        };
        // The effect changes nothing, so there is nothing to undo.
        if was_connected != self.disconnect {
            return Undo::Nothing;
        }
        Undo::by(Self { aliases: Vec::new(), disconnect: !self.disconnect, ..self.clone() })
    }
}

/// `network_remove`: removes a network. Refused while a container is connected to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RemoveNetwork {
    /// The name.
    pub name: String,
    /// Succeeds if the network does not exist.
    #[serde(default)]
    pub missing_ok: bool,
    /// States that it is not needed any more: the run can be rolled back without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disposable: bool,
    /// Removes it only if this very run created it. Used by the undo of `network_create`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_own: bool,
}

request! {
    RemoveNetwork {
        kind: "network_remove",
        reply: Removed,
        access: Write,
        recovery: Repeat,
        subject: name,
        undo: |remove, _| remove.create_again(),
    }
}

impl RemoveNetwork {
    /// Checks that the network does not belong to the engine. The undo of a create may name such a network, if the create
    /// found it; it then removes nothing.
    ///
    /// # Errors
    /// Fails for a built-in network.
    pub fn validate(&self) -> Result<(), EffectError> {
        if BUILT_IN_NETWORKS.contains(&self.name.as_str()) && !self.only_own {
            let message = format!("network `{}` belongs to the engine and cannot be removed", self.name);
            return Err(EffectError::new(ErrorKind::Refused, message).not_applied());
        }
        Ok(())
    }

    fn create_again(&self) -> Undo {
        if self.only_own || self.disposable {
            return Undo::Nothing;
        }
        Undo::by(CreateNetwork {
            name: self.name.clone(),
            driver: default_driver(),
            internal: false,
            labels: BTreeMap::new(),
        })
    }
}

/// Returns the error for a network that does not exist.
pub fn network_not_found(name: &str) -> EffectError {
    EffectError::not_found(format!("network `{name}` does not exist"))
        .hint(format!("create it first: `network_create(\"{name}\")`"))
}

/// Returns the error for a network to which running containers are connected.
pub fn network_in_use(name: &str, users: &[String]) -> EffectError {
    EffectError::conflict(format!("network `{name}` is used by container `{}`", users.join("`, `")))
        .hint("stop the container first: `docker_stop`")
}
