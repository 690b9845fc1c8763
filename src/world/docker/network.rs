//! Network effects.

use std::collections::HashMap;
use std::sync::Arc;

use bollard::models::{
    Network as EngineNetwork, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest,
};
use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptions, ListNetworksOptionsBuilder};

use super::client::EngineClient;
use super::container::{Containers, endpoint};
use super::error::{Subject, await_reply, none_if_missing};
use super::names;
use super::volume_claim::VolumeClaims;
use crate::base::labels;
use crate::effect::container::Removed;
use crate::effect::network::{
    ConnectNetwork, CreateNetwork, ListNetworks, Network, NetworkEffect, NetworkOutcome, RemoveNetwork, network_in_use,
    network_not_found,
};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// The minor version of the API from which the engine refuses a second network of the same name (Docker 25).
const UNIQUE_NAMES_SINCE: usize = 44;

/// Performs network effects.
#[derive(Clone, Debug)]
pub(super) struct Networks {
    client: Arc<EngineClient>,
    containers: Containers,
    claims: VolumeClaims,
}

impl Networks {
    pub(super) fn new(client: Arc<EngineClient>, containers: Containers, claims: VolumeClaims) -> Self {
        Self { client, containers, claims }
    }

    pub(super) async fn perform(&self, call: &Call, effect: &NetworkEffect) -> Result<NetworkOutcome, EffectError> {
        match effect {
            NetworkEffect::Create(request) => self.create(call, request).await.map(NetworkOutcome::Create),
            NetworkEffect::List(request) => self.list(request).await.map(NetworkOutcome::List),
            NetworkEffect::Connect(request) => self.connect(request).await.map(NetworkOutcome::Connect),
            NetworkEffect::Remove(request) => self.remove(call, request).await.map(NetworkOutcome::Remove),
        }
    }

    async fn create(&self, call: &Call, request: &CreateNetwork) -> Result<Network, EffectError> {
        let name = names::validate("network", &request.name)?;
        if let Some(network) = self.networks_named(name).await?.into_iter().next() {
            let mut existing = view(network, false);
            existing.created = call.created(&existing.labels);
            return Ok(existing);
        }
        if self.client.docker.client_version().minor_version >= UNIQUE_NAMES_SINCE {
            return self.create_if_missing(call, request).await;
        }
        // Older engines create a second network of the same name.
        self.claims.exclusively(call, &format!("network-{name}"), self.create_if_missing(call, request)).await
    }

    async fn create_if_missing(&self, call: &Call, request: &CreateNetwork) -> Result<Network, EffectError> {
        let name = &request.name;
        if let Some(network) = self.networks_named(name).await?.into_iter().next() {
            let mut existing = view(network, false);
            existing.created = call.created(&existing.labels);
            return Ok(existing);
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
        let created_id = match await_reply(Subject::Network(name), self.client.docker.create_network(body)).await {
            // Another process was faster.
            Err(error) if error.kind == ErrorKind::Conflict => None,
            reply => Some(reply?.id),
        };
        let network = self.networks_named(name).await?.into_iter().next().ok_or_else(|| network_not_found(name))?;
        let is_ours = created_id.is_some() && created_id == network.id;
        Ok(view(network, is_ours))
    }

    /// Lists the networks of exactly this name, oldest first.
    async fn networks_named(&self, name: &str) -> Result<Vec<EngineNetwork>, EffectError> {
        let filters = HashMap::from([("name", vec![name.to_owned()])]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let mut networks = await_reply(Subject::Engine, self.client.docker.list_networks(Some(options))).await?;
        networks.retain(|network| network.name.as_deref() == Some(name));
        let age =
            |network: &EngineNetwork| network.created.as_deref().and_then(|at| at.parse::<jiff::Timestamp>().ok());
        networks.sort_by_cached_key(|network| (age(network), network.id.clone()));
        Ok(networks)
    }

    async fn list(&self, request: &ListNetworks) -> Result<Vec<Network>, EffectError> {
        let found = match &request.name {
            Some(name) => self.networks_named(names::validate("network", name)?).await?,
            None => await_reply(Subject::Engine, self.client.docker.list_networks(None::<ListNetworksOptions>)).await?,
        };
        let mut networks: Vec<Network> = found.into_iter().map(|network| view(network, false)).collect();
        networks.retain(|network| names::has_labels(&network.labels, &request.labels));
        networks.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(networks)
    }

    async fn connect(&self, request: &ConnectNetwork) -> Result<(), EffectError> {
        let name = names::validate("network", &request.network)?;
        let container = self.containers.get(&request.container).await?;
        if self.networks_named(name).await?.is_empty() {
            return Err(network_not_found(name));
        }
        if container.networks.contains_key(name) != request.disconnect {
            return Ok(());
        }
        if request.disconnect {
            let body = NetworkDisconnectRequest { container: container.id, force: Some(false) };
            return await_reply(Subject::Network(name), self.client.docker.disconnect_network(name, body)).await;
        }
        let body =
            NetworkConnectRequest { container: container.id, endpoint_config: Some(endpoint(name, &request.aliases)) };
        await_reply(Subject::Network(name), self.client.docker.connect_network(name, body)).await
    }

    async fn remove(&self, call: &Call, request: &RemoveNetwork) -> Result<Removed, EffectError> {
        let name = names::validate("network", &request.name)?;
        request.validate()?;
        let Some(network) = self.networks_named(name).await?.into_iter().next() else {
            return if request.missing_ok { Ok(Removed { removed: false }) } else { Err(network_not_found(name)) };
        };
        let owner = network.labels.as_ref().and_then(|labels| labels.get(labels::RUN));
        if request.only_own && owner.map(String::as_str) != Some(call.run.as_str()) {
            return Ok(Removed { removed: false });
        }
        let id = network.id.unwrap_or_else(|| name.to_owned());
        match none_if_missing(await_reply(Subject::Network(name), self.client.docker.remove_network(&id)).await) {
            Ok(removed) => Ok(Removed { removed: removed.is_some() }),
            Err(error) if matches!(error.kind, ErrorKind::Conflict | ErrorKind::Refused) => {
                Err(self.name_members(name, &id, error).await)
            }
            Err(error) => Err(error),
        }
    }

    /// Adds the names of the containers that use the network.
    async fn name_members(&self, name: &str, id: &str, error: EffectError) -> EffectError {
        let reply =
            await_reply(Subject::Network(name), self.client.docker.inspect_network(id, None::<InspectNetworkOptions>))
                .await;
        let members: Vec<String> = reply
            .ok()
            .and_then(|network| network.containers)
            .unwrap_or_default()
            .into_values()
            .filter_map(|member| member.name)
            .collect();
        if members.is_empty() {
            return error;
        }
        let disconnect = format!("docker network disconnect {name} {}", members[0]);
        network_in_use(name, &members).hint(format!("stop the container first, or disconnect it: {disconnect}"))
    }
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
