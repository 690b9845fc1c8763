//! The way back from `compose_up` and `compose_stop`: compose removes the containers that it replaces, so a stopped copy of
//! each is made before.

use super::ComposeService;
use crate::base::container_ref::ContainerRef;
use crate::base::labels;
use crate::effect::compose::{ComposeProject, ComposePs, ComposeUp, FormerContainer};
use crate::effect::container::Container;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

impl ComposeService {
    /// Copies the containers of some services, or of all if `services` is empty, and removes copies of earlier runs.
    pub(super) async fn keep_former(
        &self,
        call: &Call,
        project: &ComposeProject,
        services: &[String],
    ) -> Result<Vec<FormerContainer>, EffectError> {
        let ps = ComposePs { project: project.clone(), services: services.to_owned() };
        let former: Vec<FormerContainer> = self.ps(call, &ps).await?.iter().map(Into::into).collect();
        let existing = self.engine.containers().await?;
        for container in &former {
            let of_container = existing.iter().filter(|copy| is_copy(copy, &container.name));
            for old in
                of_container.filter(|copy| copy.labels.get(labels::RUN).map(String::as_str) != Some(call.run.as_str()))
            {
                self.engine.remove_container(old).await?;
            }
            let name = container.copy_name();
            if existing.iter().any(|other| other.name == name && is_copy(other, &container.name)) {
                continue;
            }
            let id = ContainerRef::new(container.id.clone());
            if let Err(error) = self.engine.duplicate(&id, &name, container.copy_labels(&call.run)).await {
                self.remove_unused_copies(&former).await?;
                return Err(error.not_applied());
            }
        }
        Ok(former)
    }

    /// Removes the copies of containers that still exist.
    pub(super) async fn remove_unused_copies(&self, former: &[FormerContainer]) -> Result<(), EffectError> {
        for container in former {
            if self.engine.find_container(&ContainerRef::new(container.id.clone())).await?.is_some() {
                self.remove_copy(container).await?;
            }
        }
        Ok(())
    }

    async fn copy_of(&self, container: &FormerContainer) -> Result<Option<Container>, EffectError> {
        let found = self.engine.find_container(&ContainerRef::new(container.copy_name())).await?;
        Ok(found.filter(|copy| is_copy(copy, &container.name)))
    }

    async fn remove_copy(&self, container: &FormerContainer) -> Result<(), EffectError> {
        match self.copy_of(container).await? {
            Some(copy) => self.engine.remove_container(&copy).await,
            None => Ok(()),
        }
    }

    /// Restores the former containers, and removes the others of these services.
    pub(super) async fn restore_former(&self, call: &Call, request: &ComposeUp) -> Result<Vec<Container>, EffectError> {
        let ps = ComposePs { project: request.project.clone(), services: request.scope().to_owned() };
        for other in self.ps(call, &ps).await? {
            if !request.back_to.iter().any(|former| former.is(&other)) {
                self.engine.remove_container(&other).await?;
            }
        }
        for former in &request.back_to {
            let container = match self.find(former).await? {
                Some(container) => container,
                None => self.recreate(former).await?,
            };
            self.engine.set_running(&container, former.running).await?;
            self.remove_copy(former).await?;
        }
        self.ps(call, &ps).await
    }

    /// Returns the container, or the one that has taken its place again.
    async fn find(&self, former: &FormerContainer) -> Result<Option<Container>, EffectError> {
        let by_id = self.engine.find_container(&ContainerRef::new(former.id.clone())).await?;
        if by_id.is_some() {
            return Ok(by_id);
        }
        let by_name = self.engine.find_container(&ContainerRef::new(former.name.clone())).await?;
        Ok(by_name.filter(|container| former.is(container)))
    }

    async fn recreate(&self, former: &FormerContainer) -> Result<Container, EffectError> {
        let Some(copy) = self.copy_of(former).await? else {
            let message = format!(
                "container `{}` was replaced by compose, and its copy `{}` is gone",
                former.name,
                former.copy_name()
            );
            return Err(EffectError::new(ErrorKind::Failed, message).not_applied());
        };
        let copy = ContainerRef::new(copy.id);
        self.engine.duplicate(&copy, &former.name, former.restored_labels()).await
    }
}

fn is_copy(container: &Container, of: &str) -> bool {
    let has = |key: &str, value: &str| container.labels.get(key).is_some_and(|own| own == value);
    has(labels::ROLE, FormerContainer::COPY_ROLE) && has(labels::COPY_OF, of)
}
