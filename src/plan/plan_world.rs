//! The world of a plan: reads are real as long as no assumed change affects them; after that a simulated copy answers.
//! Changes and load tests happen only in the copy. Nothing real is changed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;

use crate::effect::git::{GitEffect, GitHead, GitOutcome, Pulled};
use crate::effect::host::HostEffect;
use crate::effect::http::{HttpEffect, HttpGet, HttpOutcome};
use crate::effect::load::LoadTest;
use crate::effect::{Access, Effect, EffectError, Outcome};
use crate::world::clock::Clock;
use crate::world::sim::{RecordedRead, SimResponse, SimWorld};
use crate::world::{Call, World};

/// What a change can affect and a read can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Realm {
    Containers,
    Images,
    Volumes,
    Networks,
    Databases,
    Objects,
    Repositories,
    Routes,
    /// Programs, which may do anything.
    Programs,
}

/// Returns the realms that an effect changes or sees.
fn realms(effect: &Effect) -> &'static [Realm] {
    use Realm::{Containers, Databases, Images, Networks, Objects, Programs, Repositories, Routes, Volumes};
    match effect {
        Effect::Container(_) | Effect::Health(_) => &[Containers],
        Effect::Image(_) => &[Images],
        Effect::Volume(_) => &[Volumes],
        Effect::Network(_) => &[Networks],
        Effect::Compose(_) => &[Containers, Images, Volumes, Networks],
        Effect::Sqlite(_) => &[Databases],
        Effect::Object(_) => &[Objects],
        Effect::Git(_) => &[Repositories],
        Effect::Exec(_) => &[Programs],
        Effect::Traffic(_) => &[Routes],
        Effect::Host(HostEffect::Port(_)) | Effect::Http(_) => &[Containers, Routes],
        Effect::Host(_) | Effect::Notify(_) | Effect::Time(_) | Effect::Lock(_) | Effect::Approval(_) => &[],
    }
}

/// A real world that is only read, and a simulated copy of it that is changed.
pub struct PlanWorld {
    real: Arc<dyn World>,
    assumed: Arc<SimWorld>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    changed: BTreeSet<Realm>,
    heard: Vec<RecordedRead>,
}

impl PlanWorld {
    /// Creates the world of a plan. `assumed` is a copy of `real`.
    pub fn new(real: Arc<dyn World>, assumed: Arc<SimWorld>) -> Self {
        Self { real, assumed, inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what the real world answered about things that are not simulated.
    pub fn heard(&self) -> Vec<RecordedRead> {
        self.inner().heard.clone()
    }

    /// Returns whether the real world still shows what the run would see.
    fn is_unaffected(&self, effect: &Effect) -> bool {
        // Time is that of the copy, and an assumed lock exists only there.
        if matches!(effect, Effect::Time(_) | Effect::Lock(_)) {
            return false;
        }
        let inner = self.inner();
        realms(effect).iter().all(|realm| !inner.changed.contains(realm))
    }

    async fn read(&self, call: &Call, effect: &Effect) -> Result<Outcome, EffectError> {
        if !self.is_unaffected(effect) {
            return self.assumed.perform(call, effect).await;
        }
        if let Effect::Http(HttpEffect::Load(load)) = effect {
            return self.read_load(call, effect, load).await;
        }
        let outcome = self.real.perform(call, effect).await?;
        let elsewhere = matches!(
            effect,
            Effect::Git(_) | Effect::Sqlite(_) | Effect::Object(_) | Effect::Http(_) | Effect::Host(HostEffect::Env(_))
        );
        if elsewhere {
            self.remember(effect, &outcome);
        }
        Ok(outcome)
    }

    fn remember(&self, effect: &Effect, outcome: &Outcome) {
        let (kind, args) = (effect.kind().to_owned(), effect.args());
        self.inner().heard.push(RecordedRead { kind, args, outcome: outcome.value() });
    }

    /// Simulates a load test, because real load is a burden. If the copy does not know the answer, one real request is
    /// sent, and its answer stands for all.
    async fn read_load(&self, call: &Call, effect: &Effect, load: &LoadTest) -> Result<Outcome, EffectError> {
        load.planned()?;
        let url = call.vault.reveal(&load.url)?;
        if self.assumed.is_reachable(&url) {
            return self.assumed.perform(call, effect).await;
        }
        let (asked, headers) = (load.url.clone(), load.headers.clone());
        let once: Effect = HttpGet { url: asked, headers, timeout: load.timeout, check: false }.into();
        if let Ok(Outcome::Http(HttpOutcome::Get(reply))) = self.real.perform(call, &once).await {
            let page = SimResponse {
                status: reply.status,
                body: reply.body,
                takes_ms: reply.elapsed_ms,
                ..SimResponse::default()
            };
            self.assumed.add_response(&url, page);
        }
        let outcome = self.assumed.perform(call, effect).await?;
        self.remember(effect, &outcome);
        Ok(outcome)
    }

    async fn write(&self, call: &Call, effect: &Effect) -> Result<Outcome, EffectError> {
        // Only the remote repository knows what a pull would bring.
        if let Effect::Git(GitEffect::Pull(request)) = effect {
            let head: Effect = GitHead { repo: request.repo.clone(), missing_ok: false }.into();
            if let Outcome::Git(GitOutcome::Head(Some(head))) = self.read(call, &head).await? {
                let (from, to) = (head.commit.clone(), head.commit);
                return Ok(Outcome::Git(GitOutcome::Pull(Pulled { from, to, updated: false })));
            }
        }
        if let Effect::Compose(_) = effect {
            self.learn_project(call, effect).await?;
        }
        let outcome = self.assumed.perform(call, effect).await?;
        self.inner().changed.extend(realms(effect));
        Ok(outcome)
    }

    /// Reads the Compose file with the real Compose.
    async fn learn_project(&self, call: &Call, effect: &Effect) -> Result<(), EffectError> {
        use crate::effect::compose::{ComposeConfig, ComposeEffect, ComposeOutcome};
        let Effect::Compose(ComposeEffect::Up(_) | ComposeEffect::Stop(_)) = effect else { return Ok(()) };
        let Effect::Compose(asked) = effect else { return Ok(()) };
        let project = match asked {
            ComposeEffect::Up(request) => request.project.clone(),
            ComposeEffect::Stop(request) => request.project.clone(),
            ComposeEffect::Ps(_) | ComposeEffect::Config(_) => return Ok(()),
        };
        let file = project.file.clone();
        let config: Effect = ComposeConfig { project }.into();
        if let Outcome::Compose(ComposeOutcome::Config(config)) = self.real.perform(call, &config).await? {
            self.assumed.add_compose_project(&file, &config);
        }
        Ok(())
    }
}

impl World for PlanWorld {
    fn name(&self) -> &'static str {
        self.real.name()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.assumed.clock()
    }

    fn perform<'a>(&'a self, call: &'a Call, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            match effect.spec().access() {
                Access::Read => self.read(call, effect).await,
                Access::Write => self.write(call, effect).await,
            }
        })
    }
}
