//! Container effects. Each request has a file of its own; `docker_stop` is in `stop.rs`.

mod create;
mod create_request;
mod duplicate;
mod exec;
mod inspect;
mod like;
mod list;
mod logs;
mod remove;
mod rename;
mod start;
mod stats;
mod stop;
mod wait;

use std::sync::Arc;

use super::client::{EngineClient, unless_cancelled};
use super::image::Images;
use super::port::Ports;
use super::volume::Volumes;
use crate::effect::EffectError;
use crate::effect::container::{ContainerEffect, ContainerOutcome};
use crate::world::Call;
pub(super) use create_request::endpoint;

/// Performs container effects.
#[derive(Clone, Debug)]
pub(super) struct Containers {
    client: Arc<EngineClient>,
    images: Images,
    volumes: Volumes,
    ports: Ports,
}

impl Containers {
    pub(super) fn new(client: Arc<EngineClient>, images: Images, volumes: Volumes, ports: Ports) -> Self {
        Self { client, images, volumes, ports }
    }

    pub(in crate::world::docker) async fn perform(
        &self,
        call: &Call,
        effect: &ContainerEffect,
    ) -> Result<ContainerOutcome, EffectError> {
        match effect {
            ContainerEffect::Run(request) => self.run(call, &request.0).await.map(ContainerOutcome::Run),
            ContainerEffect::Create(request) => self.create(call, &request.0).await.map(ContainerOutcome::Create),
            ContainerEffect::Start(request) => {
                if let Some(stop) = request.stop_request() {
                    self.stop(&stop).await?;
                }
                self.start(&request.container).await.map(ContainerOutcome::Start)
            }
            ContainerEffect::Stop(request) => self.stop(request).await.map(ContainerOutcome::Stop),
            ContainerEffect::Kill(request) => self.kill(request).await.map(ContainerOutcome::Kill),
            ContainerEffect::Remove(request) => self.remove(call, request).await.map(ContainerOutcome::Remove),
            ContainerEffect::Rename(request) => self.rename(request).await.map(ContainerOutcome::Rename),
            ContainerEffect::Inspect(request) => self.inspect(request).await.map(ContainerOutcome::Inspect),
            ContainerEffect::List(request) => self.list(request).await.map(ContainerOutcome::List),
            ContainerEffect::Logs(request) => self.logs(call, request).await.map(ContainerOutcome::Logs),
            ContainerEffect::Exec(request) => self.exec(call, request).await.map(ContainerOutcome::Exec),
            ContainerEffect::Wait(request) => self.wait(call, request).await.map(ContainerOutcome::Wait),
            ContainerEffect::Stats(request) => {
                let read = self.stats(&request.container);
                unless_cancelled(call, "reading the stats", read).await.map(ContainerOutcome::Stats)
            }
        }
    }
}
