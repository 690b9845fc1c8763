//! `docker_remove` in a session: stops and renames the container, and removes it when the session ends. Until then,
//! `:undo` can restore it with all its files.

use std::sync::{Arc, Mutex, PoisonError};

use rhai::{Dynamic, Engine, Map, NativeCallContext};

use super::catalogue::catalogue;
use super::host::{Host, Rhai};
use super::value::to_json;
use crate::base::container_ref::ContainerRef;
use crate::base::run_id::RunId;
use crate::effect::container::{
    Container, ContainerEffect, DEFAULT_STOP_GRACE, InspectContainer, RemoveContainer, RenameContainer, StopContainer,
};
use crate::effect::{Effect, Request};

/// Separates the original name of a renamed container from the id of the run.
const DEFERRED_INFIX: &str = "-removed-";

/// The removals that are due at the end of the session.
pub type DeferredRemovals = Arc<Mutex<Vec<RemoveContainer>>>;

/// Replaces the primitive `docker_remove` in `engine`.
pub fn register(engine: &mut Engine, host: &Arc<Host>, deferred: &DeferredRemovals) {
    let remove = {
        let (host, deferred) = (host.clone(), deferred.clone());
        move |context: &NativeCallContext, args: &[Dynamic]| remove(&host, &deferred, context, args)
    };
    let with_options = remove.clone();
    engine.register_fn(RemoveContainer::KIND, move |context: NativeCallContext, container: Dynamic| {
        remove(&context, &[container])
    });
    engine.register_fn(
        RemoveContainer::KIND,
        move |context: NativeCallContext, container: Dynamic, options: Dynamic| {
            with_options(&context, &[container, options])
        },
    );
}

/// Returns the removals that are due. Those of restored containers find nothing, because the names are restored too.
pub fn due_removals(deferred: &DeferredRemovals) -> Vec<Effect> {
    let deferred = deferred.lock().unwrap_or_else(PoisonError::into_inner);
    deferred.iter().cloned().map(Into::into).collect()
}

/// Adds the removals of a killed process. Its choice about anonymous volumes is unknown, so that they are kept.
pub fn add_recovered(deferred: &DeferredRemovals, names: &[String]) {
    let mut deferred = deferred.lock().unwrap_or_else(PoisonError::into_inner);
    deferred.extend(names.iter().map(|name| removal(name, false)));
}

/// Whether this run gave a container this name to remove it later.
pub fn is_deferred_name(name: &str, run: &RunId) -> bool {
    name.contains(&format!("{DEFERRED_INFIX}{run}-"))
}

fn removal(name: &str, volumes: bool) -> RemoveContainer {
    RemoveContainer {
        container: ContainerRef::new(name),
        force: true,
        volumes,
        missing_ok: true,
        disposable: true,
        only_own: false,
    }
}

fn remove(
    host: &Arc<Host>,
    deferred: &DeferredRemovals,
    context: &NativeCallContext,
    args: &[Dynamic],
) -> Rhai<Dynamic> {
    let Some(primitive) = catalogue().get(RemoveContainer::KIND) else { return Ok(Dynamic::UNIT) };
    let effect = primitive.effect(args).map_err(|error| host.raise(context.call_position(), primitive.name, error))?;
    let Effect::Container(ContainerEffect::Remove(request)) = &effect else { return host.perform(context, effect) };
    let inspect = InspectContainer { container: request.container.clone(), missing_ok: true };
    let found = host.perform(context, inspect.into())?;
    let found = to_json(&found).ok().and_then(|value| serde_json::from_value::<Container>(value).ok());
    // A missing, disposable or non-removable container is handled by the primitive itself.
    let Some(found) = found.filter(|found| !request.disposable && (request.force || !found.is_running())) else {
        return host.perform(context, effect);
    };
    let container = ContainerRef { key: found.id.clone(), name: Some(found.name.clone()) };
    if found.is_running() {
        let stop =
            StopContainer { container: container.clone(), grace: DEFAULT_STOP_GRACE, signal: None, missing_ok: false };
        let _stopped = host.perform(context, stop.into())?;
    }
    let name = deferred_name(host, deferred, &found.name);
    let _renamed = host.perform(context, RenameContainer { container, name: name.clone() }.into())?;
    deferred.lock().unwrap_or_else(PoisonError::into_inner).push(removal(&name, request.volumes));
    Ok(Dynamic::from_map(Map::from([("removed".into(), true.into())])))
}

/// Returns a unique name.
fn deferred_name(host: &Host, deferred: &DeferredRemovals, name: &str) -> String {
    let run = host.gateway().map(|gateway| gateway.ledger().run().to_string()).unwrap_or_default();
    let number = deferred.lock().unwrap_or_else(PoisonError::into_inner).len() + 1;
    format!("{name}{DEFERRED_INFIX}{run}-{number}")
}
