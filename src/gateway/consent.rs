//! Asks a person before something live is stopped or removed. Knows what counts as live, and nothing of how one asks.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::ledger::Ledger;
use super::{Door, Ticket};
use crate::effect::compose::{ComposeEffect, ComposeOutcome};
use crate::effect::container::{Container, ContainerEffect, ContainerOutcome, InspectContainer};
use crate::effect::object::ObjectEffect;
use crate::effect::traffic::TrafficEffect;
use crate::effect::volume::VolumeEffect;
use crate::effect::{Effect, EffectError, ErrorKind, Outcome, TakesDown};

/// Whoever answers for a person.
pub trait Consent: Send + Sync {
    /// Whether it may be done. Blocks as long as the person thinks.
    fn allow(&self, question: &str) -> bool;

    /// What to type where nobody can be asked.
    fn hint(&self) -> Option<&'static str> {
        None
    }
}

pub struct Ask {
    next: Arc<dyn Door>,
    ledger: Arc<Ledger>,
    consent: Arc<dyn Consent>,
}

impl Ask {
    pub fn new(next: Arc<dyn Door>, ledger: Arc<Ledger>, consent: Arc<dyn Consent>) -> Self {
        Self { next, ledger, consent }
    }

    /// What must be asked; none when nothing live is at stake.
    async fn question(&self, ticket: &Ticket, effect: &Effect) -> Option<String> {
        let does = deed(effect);
        match effect.facts().takes_down() {
            TakesDown::Container(container) => {
                let look: Effect = InspectContainer { container: container.clone(), missing_ok: true }.into();
                match self.next.perform(ticket, &look).await {
                    Ok(Outcome::Container(ContainerOutcome::Inspect(found))) => of_live(does, found.as_slice()),
                    Ok(_) => None,
                    // Whoever cannot be looked at may be live.
                    Err(_) => Some(format!("{does} `{container}`, which does not tell whether it is live")),
                }
            }
            TakesDown::Compose(project) => {
                let subject = effect.facts().subject();
                match self.next.perform(ticket, &(*project).into()).await {
                    Ok(Outcome::Compose(ComposeOutcome::Ps(found))) => of_live(does, &found),
                    Ok(_) => None,
                    Err(_) => Some(format!("{does} {subject}, which does not tell whether it is live")),
                }
            }
            TakesDown::Nobody => lost_for_good(ticket, effect),
        }
    }
}

/// What it does to those that it takes down.
fn deed(effect: &Effect) -> &'static str {
    match effect {
        Effect::Container(ContainerEffect::Kill(_)) => "kills",
        Effect::Container(ContainerEffect::Remove(_)) => "kills and removes",
        Effect::Compose(ComposeEffect::Stop(request)) if request.remove => "stops and removes",
        Effect::Compose(ComposeEffect::Up(request)) if request.force_recreate => "makes anew, and so stops,",
        Effect::Compose(ComposeEffect::Up(_)) => "makes anew what has changed, and so may stop",
        _ => "stops",
    }
}

/// The question about those that run; none when none does.
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

/// What no container serves, and is gone all the same.
fn lost_for_good(ticket: &Ticket, effect: &Effect) -> Option<String> {
    match effect {
        // To take a volume back is to remove one that this very run made.
        Effect::Volume(VolumeEffect::Remove(request)) if ticket.undoes.is_none() => {
            Some(format!("removes volume `{}` and all that is in it", request.name))
        }
        Effect::Volume(VolumeEffect::Prune(request)) if request.keep.is_some() || request.older_than.is_some() => {
            let whose =
                request.volume.as_ref().map_or_else(|| "every volume".into(), |name| format!("volume `{name}`"));
            Some(format!("removes old snapshots of {whose}"))
        }
        Effect::Object(ObjectEffect::Delete(request)) if ticket.undoes.is_none() && !request.disposable => {
            Some(format!("deletes `{}` for good", request.url))
        }
        Effect::Object(ObjectEffect::Prune(request)) => {
            Some(format!("deletes old ones of `{}` for good", request.prefix))
        }
        Effect::Traffic(TrafficEffect::Forget(_)) => {
            Some(format!("closes {}: nobody answers there any more", effect.facts().subject()))
        }
        _ => None,
    }
}

