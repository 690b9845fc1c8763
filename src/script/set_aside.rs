//! `docker_remove` in a session: the container is stopped and renamed, and removed for good when the session ends. So
//! it can be taken back with all its files, which no removal can.

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

/// Between the name of a container that is set aside and the run that did it.
const SET_ASIDE: &str = "-removed-";

/// The removals that are due.
pub type Aside = Arc<Mutex<Vec<RemoveContainer>>>;

/// Puts this in the place of the primitive.
pub fn register(engine: &mut Engine, host: &Arc<Host>, aside: &Aside) {
    let remove = {
        let (host, aside) = (host.clone(), aside.clone());
        move |context: &NativeCallContext, args: &[Dynamic]| remove(&host, &aside, context, args)
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

/// The effects that remove what was set aside. Whatever was taken back has its name again: nothing is found then.
pub fn due(aside: &Aside) -> Vec<Effect> {
    let aside = aside.lock().unwrap_or_else(PoisonError::into_inner);
    aside.iter().cloned().map(Into::into).collect()
}

/// Takes over what a process set aside that was killed. Whether its anonymous volumes were to go is not known: they
/// stay.
pub fn take_over(aside: &Aside, names: &[String]) {
    let mut aside = aside.lock().unwrap_or_else(PoisonError::into_inner);
    aside.extend(names.iter().map(|name| removal(name, false)));
}

/// Whether this run gave a container that name to set it aside.
pub fn is_aside_name(name: &str, run: &RunId) -> bool {
    name.contains(&format!("{SET_ASIDE}{run}-"))
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

fn remove(host: &Arc<Host>, aside: &Aside, context: &NativeCallContext, args: &[Dynamic]) -> Rhai<Dynamic> {
    let Some(primitive) = catalogue().get(RemoveContainer::KIND) else { return Ok(Dynamic::UNIT) };
    let effect = primitive.effect(args).map_err(|error| host.raise(context.call_position(), primitive.name, error))?;
    let Effect::Container(ContainerEffect::Remove(request)) = &effect else { return host.perform(context, effect) };
    let look = InspectContainer { container: request.container.clone(), missing_ok: true };
    let found = host.perform(context, look.into())?;
    let found = to_json(&found).ok().and_then(|value| serde_json::from_value::<Container>(value).ok());
    // What is not there, or must not be removed as it is, ends as it always does; so does what nobody will miss.
    let Some(found) = found.filter(|found| !request.disposable && (request.force || !found.is_running())) else {
        return host.perform(context, effect);
    };
    let container = ContainerRef { key: found.id.clone(), name: Some(found.name.clone()) };
    if found.is_running() {
        let stop =
            StopContainer { container: container.clone(), grace: DEFAULT_STOP_GRACE, signal: None, missing_ok: false };
        let _stopped = host.perform(context, stop.into())?;
    }
    let name = aside_name(host, aside, &found.name);
    let _renamed = host.perform(context, RenameContainer { container, name: name.clone() }.into())?;
    aside.lock().unwrap_or_else(PoisonError::into_inner).push(removal(&name, request.volumes));
    Ok(Dynamic::from_map(Map::from([("removed".into(), true.into())])))
}

/// A name that nobody else has.
fn aside_name(host: &Host, aside: &Aside, name: &str) -> String {
    let run = host.gateway().map(|gateway| gateway.ledger().run().to_string()).unwrap_or_default();
    let number = aside.lock().unwrap_or_else(PoisonError::into_inner).len() + 1;
    format!("{name}{SET_ASIDE}{run}-{number}")
}
