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
use crate::script::params::Declaration;
use crate::script::program::Program;

/// What the script declares, read on a thread of its own: scripts block.
pub async fn declaration(script: &ScriptFile) -> Result<Declaration, Fault> {
    let (source, loader) = (script.source.clone(), script.loader.clone());
    let read = tokio::task::spawn_blocking(move || Program::declaration(source, &loader));
    Ok(read.await.into_diagnostic()??)
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
        header: app.header(&script.source.name, script.source.digest(), params),
        secret: Arc::new(app::secret),
        has_program: Arc::new(app::has_program),
        render: Arc::new(terminal::render),
        cancel: Cancel::default(),
    };
    let handle = Handle::current();
    let plan = tokio::task::spawn_blocking(move || planning.plan(&handle));
    plan.await.into_diagnostic()?.map_err(report)
}
