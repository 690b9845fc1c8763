//! The family of containers: who performs which request, and the small ones: inspect, list, rename, remove, logs.

use std::collections::HashMap;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    RenameContainerOptionsBuilder,
};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::error::{About, CALL_DEADLINE, ask, found, name_taken, within};
use super::output::{LineTail, Unfinished};
use super::{DockerEngine, container_view, names, unless_cancelled};
use crate::base::container_ref::ContainerRef;
use crate::base::labels;
use crate::effect::container::{
    Container, ContainerEffect, ContainerOutcome, InspectContainer, ListContainers, Logs, ReadLogs, RemoveContainer,
    Removed, RenameContainer,
};
use crate::effect::image::with_tag;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;

/// Questions asked of the engine at the same time.
pub(super) const PARALLEL: usize = 8;
/// Lines and bytes of log that are returned at the most.
const MOST_LOG_LINES: usize = 10_000;
const MOST_LOG_BYTES: usize = 4 << 20;
/// How long a removal that is under way already may take, and how often it is looked at.
const REMOVAL: Duration = Duration::from_secs(20);
const REMOVAL_POLL: Duration = Duration::from_millis(100);

impl DockerEngine {
    pub(super) async fn container(
        &self,
        call: &Call,
        effect: &ContainerEffect,
    ) -> Result<ContainerOutcome, EffectError> {
        match effect {
            ContainerEffect::Run(request) => self.run(call, &request.0).await.map(ContainerOutcome::Run),
            ContainerEffect::Create(request) => self.create(call, &request.0).await.map(ContainerOutcome::Create),
            ContainerEffect::Start(request) => {
                if let Some(stop) = request.stop_first() {
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
                let read = self.read_stats(&request.container);
                unless_cancelled(call, "reading the stats", read).await.map(ContainerOutcome::Stats)
            }
        }
    }

    /// The container, or `not_found`.
    pub(super) async fn container_of(&self, container: &ContainerRef) -> Result<Container, EffectError> {
        let name = names::plain("container", &container.key)?;
        let answer = self.docker.inspect_container(name, None::<InspectContainerOptions>);
        ask(About::Container(name), answer).await.map(container_view::container)
    }

    async fn inspect(&self, request: &InspectContainer) -> Result<Option<Container>, EffectError> {
        let answer = self.container_of(&request.container).await;
        if request.missing_ok { found(answer) } else { answer.map(Some) }
    }

    pub(super) async fn list(&self, request: &ListContainers) -> Result<Vec<Container>, EffectError> {
        let mut filters: HashMap<&str, Vec<String>> = HashMap::new();
        if let Some(name) = &request.name {
            // The engine takes any part of a name here: what is too much is left out below.
            filters.insert("name", vec![names::plain("container", name)?.to_owned()]);
        }
        let labels = request.wanted_labels();
        if !labels.is_empty() {
            let wanted = |(key, value): (String, String)| if value.is_empty() { key } else { format!("{key}={value}") };
            filters.insert("label", labels.into_iter().map(wanted).collect());
        }
        let options = ListContainersOptionsBuilder::new().all(request.all).filters(&filters).build();
        let listed = ask(About::Engine, self.docker.list_containers(Some(options))).await?;
        let ids: Vec<ContainerRef> =
            listed.into_iter().filter_map(|summary| summary.id.map(ContainerRef::new)).collect();
        // In the engine's own order, which is newest first.
        let containers: Vec<Option<Container>> = stream::iter(ids)
            .map(|id| async move { found(self.container_of(&id).await) })
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        let image_id = match &request.image {
            Some(image) => self.image_named(image).await?.map(|image| image.id),
            None => None,
        };
        Ok(containers
            .into_iter()
            .flatten()
            .filter(|container| request.name.as_ref().is_none_or(|name| *name == container.name))
            .filter(|container| {
                request.image.as_ref().is_none_or(|image| is_made_from(container, image, image_id.as_deref()))
            })
            .collect())
    }

    async fn rename(&self, request: &RenameContainer) -> Result<Container, EffectError> {
        let container = self.container_of(&request.container).await?;
        if container.name == request.name {
            return Ok(container);
        }
        names::plain("container", &request.name)?;
        let options = RenameContainerOptionsBuilder::new().name(&request.name).build();
        let answer = ask(About::Container(&container.name), self.docker.rename_container(&container.id, options)).await;
        if let Err(error) = answer {
            return Err(match error.kind {
                ErrorKind::Conflict => name_taken(&request.name),
                ErrorKind::NotFound => self.not_renamed(&container, error).await,
                _ => error,
            });
        }
        self.container_of(&ContainerRef::new(container.id)).await
    }

    /// The engine does not find the network of a container that it is just about to start again, and takes the new name
    /// back: a moment later it can.
    async fn not_renamed(&self, container: &Container, error: EffectError) -> EffectError {
        match self.container_of(&ContainerRef::new(&container.id)).await {
            Ok(_) => {
                let message = format!("container `{}` cannot be renamed while it starts again", container.name);
                EffectError::new(ErrorKind::Unavailable, message)
                    .hint(format!("see why it ends: docker logs {}", container.name))
                    .not_applied()
            }
            Err(_) => error,
        }
    }

    async fn remove(&self, call: &Call, request: &RemoveContainer) -> Result<Removed, EffectError> {
        let container = match found(self.container_of(&request.container).await)? {
            Some(container) => container,
            None if request.missing_ok => return Ok(Removed { removed: false }),
            None => return Err(missing_container(&request.container)),
        };
        if request.only_own && container.labels.get(labels::RUN).map(String::as_str) != Some(call.run.as_str()) {
            return Ok(Removed { removed: false });
        }
        self.remove_found(&container, request.force, request.volumes).await?;
        Ok(Removed { removed: true })
    }

    /// Removes by id, so that nobody else is hit who has the name by now.
    pub(super) async fn remove_found(
        &self,
        container: &Container,
        force: bool,
        volumes: bool,
    ) -> Result<(), EffectError> {
        let options = RemoveContainerOptionsBuilder::new().v(volumes).force(force).build();
        let answer = ask(About::Container(&container.name), self.docker.remove_container(&container.id, Some(options)));
        match found(answer.await) {
            Ok(_) => Ok(()),
            // A removal by force is refused for one reason only: another one is under way.
            Err(error) if force && error.kind == ErrorKind::Conflict => {
                self.wait_until_gone(container).await.then_some(()).ok_or(error)
            }
            Err(error) if error.kind == ErrorKind::Conflict => {
                Err(error.hint(format!("stop it first: docker stop {}", container.name)))
            }
            Err(error) => Err(error),
        }
    }

    async fn wait_until_gone(&self, container: &Container) -> bool {
        let id = ContainerRef::new(container.id.clone());
        let end = self.clock.steady_ms() + REMOVAL.as_millis() as u64;
        while self.clock.steady_ms() < end {
            if matches!(found(self.container_of(&id).await), Ok(None)) {
                return true;
            }
            self.clock.sleep(REMOVAL_POLL).await;
        }
        false
    }

    async fn logs(&self, call: &Call, request: &ReadLogs) -> Result<Logs, EffectError> {
        let read = self.log_lines(&request.container, request.tail);
        unless_cancelled(call, "reading the log", read).await.map(|lines| Logs { lines })
    }

    /// The last lines of the log, oldest first.
    pub(super) async fn log_lines(&self, container: &ContainerRef, tail: u64) -> Result<Vec<String>, EffectError> {
        let name = names::plain("container", &container.key)?;
        let most = usize::try_from(tail).unwrap_or(MOST_LOG_LINES).min(MOST_LOG_LINES);
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&most.to_string()).build();
        let mut stream = self.docker.logs(name, Some(options));
        let read = async {
            let mut lines = LineTail::new(most, MOST_LOG_BYTES);
            let (mut output, mut errors) = (Unfinished::default(), Unfinished::default());
            while let Some(piece) = stream.try_next().await? {
                let line = if matches!(piece, LogOutput::StdErr { .. }) { &mut errors } else { &mut output };
                line.push(piece.as_ref(), |line| lines.push(line));
            }
            output.rest().into_iter().chain(errors.rest()).for_each(|line| lines.push(line));
            Ok::<_, bollard::errors::Error>(lines.into_lines())
        };
        within(CALL_DEADLINE, About::Container(name), read).await
    }
}

pub(super) fn missing_container(container: &ContainerRef) -> EffectError {
    EffectError::new(ErrorKind::NotFound, format!("container `{container}` does not exist"))
        .hint("list what there is: docker ps --all")
        .not_applied()
}

/// By the name that it was asked for with, or by the image that has the name now.
fn is_made_from(container: &Container, image: &str, image_id: Option<&str>) -> bool {
    names::familiar(&with_tag(&container.image)) == names::familiar(&with_tag(image))
        || image_id.is_some_and(|id| id == container.image_id)
}
