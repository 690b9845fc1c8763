//! Networks: create, list, connect, remove.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::container::{ContainerOutcome, InspectContainer, Removed};
use super::family::family;
use super::{Access, Effect, Facts, Outcome, Recovery, Request, Undo};
use crate::base::container_ref::ContainerRef;

family! {
    /// What can be asked of networks.
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
    pub id: String,
    pub name: String,
    pub driver: String,
    /// Whether this call made it (false: it was there).
    #[serde(default)]
    pub created: bool,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// `network_create`: makes a network; one of that name that is there already is left as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreateNetwork {
    pub name: String,
    /// Default `bridge`.
    #[serde(default = "default_driver")]
    pub driver: String,
    /// Without a way out.
    #[serde(default)]
    pub internal: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

fn default_driver() -> String {
    "bridge".into()
}

impl Facts for CreateNetwork {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn undo(&self, _: Option<&Outcome>) -> Undo {
        Undo::by(RemoveNetwork { name: self.name.clone(), missing_ok: true, disposable: false, only_own: true })
    }

    fn subject(&self) -> String {
        self.name.clone()
    }
}

impl Request for CreateNetwork {
    const KIND: &'static str = "network_create";
    type Reply = Network;
}

/// `network_list`: networks, by name; those that every engine has included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListNetworks {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Facts for ListNetworks {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        self.name.clone().unwrap_or_default()
    }
}

impl Request for ListNetworks {
    const KIND: &'static str = "network_list";
    type Reply = Vec<Network>;
}

/// `network_connect`: puts a container on one more network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectNetwork {
    pub network: String,
    pub container: ContainerRef,
    /// Other names of the container on this network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Takes the container off the network instead; what the undo asks for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disconnect: bool,
}

impl Facts for ConnectNetwork {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn prior(&self) -> Option<Effect> {
        Some(InspectContainer { container: self.container.clone(), missing_ok: true }.into())
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        let joined = match prior {
            Some(Outcome::Container(ContainerOutcome::Inspect(Some(found)))) => {
                found.networks.contains_key(&self.network)
            }
            _ => false,
        };
        // Where it was before is where it belongs.
        if joined != self.disconnect {
            return Undo::Nothing;
        }
        Undo::by(Self { aliases: Vec::new(), disconnect: !self.disconnect, ..self.clone() })
    }

    fn subject(&self) -> String {
        format!("{} to {}", self.container, self.network)
    }
}

impl Request for ConnectNetwork {
    const KIND: &'static str = "network_connect";
    type Reply = ();
}

/// `network_remove`: removes a network. Refused while a container is on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RemoveNetwork {
    pub name: String,
    #[serde(default)]
    pub missing_ok: bool,
    /// States that nobody will miss it: the run can be taken back without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disposable: bool,
    /// Removes it only if this very run created it; what the undo of `network_create` asks for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_own: bool,
}

impl Facts for RemoveNetwork {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn undo(&self, _: Option<&Outcome>) -> Undo {
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

    fn subject(&self) -> String {
        self.name.clone()
    }
}

impl Request for RemoveNetwork {
    const KIND: &'static str = "network_remove";
    type Reply = Removed;
}
