//! Asks for confirmation before something live is stopped or removed. Knows what counts as live, not how to ask.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::ledger::Ledger;
use super::{Layer, RequestContext};
use crate::effect::compose::{ComposeEffect, ComposeOutcome};
use crate::effect::container::{Container, ContainerEffect, ContainerOutcome, InspectContainer};
use crate::effect::object::ObjectEffect;
use crate::effect::traffic::TrafficEffect;
use crate::effect::volume::VolumeEffect;
use crate::effect::{Effect, EffectError, ErrorKind, Outcome, TakesDown};

/// Asks the operator, or answers for one.
pub trait Consent: Send + Sync {
    /// Returns whether the effect may be performed. Blocks until there is an answer.
    fn allow(&self, question: &str) -> bool;

    /// Returns what to type instead, where there is no one to ask.
    fn hint(&self) -> Option<&'static str> {
        None
    }
}

/// Asks before effects that take something live down.
pub struct ConsentLayer {
    next: Arc<dyn Layer>,
    ledger: Arc<Ledger>,
    consent: Arc<dyn Consent>,
}

impl ConsentLayer {
    /// Wraps `next`.
    pub fn new(next: Arc<dyn Layer>, ledger: Arc<Ledger>, consent: Arc<dyn Consent>) -> Self {
        Self { next, ledger, consent }
    }

    /// Returns the question to ask; `None` when nothing live is affected.
    async fn question(&self, context: &RequestContext, effect: &Effect) -> Option<String> {
        let does = verb_phrase(effect);
        match effect.spec().takes_down() {
            TakesDown::Container(container) => {
                let look: Effect = InspectContainer { container: container.clone(), missing_ok: true }.into();
                match self.next.perform(context, &look).await {
                    Ok(Outcome::Container(ContainerOutcome::Inspect(found))) => of_live(does, found.as_slice()),
                    Ok(_) => None,
                    // A container that cannot be inspected may be live.
                    Err(_) => Some(format!("{does} `{container}`, which may be live: its state is unknown")),
                }
            }
            TakesDown::Listed(listing) => {
                let subject = effect.spec().subject();
                match self.next.perform(context, &listing).await {
                    Ok(Outcome::Compose(ComposeOutcome::Ps(found))) => of_live(does, &found),
                    Ok(_) => None,
                    Err(_) => Some(format!("{does} {subject}, which may be live: its state is unknown")),
                }
            }
            TakesDown::Nothing => permanent_loss(context, effect),
        }
    }
}

/// Returns what the effect does to the containers that it takes down.
fn verb_phrase(effect: &Effect) -> &'static str {
    match effect {
        Effect::Container(ContainerEffect::Kill(_)) => "kills",
        Effect::Container(ContainerEffect::Remove(_)) => "kills and removes",
        Effect::Compose(ComposeEffect::Stop(request)) if request.remove => "stops and removes",
        Effect::Compose(ComposeEffect::Up(request)) if request.force_recreate => "recreates, and so stops,",
        Effect::Compose(ComposeEffect::Up(_)) => "recreates what has changed, and so may stop",
        _ => "stops",
    }
}

/// Returns the question about the running containers among these; `None` when none runs.
fn of_live(does: &str, found: &[Container]) -> Option<String> {
    let live: Vec<String> = found
        .iter()
        .filter(|container| container.is_running())
        .map(|container| {
            let ports = container.ports.iter().map(|port| format!(", port {}", port.host_port)).collect::<String>();
            format!("`{}`, which runs ({}{ports})", container.name, container.image)
        })
        .collect();
    (!live.is_empty()).then(|| format!("{does} {}", live.join(" and ")))
}

/// Returns the question about a permanent loss that stops no container.
fn permanent_loss(context: &RequestContext, effect: &Effect) -> Option<String> {
    match effect {
        // The undo of a volume removes one that this run created.
        Effect::Volume(VolumeEffect::Remove(request)) if context.undoes.is_none() => {
            Some(format!("removes volume `{}` and everything in it", request.name))
        }
        Effect::Volume(VolumeEffect::Prune(request)) if request.keep.is_some() || request.older_than.is_some() => {
            let whose =
                request.volume.as_ref().map_or_else(|| "every volume".into(), |name| format!("volume `{name}`"));
            Some(format!("removes old snapshots of {whose}"))
        }
        Effect::Object(ObjectEffect::Delete(request)) if context.undoes.is_none() && !request.disposable => {
            Some(format!("permanently deletes `{}`", request.url))
        }
        Effect::Object(ObjectEffect::Prune(request)) => {
            Some(format!("permanently deletes old objects below `{}`", request.prefix))
        }
        Effect::Traffic(TrafficEffect::Forget(_)) => {
            Some(format!("removes the route of {}: it stops answering", effect.spec().subject()))
        }
        _ => None,
    }
}

