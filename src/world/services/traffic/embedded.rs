//! The driver `proxy`: controls a running `deployer proxy run` through its control socket.

use std::time::Duration;

use futures_util::FutureExt;

use super::driver::{DriverFuture, ProbeProof, TrafficDriver};
use crate::base::duration_text::DurationText;
use crate::effect::traffic::{
    DrainTarget, Drained, HoldTraffic, Mirror, ProxyDriver, Released, Route, RouteView, Targets, TrafficStats,
};
use crate::effect::{EffectError, ErrorKind};
use crate::proxy::Client;
use crate::proxy::command::{Command, CommandReply, Refusal, RefusalKind};
use crate::world::Call;
use crate::world::services::error_text::root_cause;

/// Timeout of a command that waits for nothing.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends commands to the embedded proxy.
pub(super) struct EmbeddedProxyDriver {
    client: Client,
}

impl EmbeddedProxyDriver {
    pub(super) fn new(driver: &ProxyDriver) -> Self {
        Self { client: Client::new(&driver.control) }
    }

    async fn send(&self, command: &Command, timeout: Duration) -> Result<CommandReply, EffectError> {
        let path = self.client.path().display();
        let reply = self.client.ask(command, timeout).await.map_err(|error| {
            // Without a listener, the command was certainly not received.
            let not_received =
                matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused);
            let kind = match error.kind() {
                std::io::ErrorKind::TimedOut => ErrorKind::Timeout,
                std::io::ErrorKind::PermissionDenied => ErrorKind::Refused,
                _ => ErrorKind::Unavailable,
            };
            let message = format!("no proxy answers at `{path}`: {}", root_cause(&error));
            let error = EffectError::new(kind, message)
                .hint(format!("start one: `deployer proxy run --control {path}`; see `deployer proxy status`"));
            if not_received { error.not_applied() } else { error }
        })?;
        reply.map_err(|refusal| refused(&refusal))
    }

    /// Returns the epoch of a command: that of the lock. Without a lock, it is the route's own, so that a command by hand
    /// does not block the next run.
    async fn epoch(&self, call: &Call, service: &str) -> Result<u64, EffectError> {
        match call.epoch {
            Some(epoch) => Ok(epoch),
            None => Ok(self.find(service).await?.map_or(0, |view| view.epoch)),
        }
    }

    async fn find(&self, service: &str) -> Result<Option<RouteView>, EffectError> {
        match self.send(&Command::Show, COMMAND_TIMEOUT).await? {
            CommandReply::Routes(routes) => Ok(routes.into_iter().find(|view| view.route.service == service)),
            _ => Err(unexpected_reply()),
        }
    }
}

fn unexpected_reply() -> EffectError {
    EffectError::new(ErrorKind::Internal, "the proxy sent an unexpected reply")
        .hint("it may run another version: `deployer proxy upgrade`")
}

fn refused(refusal: &Refusal) -> EffectError {
    let kind = match refusal.kind {
        RefusalKind::Fenced | RefusalKind::Conflict => ErrorKind::Conflict,
        RefusalKind::NotFound => ErrorKind::NotFound,
        RefusalKind::Invalid => ErrorKind::Invalid,
        RefusalKind::HandedOver => ErrorKind::Unavailable,
        RefusalKind::Failed => ErrorKind::Failed,
    };
    let error = EffectError::new(kind, format!("the proxy refused: {}", refusal.message)).not_applied();
    match refusal.kind {
        RefusalKind::Fenced => error.hint("a newer run controls this service: see `deployer runs`, `deployer status`"),
        _ => error,
    }
}

impl TrafficDriver for EmbeddedProxyDriver {
    fn kind(&self) -> &'static str {
        "proxy"
    }

    fn declare<'a>(&'a self, call: &'a Call, route: &'a Route, reset: bool) -> DriverFuture<'a, ()> {
        async move {
            if reset {
                self.forget(call, &route.service).await?;
            }
            let epoch = self.epoch(call, &route.service).await?;
            let command = Command::RouteSet { epoch, route: route.clone(), step: None };
            self.send(&command, COMMAND_TIMEOUT).await.map(drop)
        }
        .boxed()
    }

    fn forget<'a>(&'a self, call: &'a Call, service: &'a str) -> DriverFuture<'a, bool> {
        async move {
            let epoch = self.epoch(call, service).await?;
            match self.send(&Command::RouteRemove { epoch, service: service.to_owned() }, COMMAND_TIMEOUT).await {
                Ok(_) => Ok(true),
                Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn show<'a>(&'a self, _: &'a Call, service: &'a str) -> DriverFuture<'a, Option<RouteView>> {
        self.find(service).boxed()
    }

    fn set<'a>(&'a self, call: &'a Call, service: &'a str, step: &'a Targets) -> DriverFuture<'a, ()> {
        async move {
            let epoch = self.epoch(call, service).await?;
            let command = Command::TargetsSet { epoch, service: service.to_owned(), step: step.clone() };
            self.send(&command, COMMAND_TIMEOUT).await.map(drop)
        }
        .boxed()
    }

    fn drain<'a>(&'a self, call: &'a Call, request: &'a DrainTarget) -> DriverFuture<'a, Drained> {
        async move {
            let command = Command::Drain {
                epoch: self.epoch(call, &request.service).await?,
                service: request.service.clone(),
                target: request.target.clone(),
                deadline: request.deadline,
                streams_deadline: request.streams_deadline,
            };
            let drain_timeout =
                request.streams_deadline.map_or(request.deadline.0, |streams| streams.0.max(request.deadline.0));
            match self.send(&command, drain_timeout + COMMAND_TIMEOUT).await? {
                CommandReply::Drained(drained) => Ok(drained),
                _ => Err(unexpected_reply()),
            }
        }
        .boxed()
    }

    fn hold<'a>(&'a self, call: &'a Call, request: &'a HoldTraffic) -> DriverFuture<'a, ()> {
        async move {
            let command = Command::Hold {
                epoch: self.epoch(call, &request.service).await?,
                service: request.service.clone(),
                max_requests: request.max_requests,
                max_wait: request.max_wait,
                until_released: request.until_released,
            };
            self.send(&command, COMMAND_TIMEOUT).await.map(drop)
        }
        .boxed()
    }

    fn release<'a>(&'a self, call: &'a Call, service: &'a str) -> DriverFuture<'a, Released> {
        async move {
            let epoch = self.epoch(call, service).await?;
            match self.send(&Command::Release { epoch, service: service.to_owned() }, COMMAND_TIMEOUT).await? {
                CommandReply::Released(released) => Ok(released),
                _ => Err(unexpected_reply()),
            }
        }
        .boxed()
    }

    fn mirror<'a>(&'a self, call: &'a Call, service: &'a str, mirror: Option<&'a Mirror>) -> DriverFuture<'a, ()> {
        async move {
            let epoch = self.epoch(call, service).await?;
            let command = Command::Mirror { epoch, service: service.to_owned(), mirror: mirror.cloned() };
            self.send(&command, COMMAND_TIMEOUT).await.map(drop)
        }
        .boxed()
    }

    fn stats<'a>(&'a self, _: &'a Call, service: &'a str, window: Duration) -> DriverFuture<'a, TrafficStats> {
        async move {
            let command = Command::Stats { service: service.to_owned(), window: DurationText(window) };
            match self.send(&command, COMMAND_TIMEOUT).await? {
                CommandReply::Stats(stats) => Ok(stats),
                _ => Err(unexpected_reply()),
            }
        }
        .boxed()
    }

    fn proof(&self) -> ProbeProof {
        ProbeProof::Counts
    }
}
