//! The family of networks.

use std::collections::HashMap;

use bollard::models::{
    Network as EngineNetwork, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest,
};
use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptions, ListNetworksOptionsBuilder};

use super::container_spec::endpoint;
use super::error::{About, ask, found};
use super::{DockerEngine, names};
use crate::base::labels;
use crate::effect::container::Removed;
use crate::effect::network::{
    ConnectNetwork, CreateNetwork, ListNetworks, Network, NetworkEffect, NetworkOutcome, RemoveNetwork,
};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// The minor version of the API from which on the engine refuses a second network of a name (Docker 25).
const UNIQUE_NAMES_SINCE: usize = 44;

impl DockerEngine {
    pub(super) async fn network(&self, call: &Call, effect: &NetworkEffect) -> Result<NetworkOutcome, EffectError> {
        match effect {
            NetworkEffect::Create(request) => self.create_network(call, request).await.map(NetworkOutcome::Create),
            NetworkEffect::List(request) => self.list_networks(request).await.map(NetworkOutcome::List),
            NetworkEffect::Connect(request) => self.connect_network(request).await.map(NetworkOutcome::Connect),
            NetworkEffect::Remove(request) => self.remove_network(call, request).await.map(NetworkOutcome::Remove),
        }
    }

    async fn create_network(&self, call: &Call, request: &CreateNetwork) -> Result<Network, EffectError> {
        let name = names::plain("network", &request.name)?;
        if let Some(network) = self.networks_named(name).await?.into_iter().next() {
            let mut there = view(network, false);
            there.created = call.made(&there.labels);
            return Ok(there);
        }
        if self.docker.client_version().minor_version >= UNIQUE_NAMES_SINCE {
            return self.create_missing_network(call, request).await;
        }
        // Older engines make a second network of the same name.
        self.alone(call, &format!("network-{name}"), self.create_missing_network(call, request)).await
    }

    async fn create_missing_network(&self, call: &Call, request: &CreateNetwork) -> Result<Network, EffectError> {
        let name = &request.name;
        if let Some(network) = self.networks_named(name).await?.into_iter().next() {
            let mut there = view(network, false);
            there.created = call.made(&there.labels);
            return Ok(there);
        }
        let mut labels: HashMap<String, String> = request.labels.clone().into_iter().collect();
        labels.extend(call.labels().map(|(key, value)| (key.to_owned(), value)));
        let body = NetworkCreateRequest {
            name: name.clone(),
            driver: Some(request.driver.clone()),
            internal: Some(request.internal),
            labels: Some(labels),
            ..NetworkCreateRequest::default()
        };
        let created = match ask(About::Network(name), self.docker.create_network(body)).await {
            // Somebody was faster.
            Err(error) if error.kind == ErrorKind::Conflict => None,
            answer => Some(answer?.id),
        };
        let network = self.networks_named(name).await?.into_iter().next().ok_or_else(|| missing_network(name))?;
        let is_ours = created.is_some() && created == network.id;
        Ok(view(network, is_ours))
    }

    /// All networks of exactly this name, the oldest first.
    async fn networks_named(&self, name: &str) -> Result<Vec<EngineNetwork>, EffectError> {
        let filters = HashMap::from([("name", vec![name.to_owned()])]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let mut networks = ask(About::Engine, self.docker.list_networks(Some(options))).await?;
        networks.retain(|network| network.name.as_deref() == Some(name));
        let age =
            |network: &EngineNetwork| network.created.as_deref().and_then(|at| at.parse::<jiff::Timestamp>().ok());
        networks.sort_by_cached_key(|network| (age(network), network.id.clone()));
        Ok(networks)
    }

    async fn list_networks(&self, request: &ListNetworks) -> Result<Vec<Network>, EffectError> {
        let found = match &request.name {
            Some(name) => self.networks_named(names::plain("network", name)?).await?,
            None => ask(About::Engine, self.docker.list_networks(None::<ListNetworksOptions>)).await?,
        };
        let mut networks: Vec<Network> = found.into_iter().map(|network| view(network, false)).collect();
        networks.retain(|network| names::carries(&network.labels, &request.labels));
        networks.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(networks)
    }

    async fn connect_network(&self, request: &ConnectNetwork) -> Result<(), EffectError> {
        let name = names::plain("network", &request.network)?;
        let container = self.container_of(&request.container).await?;
        if self.networks_named(name).await?.is_empty() {
            return Err(missing_network(name));
        }
        if container.networks.contains_key(name) != request.disconnect {
            return Ok(());
        }
        if request.disconnect {
            let body = NetworkDisconnectRequest { container: container.id, force: Some(false) };
            return ask(About::Network(name), self.docker.disconnect_network(name, body)).await;
        }
        let body =
            NetworkConnectRequest { container: container.id, endpoint_config: Some(endpoint(name, &request.aliases)) };
        ask(About::Network(name), self.docker.connect_network(name, body)).await
    }

    async fn remove_network(&self, call: &Call, request: &RemoveNetwork) -> Result<Removed, EffectError> {
        let name = names::plain("network", &request.name)?;
        let Some(network) = self.networks_named(name).await?.into_iter().next() else {
            return if request.missing_ok { Ok(Removed { removed: false }) } else { Err(missing_network(name)) };
        };
        let owner = network.labels.as_ref().and_then(|labels| labels.get(labels::RUN));
        if request.only_own && owner.map(String::as_str) != Some(call.run.as_str()) {
            return Ok(Removed { removed: false });
        }
        let id = network.id.unwrap_or_else(|| name.to_owned());
        match found(ask(About::Network(name), self.docker.remove_network(&id)).await) {
            Ok(removed) => Ok(Removed { removed: removed.is_some() }),
            Err(error) if matches!(error.kind, ErrorKind::Conflict | ErrorKind::Refused) => {
                Err(self.name_members(name, &id, error).await)
            }
            Err(error) => Err(error),
        }
    }

    async fn name_members(&self, name: &str, id: &str, error: EffectError) -> EffectError {
        let answer = ask(About::Network(name), self.docker.inspect_network(id, None::<InspectNetworkOptions>)).await;
        let members: Vec<String> = answer
            .ok()
            .and_then(|network| network.containers)
            .unwrap_or_default()
            .into_values()
            .filter_map(|member| member.name)
            .collect();
        if members.is_empty() {
            return error;
        }
        EffectError::new(
            ErrorKind::Conflict,
            format!("network `{name}` is used by container `{}`", members.join("`, `")),
        )
        .hint(format!("take it off first: docker network disconnect {name} {}", members[0]))
        .not_applied()
    }
}

fn missing_network(name: &str) -> EffectError {
    EffectError::new(ErrorKind::NotFound, format!("network `{name}` does not exist"))
        .hint(format!("make it first: docker network create {name}"))
        .not_applied()
}

fn view(network: EngineNetwork, created: bool) -> Network {
    Network {
        id: network.id.unwrap_or_default(),
        name: network.name.unwrap_or_default(),
        driver: network.driver.unwrap_or_default(),
        created,
        labels: network.labels.unwrap_or_default().into_iter().collect(),
    }
}
