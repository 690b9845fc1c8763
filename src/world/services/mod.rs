//! The services that the two real worlds share: HTTP, health checks, git, compose, SQLite, object storage,
//! notifications, traffic and the rest of what does not run in a container.
//!
//! Each category of effects has one service; [`Services::perform`] dispatches to it. Services know containers only
//! through [`Engine`], so they depend on neither Docker nor the local process table.
//!
//! | category | where |
//! |---|---|
//! | approval | `approval.rs` |
//! | compose | `compose/` |
//! | exec | `exec.rs`; child processes are in `subprocess/` |
//! | git | `git/` |
//! | health | `health/` |
//! | host, time | `host.rs`, `time.rs` |
//! | http, load tests | `http/` |
//! | notify | `notify/`, one file per channel |
//! | object | `object_storage/` (folder, S3), `cloudwatch/` (log streams), `aws/` (accounts of both) |
//! | sqlite | `sqlite/` |
//! | traffic | `traffic/`, one folder per driver: embedded proxy, nginx, HAProxy, Caddy |

mod approval;
mod aws;
mod cancellation;
mod cloudwatch;
mod compose;
mod environment;
mod error_text;
mod exec;
mod file_error;
mod git;
mod health;
mod host;
mod http;
mod notify;
mod object_storage;
mod partial_file;
mod sqlite;
mod subprocess;
mod time;
mod traffic;

use std::fmt;
use std::sync::Arc;

use super::approval_store::ApprovalStore;
use super::clock::Clock;
use super::engine::Engine;
use super::{Call, World};
use crate::effect::{Effect, EffectError, ErrorKind, Outcome};
use approval::ApprovalService;
use compose::ComposeService;
pub use environment::EnvLookup;
use exec::ExecService;
use git::GitService;
use health::HealthService;
use host::HostService;
use http::HttpService;
use http::clients::HttpClients;
use notify::NotifyService;
use object_storage::ObjectService;
use object_storage::connector::StorageConnector;
use sqlite::SqliteService;
pub(in crate::world) use sqlite::schema::read_schema;
use time::TimeService;
use traffic::TrafficService;

/// Performs the effects that do not depend on what a container is.
pub struct Services {
    engine_name: &'static str,
    approval: ApprovalService,
    compose: ComposeService,
    exec: ExecService,
    git: GitService,
    health: HealthService,
    host: HostService,
    http: HttpService,
    notify: NotifyService,
    object: ObjectService,
    sqlite: SqliteService,
    time: TimeService,
    traffic: TrafficService,
}

impl Services {
    /// Creates services for the containers of `engine`.
    pub fn new(engine: Arc<dyn Engine>, clock: Arc<dyn Clock>, env: EnvLookup) -> Self {
        let clients = Arc::new(HttpClients::default());
        let storage = StorageConnector::new(Arc::clone(&clients), Arc::clone(&env), Arc::clone(&clock));
        Self {
            engine_name: engine.name(),
            approval: ApprovalService::new(Arc::clone(&clock)),
            compose: ComposeService::new(Arc::clone(&engine), Arc::clone(&clock)),
            exec: ExecService::new(Arc::clone(&clock)),
            git: GitService::new(Arc::clone(&clock)),
            health: HealthService::new(Arc::clone(&engine), Arc::clone(&clients), Arc::clone(&clock)),
            host: HostService::new(Arc::clone(&engine), env),
            http: HttpService::new(Arc::clone(&clients), Arc::clone(&clock)),
            notify: NotifyService::new(Arc::clone(&clients), Arc::clone(&clock)),
            object: ObjectService::new(Arc::clone(&engine), storage.clone(), Arc::clone(&clock)),
            sqlite: SqliteService::new(Arc::clone(&engine), storage, Arc::clone(&clock)),
            time: TimeService::new(Arc::clone(&clock)),
            traffic: TrafficService::new(engine, clients, clock),
        }
    }

    /// Sets the world that runs the containers which a service needs for itself.
    #[must_use]
    pub fn with_containers(mut self, containers: Arc<dyn World>) -> Self {
        self.sqlite = self.sqlite.with_containers(containers);
        self
    }

    /// Sets the store of approval requests and answers. Without it, `approval_wait` is unsupported.
    #[must_use]
    pub fn with_approvals(mut self, approvals: ApprovalStore) -> Self {
        self.approval = self.approval.with_approvals(approvals);
        self
    }

    /// Performs an effect of a category that has a service here.
    ///
    /// # Errors
    /// Returns the effect's own error, and [`ErrorKind::Internal`] for a category that a world performs itself.
    pub async fn perform(&self, call: &Call, effect: &Effect) -> Result<Outcome, EffectError> {
        match effect {
            Effect::Approval(effect) => self.approval.perform(call, effect).await.map(Outcome::Approval),
            Effect::Compose(effect) => self.compose.perform(call, effect).await.map(Outcome::Compose),
            Effect::Health(effect) => self.health.perform(call, effect).await.map(Outcome::Health),
            Effect::Http(effect) => self.http.perform(call, effect).await.map(Outcome::Http),
            Effect::Git(effect) => self.git.perform(call, effect).await.map(Outcome::Git),
            Effect::Sqlite(effect) => self.sqlite.perform(call, effect).await.map(Outcome::Sqlite),
            Effect::Object(effect) => self.object.perform(call, effect).await.map(Outcome::Object),
            Effect::Notify(effect) => self.notify.perform(call, effect).await.map(Outcome::Notify),
            Effect::Exec(effect) => self.exec.perform(call, effect).await.map(Outcome::Exec),
            Effect::Host(effect) => self.host.perform(call, effect).await.map(Outcome::Host),
            Effect::Time(effect) => self.time.perform(call, effect).await.map(Outcome::Time),
            Effect::Traffic(effect) => self.traffic.perform(call, effect).await.map(Outcome::Traffic),
            Effect::Container(_) | Effect::Image(_) | Effect::Volume(_) | Effect::Network(_) | Effect::Lock(_) => {
                let kind = effect.kind();
                let message = format!("`{kind}` was sent to the shared services, but the world performs it itself");
                Err(EffectError::new(ErrorKind::Internal, message).not_applied())
            }
        }
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").field("engine", &self.engine_name).finish_non_exhaustive()
    }
}