impl Layer for ConsentLayer {
    fn perform<'a>(
        &'a self,
        context: &'a RequestContext,
        effect: &'a Effect,
    ) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            // A rollback of the whole run was requested already.
            if !self.ledger.rolling_back()
                && let Some(question) = self.question(context, effect).await
                && !self.consent.allow(&format!("`{}` {question}", effect.kind()))
            {
                let message = format!("`{}` is not allowed: it {question}", effect.kind());
                let error = EffectError::new(ErrorKind::Refused, message).not_applied();
                return Err(self.consent.hint().into_iter().fold(error, EffectError::hint));
            }
            self.next.perform(context, effect).await
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::{Value, json};

    use super::*;
    use crate::base::run_id::RunId;
    use crate::base::seq::Branch;
    use crate::base::vault::Vault;
    use crate::journal::memory_journal::MemoryJournal;
    use crate::world::Call;
    use crate::world::sim::SimClock;

    /// An engine with a running service `web` and a stopped one, `old`.
    struct Engine;

    fn container(name: &str) -> Value {
        let state = if name == "web" { "running" } else { "exited" };
        let port = json!({"container_port": 5000, "protocol": "tcp", "address": "0.0.0.0", "host_port": 8080});
        json!({
            "id": name, "name": name, "image": "web:v1", "image_id": "i", "state": state, "ports": [port],
            "labels": {}, "created_at": "",
        })
    }

    impl Layer for Engine {
        fn perform<'a>(
            &'a self,
            _: &'a RequestContext,
            effect: &'a Effect,
        ) -> BoxFuture<'a, Result<Outcome, EffectError>> {
            Box::pin(async move {
                let answer = match effect.kind() {
                    "docker_inspect" if effect.args()["container"] == "lost" => {
                        return Err(EffectError::new(ErrorKind::Unavailable, "no answer"));
                    }
                    "docker_inspect" => container(effect.args()["container"].as_str().unwrap()),
                    "compose_ps" => json!([container("web"), container("old")]),
                    other => return Err(EffectError::new(ErrorKind::Failed, format!("`{other}` was let through"))),
                };
                Ok(Outcome::decode(effect.kind(), answer).unwrap())
            })
        }
    }

    struct No(Mutex<Vec<String>>);

    impl Consent for No {
        fn allow(&self, question: &str) -> bool {
            self.0.lock().unwrap().push(question.to_owned());
            false
        }
    }

    /// The question before this effect; none when it is passed on.
    async fn asked(kind: &str, args: Value) -> Option<String> {
        let run = RunId::from_bytes([1; 10]);
        let (vault, clock) = (Arc::new(Vault::empty()), Arc::new(SimClock::starting_at(0)));
        let journal = Arc::new(MemoryJournal::default());
        let ledger = Arc::new(Ledger::new(run.clone(), journal, clock, vault.clone(), Arc::new(|_| {})));
        let consent = Arc::new(No(Mutex::default()));
        let ask = ConsentLayer::new(Arc::new(Engine), ledger, consent.clone());
        let call = Call::silent(run, Branch::root().next(), vault);
        let context = RequestContext { call, site: None, undoes: None };
        let effect = Effect::decode(kind, args).unwrap();
        let error = ask.perform(&context, &effect).await.unwrap_err();
        let asked = consent.0.lock().unwrap().pop();
        assert_eq!(error.kind, if asked.is_some() { ErrorKind::Refused } else { ErrorKind::Failed }, "{error}");
        asked
    }

    #[tokio::test]
    async fn only_running_containers_need_confirmation() {
        let stop = asked("docker_stop", json!({"container": "web"})).await;
        assert_eq!(stop.unwrap(), "`docker_stop` stops `web`, which runs (web:v1, port 8080)");
        assert_eq!(asked("docker_stop", json!({"container": "old"})).await, None);
        assert_eq!(asked("docker_start", json!({"container": "old"})).await, None);
        let lost = asked("docker_remove", json!({"container": "lost", "force": true})).await;
        assert_eq!(lost.unwrap(), "`docker_remove` kills and removes `lost`, which may be live: its state is unknown");
        // A signal that does not end a program takes nothing down.
        assert_eq!(asked("docker_kill", json!({"container": "web", "signal": "SIGHUP"})).await, None);
        assert!(asked("docker_kill", json!({"container": "web"})).await.is_some());
    }

    #[tokio::test]
    async fn compose_may_recreate_a_running_container() {
        let web = "`web`, which runs (web:v1, port 8080)";
        let up = asked("compose_up", json!({"file": "compose.yml"})).await;
        assert_eq!(up.unwrap(), format!("`compose_up` recreates what has changed, and so may stop {web}"));
        let forced = asked("compose_up", json!({"file": "compose.yml", "force_recreate": true})).await;
        assert_eq!(forced.unwrap(), format!("`compose_up` recreates, and so stops, {web}"));
        let down = asked("compose_stop", json!({"file": "compose.yml", "remove": true})).await;
        assert_eq!(down.unwrap(), format!("`compose_stop` stops and removes {web}"));
    }

    #[tokio::test]
    async fn a_permanent_loss_needs_confirmation() {
        for (kind, args) in [
            ("volume_remove", json!({"name": "data"})),
            ("volume_prune", json!({"volume": "data", "keep": 3})),
            ("object_delete", json!({"url": "file:///b/x"})),
            ("object_prune", json!({"prefix": "file:///b/x-", "keep": 3})),
            ("traffic_forget", json!({"service": "web"})),
        ] {
            assert!(asked(kind, args).await.is_some(), "{kind}");
        }
        assert_eq!(asked("volume_prune", json!({})).await, None);
        assert_eq!(asked("object_delete", json!({"url": "file:///b/x", "disposable": true})).await, None);
    }
}
