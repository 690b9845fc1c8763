//! What `run`, `plan` and `verify` do before a script runs: reading its declaration, checking it, and planning it on the
//! real host.

use std::sync::Arc;

use miette::IntoDiagnostic;
use serde_json::Value;
use tokio::runtime::Handle;

use super::EngineArgs;
use super::command_error::CommandError;
use super::script_file::ScriptFile;
use super::terminal;
use crate::app::{self, App};
use crate::gateway::Cancel;
use crate::plan::{Plan, Planning};
use crate::script::check::check;
use crate::script::params::Declaration;
use crate::script::program::Program;

/// Reads the parameters that a script declares. Runs on a thread of its own, because scripts block.
///
/// # Errors
/// When the script cannot be parsed or its declaration is invalid.
pub async fn declaration(script: &ScriptFile) -> Result<Declaration, CommandError> {
    let (source, loader) = (script.source.clone(), script.loader.clone());
    let read = tokio::task::spawn_blocking(move || Program::declaration(source, &loader));
    Ok(read.await.into_diagnostic()??)
}

/// Refuses a script in which `deployer check` finds an error, even on a path that this run may not take: otherwise a typo
/// in the handling of a failure would show up during that failure.
///
/// # Errors
/// With the first error of the script.
pub async fn check_script(script: &ScriptFile) -> Result<(), CommandError> {
    let (source, loader) = (script.source.clone(), script.loader.clone());
    let found = tokio::task::spawn_blocking(move || check(source, &loader)).await.into_diagnostic()?;
    let error = found.into_iter().find(|diagnostic| !diagnostic.is_warning());
    error.map_or(Ok(()), |diagnostic| Err(Box::new(diagnostic).into()))
}

/// Plans a script on the host that the arguments name. Creates no journal.
///
/// # Errors
/// When the engine does not answer.
pub async fn plan(
    engine: &EngineArgs,
    script: &ScriptFile,
    declaration: &Declaration,
    given: Value,
) -> Result<Plan, CommandError> {
    let app = App::read_only(&engine.options()?).await?;
    plan_in(&app, script, declaration, given).await
}

/// Plans a script on the host of an open app.
///
/// # Errors
/// When the engine does not answer.
pub async fn plan_in(
    app: &App,
    script: &ScriptFile,
    declaration: &Declaration,
    given: Value,
) -> Result<Plan, CommandError> {
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
    plan.await.into_diagnostic()?.map_err(CommandError::from)
}
