//! The driver `proxy`: tells a running `deployer proxy run` through its control socket.

use std::time::Duration;

use futures_util::FutureExt;

use super::super::reason::reason;
use super::driver::{Answer, Proof, TrafficDriver};
use crate::base::duration_text::DurationText;
use crate::effect::traffic::{
    DrainTarget, Drained, HoldTraffic, Mirror, ProxyDriver, Released, Route, RouteView, Targets, TrafficStats,
};
use crate::effect::{EffectError, ErrorKind};
use crate::proxy::Client;
use crate::proxy::command::{Command, Refusal, RefusalKind, Reply};
use crate::world::Call;

/// Until the proxy answers a command that waits for nothing.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct ProxyControl {
    client: Client,
}

impl ProxyControl {
    pub(super) fn new(driver: &ProxyDriver) -> Self {
        Self { client: Client::new(&driver.control) }
    }

    async fn ask(&self, command: &Command, patience: Duration) -> Result<Reply, EffectError> {
        let path = self.client.path().display();
        let answer = self.client.ask(command, patience).await.map_err(|error| {
            // Nobody was there to be told.
            let unheard = matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused);
            let kind = match error.kind() {
                std::io::ErrorKind::TimedOut => ErrorKind::Timeout,
                std::io::ErrorKind::PermissionDenied => ErrorKind::Refused,
                _ => ErrorKind::Unavailable,
            };
            let message = format!("no proxy answers at `{path}`: {}", reason(&error));
            let error = EffectError::new(kind, message)
                .hint(format!("start one: `deployer proxy run --control {path}`; see `deployer proxy status`"));
            if unheard { error.not_applied() } else { error }
        })?;
        answer.map_err(|refusal| refused(&refusal))
    }

    /// The number under which a command is given: that of the lock; without a lock the route's own, so that whoever
    /// tries something by hand does not keep the next run out.
    async fn epoch(&self, call: &Call, service: &str) -> Result<u64, EffectError> {
        match call.epoch {
            Some(epoch) => Ok(epoch),
            None => Ok(self.find(service).await?.map_or(0, |view| view.epoch)),
        }
    }

    async fn find(&self, service: &str) -> Result<Option<RouteView>, EffectError> {
        match self.ask(&Command::Show, PATIENCE).await? {
            Reply::Routes(routes) => Ok(routes.into_iter().find(|view| view.route.service == service)),
            _ => Err(odd()),
        }
    }
}

fn odd() -> EffectError {
    EffectError::new(ErrorKind::Internal, "the proxy answered something else than it was asked")
        .hint("`deployer proxy upgrade`: it may be of another version")
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
        RefusalKind::Fenced => error.hint("a newer run steers this service: see `deployer runs`, `deployer status`"),
        _ => error,
    }
}

impl TrafficDriver for ProxyControl {
    fn kind(&self) -> &'static str {
        "proxy"
    }

    fn declare<'a>(&'a self, call: &'a Call, route: &'a Route, anew: bool) -> Answer<'a, ()> {
        async move {
            if anew {
                self.forget(call, &route.service).await?;
            }
            let epoch = self.epoch(call, &route.service).await?;
            let command = Command::RouteSet { epoch, route: route.clone(), step: None };
            self.ask(&command, PATIENCE).await.map(drop)
        }
        .boxed()
    }

    fn forget<'a>(&'a self, call: &'a Call, service: &'a str) -> Answer<'a, bool> {
        async move {
            let epoch = self.epoch(call, service).await?;
            match self.ask(&Command::RouteRemove { epoch, service: service.to_owned() }, PATIENCE).await {
                Ok(_) => Ok(true),
                Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn show<'a>(&'a self, _: &'a Call, service: &'a str) -> Answer<'a, Option<RouteView>> {
        self.find(service).boxed()
    }

    fn set<'a>(&'a self, call: &'a Call, service: &'a str, step: &'a Targets) -> Answer<'a, ()> {
        async move {
            let epoch = self.epoch(call, service).await?;
            let command = Command::TargetsSet { epoch, service: service.to_owned(), step: step.clone() };
            self.ask(&command, PATIENCE).await.map(drop)
        }
        .boxed()
    }

    fn drain<'a>(&'a self, call: &'a Call, request: &'a DrainTarget) -> Answer<'a, Drained> {
        async move {
            let command = Command::Drain {
                epoch: self.epoch(call, &request.service).await?,
                service: request.service.clone(),
                target: request.target.clone(),
                deadline: request.deadline,
                streams_deadline: request.streams_deadline,
            };
            let longest =
                request.streams_deadline.map_or(request.deadline.0, |streams| streams.0.max(request.deadline.0));
            match self.ask(&command, longest + PATIENCE).await? {
                Reply::Drained(drained) => Ok(drained),
                _ => Err(odd()),
            }
        }
        .boxed()
    }

    fn hold<'a>(&'a self, call: &'a Call, request: &'a HoldTraffic) -> Answer<'a, ()> {
        async move {
            let command = Command::Hold {
                epoch: self.epoch(call, &request.service).await?,
                service: request.service.clone(),
                max_requests: request.max_requests,
                max_wait: request.max_wait,
            };
            self.ask(&command, PATIENCE).await.map(drop)
        }
        .boxed()
    }

    fn release<'a>(&'a self, call: &'a Call, service: &'a str) -> Answer<'a, Released> {
        async move {
            let epoch = self.epoch(call, service).await?;
            match self.ask(&Command::Release { epoch, service: service.to_owned() }, PATIENCE).await? {
                Reply::Released(released) => Ok(released),
                _ => Err(odd()),
            }
        }
        .boxed()
    }

    fn mirror<'a>(&'a self, call: &'a Call, service: &'a str, mirror: Option<&'a Mirror>) -> Answer<'a, ()> {
        async move {
            let epoch = self.epoch(call, service).await?;
            let command = Command::Mirror { epoch, service: service.to_owned(), mirror: mirror.cloned() };
            self.ask(&command, PATIENCE).await.map(drop)
        }
        .boxed()
    }

    fn stats<'a>(&'a self, _: &'a Call, service: &'a str, window: Duration) -> Answer<'a, TrafficStats> {
        async move {
            let command = Command::Stats { service: service.to_owned(), window: DurationText(window) };
            match self.ask(&command, PATIENCE).await? {
                Reply::Stats(stats) => Ok(stats),
                _ => Err(odd()),
            }
        }
        .boxed()
    }

    fn proof(&self) -> Proof {
        Proof::Counts
    }
}
