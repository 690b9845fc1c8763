//! What the two real worlds share: programs, HTTP, health checks, git, SQLite, storage, notifications, host figures, time,
//! traffic.
//! Knows containers only through [`Engine`]; knows no Docker and no local process table.

mod approval;
mod archive;
mod compose;
mod compose_config;
mod exec;
mod git;
mod git_pull;
mod health;
mod health_question;
mod host;
mod http;
mod http_clients;
mod load;
mod notify;
mod output_tail;
pub mod program;
mod reason;
mod sqlite;
mod storage;
mod time;
mod traffic;
mod wait;

use std::fmt;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::approvals::Approvals;
use super::clock::Clock;
use super::engine::Engine;
use super::{Call, World};
use crate::effect::{Effect, EffectError, ErrorKind, Outcome};
use compose::ComposeProgram;
use http_clients::HttpClients;
pub(in crate::world) use sqlite::sqlite_schema;

/// Reads a variable of deployer's own environment.
pub type EnvLookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Performs the families that do not depend on what a container is.
pub struct Services {
    engine: Arc<dyn Engine>,
    clock: Arc<dyn Clock>,
    env: EnvLookup,
    clients: HttpClients,
    compose_program: OnceCell<ComposeProgram>,
    /// Runs containers for those services that need one.
    containers: Option<Arc<dyn World>>,
    /// Where questions to people are kept.
    approvals: Option<Approvals>,
}

impl Services {
    pub fn new(engine: Arc<dyn Engine>, clock: Arc<dyn Clock>, env: EnvLookup) -> Self {
        Self {
            engine,
            clock,
            env,
            clients: HttpClients::default(),
            compose_program: OnceCell::new(),
            containers: None,
            approvals: None,
        }
    }

    /// With a world that runs the containers which a service needs for itself.
    #[must_use]
    pub fn with_containers(mut self, containers: Arc<dyn World>) -> Self {
        self.containers = Some(containers);
        self
    }

    /// With a place where questions to people are kept.
    #[must_use]
    pub fn with_approvals(mut self, approvals: Approvals) -> Self {
        self.approvals = Some(approvals);
        self
    }

    /// Performs an effect of the families approval, compose, health, http, git, sqlite, object, notify, exec, host, time and traffic.
    ///
    /// # Errors
    /// As the effect's own; [`ErrorKind::Internal`] for the families that a world performs itself.
    pub async fn perform(&self, call: &Call, effect: &Effect) -> Result<Outcome, EffectError> {
        match effect {
            Effect::Approval(effect) => self.approval(call, effect).await.map(Outcome::Approval),
            Effect::Compose(effect) => self.compose(call, effect).await.map(Outcome::Compose),
            Effect::Health(effect) => self.health(call, effect).await.map(Outcome::Health),
            Effect::Http(effect) => self.http(call, effect).await.map(Outcome::Http),
            Effect::Git(effect) => self.git(call, effect).await.map(Outcome::Git),
            Effect::Sqlite(effect) => self.sqlite(call, effect).await.map(Outcome::Sqlite),
            Effect::Object(effect) => self.object(call, effect).await.map(Outcome::Object),
            Effect::Notify(effect) => self.notify(call, effect).await.map(Outcome::Notify),
            Effect::Exec(effect) => self.exec(call, effect).await.map(Outcome::Exec),
            Effect::Host(effect) => self.host(call, effect).await.map(Outcome::Host),
            Effect::Time(effect) => self.time(call, effect).await.map(Outcome::Time),
            Effect::Traffic(effect) => self.traffic(call, effect).await.map(Outcome::Traffic),
            Effect::Container(_) | Effect::Image(_) | Effect::Volume(_) | Effect::Network(_) | Effect::Lock(_) => {
                let kind = effect.kind();
                Err(EffectError::new(ErrorKind::Internal, format!("`{kind}` is not routed to the services"))
                    .not_applied())
            }
        }
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").field("engine", &self.engine.name()).finish_non_exhaustive()
    }
}
