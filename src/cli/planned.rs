//! The plan that `plan`, `verify` and `run --plan-first` begin with: of a script, on the real host.

use std::sync::Arc;

use miette::IntoDiagnostic;
use serde_json::Value;
use tokio::runtime::Handle;

use super::EngineArgs;
use super::fault::Fault;
use super::script_file::ScriptFile;
use super::terminal;
use super::verify::report;
use crate::app::{self, App};
use crate::gateway::Cancel;
use crate::plan::{Plan, Planning};
use crate::script::check::check;
use crate::script::params::Declaration;
use crate::script::program::Program;

/// What the script declares, read on a thread of its own: scripts block.
pub async fn declaration(script: &ScriptFile) -> Result<Declaration, Fault> {
    let (source, loader) = (script.source.clone(), script.loader.clone());
    let read = tokio::task::spawn_blocking(move || Program::declaration(source, &loader));
    Ok(read.await.into_diagnostic()??)
}

/// Refuses a script that `deployer check` finds something wrong with, also where this run would never come to it: a typo
/// in what only happens after a failure would be found in the middle of one.
///
/// # Errors
/// The first that is wrong.
pub async fn sound(script: &ScriptFile) -> Result<(), Fault> {
    let (source, loader) = (script.source.clone(), script.loader.clone());
    let found = tokio::task::spawn_blocking(move || check(source, &loader)).await.into_diagnostic()?;
    let wrong = found.into_iter().find(|diagnostic| !diagnostic.is_warning());
    wrong.map_or(Ok(()), |diagnostic| Err(Box::new(diagnostic).into()))
}

/// The plan of a script on the host that the arguments name. Makes no journal.
///
/// # Errors
/// When the engine does not answer.
pub async fn plan(
    engine: &EngineArgs,
    script: &ScriptFile,
    declaration: &Declaration,
    given: Value,
) -> Result<Plan, Fault> {
    let app = App::looking(&engine.options()?).await?;
    of_app(&app, script, declaration, given).await
}

/// The same on the host of an app that is open.
///
/// # Errors
/// When the engine does not answer.
pub async fn of_app(app: &App, script: &ScriptFile, declaration: &Declaration, given: Value) -> Result<Plan, Fault> {
    let params = declaration.fill(&given).unwrap_or(Value::Null);
    let planning = Planning {
        real: app.world.clone(),
        source: script.source.clone(),
        loader: script.loader.clone(),
        declaration: declaration.clone(),
        given,
        header: app.header(&script.source.name, script.source.digest().to_owned(), params),
        secret: Arc::new(app::secret),
        has_program: Arc::new(app::has_program),
        render: Arc::new(terminal::render),
        cancel: Cancel::default(),
    };
    let handle = Handle::current();
    let plan = tokio::task::spawn_blocking(move || planning.plan(&handle));
    plan.await.into_diagnostic()?.map_err(report)
}