impl Door for Ask {
    fn perform<'a>(&'a self, ticket: &'a Ticket, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            // Whoever takes a whole run back has asked for all of it.
            if !self.ledger.unwinding()
                && let Some(question) = self.question(ticket, effect).await
                && !self.consent.allow(&format!("`{}` {question}", effect.kind()))
            {
                let message = format!("`{}` is not allowed: it {question}", effect.kind());
                let error = EffectError::new(ErrorKind::Refused, message).not_applied();
                return Err(self.consent.hint().into_iter().fold(error, EffectError::hint));
            }
            self.next.perform(ticket, effect).await
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

    /// An engine with a service `web` that runs and an `old` one that does not.
    struct Engine;

    fn container(name: &str) -> Value {
        let state = if name == "web" { "running" } else { "exited" };
        let port = json!({"container_port": 5000, "protocol": "tcp", "address": "0.0.0.0", "host_port": 8080});
        json!({
            "id": name, "name": name, "image": "web:v1", "image_id": "i", "state": state, "ports": [port],
            "labels": {}, "created_at": "",
        })
    }

    impl Door for Engine {
        fn perform<'a>(&'a self, _: &'a Ticket, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
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

    /// What is asked before this; none when it is let through.
    async fn asked(kind: &str, args: Value) -> Option<String> {
        let run = RunId::from_bytes([1; 10]);
        let (vault, clock) = (Arc::new(Vault::empty()), Arc::new(SimClock::starting_at(0)));
        let journal = Arc::new(MemoryJournal::default());
        let ledger = Arc::new(Ledger::new(run.clone(), journal, clock, vault.clone(), Arc::new(|_| {})));
        let consent = Arc::new(No(Mutex::default()));
        let ask = Ask::new(Arc::new(Engine), ledger, consent.clone());
        let call = Call::silent(run, Branch::root().next(), vault);
        let ticket = Ticket { call, site: None, undoes: None };
        let effect = Effect::decode(kind, args).unwrap();
        let error = ask.perform(&ticket, &effect).await.unwrap_err();
        let asked = consent.0.lock().unwrap().pop();
        assert_eq!(error.kind, if asked.is_some() { ErrorKind::Refused } else { ErrorKind::Failed }, "{error}");
        asked
    }

    #[tokio::test]
    async fn what_runs_is_asked_for_and_what_does_not_is_not() {
        let stop = asked("docker_stop", json!({"container": "web"})).await;
        assert_eq!(stop.unwrap(), "`docker_stop` stops `web`, which runs (web:v1, port 8080)");
        assert_eq!(asked("docker_stop", json!({"container": "old"})).await, None);
        assert_eq!(asked("docker_start", json!({"container": "old"})).await, None);
        let lost = asked("docker_remove", json!({"container": "lost", "force": true})).await;
        assert_eq!(lost.unwrap(), "`docker_remove` kills and removes `lost`, which does not tell whether it is live");
        // A signal that only tells a program something takes nobody down.
        assert_eq!(asked("docker_kill", json!({"container": "web", "signal": "SIGHUP"})).await, None);
        assert!(asked("docker_kill", json!({"container": "web"})).await.is_some());
    }

    #[tokio::test]
    async fn compose_may_make_anew_what_runs() {
        let web = "`web`, which runs (web:v1, port 8080)";
        let up = asked("compose_up", json!({"file": "compose.yml"})).await;
        assert_eq!(up.unwrap(), format!("`compose_up` makes anew what has changed, and so may stop {web}"));
        let anew = asked("compose_up", json!({"file": "compose.yml", "force_recreate": true})).await;
        assert_eq!(anew.unwrap(), format!("`compose_up` makes anew, and so stops, {web}"));
        let down = asked("compose_stop", json!({"file": "compose.yml", "remove": true})).await;
        assert_eq!(down.unwrap(), format!("`compose_stop` stops and removes {web}"));
    }

    #[tokio::test]
    async fn what_is_lost_for_good_is_asked_for() {
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
