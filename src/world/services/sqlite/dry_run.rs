//! `sqlite_migrate_dry_run`: runs a migration on a copy of the database, as SQL or as the app's own command in a
//! container. The container and its volume are removed afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use super::backup::DatabaseCopy;
use super::check::{RowCounts, check_integrity, count_rows};
use super::connection::{read_database, sqlite_error};
use super::context::SqliteContext;
use super::location::ResolvedLocation;
use super::schema::read_schema;
use super::sql_batch::{TransactionControl, execute_batch, read_sql};
use super::worker::{StopSignal, run_on_thread};
use crate::base::container_ref::ContainerRef;
use crate::effect::container::{
    ContainerEffect, ContainerOutcome, ReadLogs, RemoveContainer, RunContainer, WaitContainer,
};
use crate::effect::sqlite::{DryRun, DryRunMigration, RowChange, Schema, SchemaDiff};
use crate::effect::volume::{CreateVolume, RemoveVolume};
use crate::effect::{Effect, EffectError, ErrorKind, Outcome};
use crate::world::private_folder;
use crate::world::services::cancellation::cancelled;
use crate::world::services::file_error::file_error;
use crate::world::{Call, World};

/// Role label of the container and the volume.
const ROLE: &str = "scratch";
/// Lines of the migration's output that the reply contains.
const OUTPUT_LINES: u64 = 100;

/// Schema and row counts of a database at one instant.
struct Snapshot {
    schema: Schema,
    rows: RowCounts,
}

fn invalid(message: &str) -> EffectError {
    EffectError::new(ErrorKind::Invalid, message).not_applied()
}

/// Migrates a copy of the database and returns what changed.
pub(super) async fn dry_run(
    context: &SqliteContext,
    call: &Call,
    request: &DryRunMigration,
) -> Result<DryRun, EffectError> {
    request.validate()?;
    let folder =
        private_folder::create().map_err(|error| file_error("written", &std::env::temp_dir(), &error).not_applied())?;
    let name =
        Path::new(&request.location.path).file_name().map(Path::new).ok_or_else(|| invalid("`path` names no file"))?;
    let copy = folder.path().join(name);
    let location = context.locator.locate(&request.location).await?;
    let database = context.locator.open_for_reading(&location).await.map_err(EffectError::not_applied)?;
    let (subject, from, to) = (request.location.to_string(), database.path.clone(), copy.clone());
    call.report_progress("copying the database");
    let before = run_on_thread(move |stop| {
        let (subject, from, to) = (subject.as_str(), from.as_path(), to.as_path());
        DatabaseCopy { subject, from, to, full: false, stop, on_progress: &|_| {}, on_written: &|| Ok(()) }.run()?;
        read_snapshot(subject, to, stop)
    })
    .await
    .map_err(EffectError::not_applied)?;
    call.report_progress("running the migration on the copy");
    let start = context.clock.steady_ms();
    let (after, elapsed_ms, output) = if let Some(image) = &request.image {
        let files = CopiedDatabase { original: &database.path, copy: &copy };
        migrate_in_container(context, call, request, image, &location, files).await?
    } else {
        let sql = read_sql(request.sql.as_ref(), request.file.as_ref()).await?;
        let subject = format!("the copy of {}", request.location);
        let migrated = run_on_thread(move |stop| {
            migrate_with_sql(&subject, &copy, &sql, stop)?;
            read_snapshot(&subject, &copy, stop)
        });
        (migrated.await?, context.clock.steady_ms().saturating_sub(start), Vec::new())
    };
    Ok(compare(&before, &after, elapsed_ms, output))
}

/// A database and its copy on this machine.
#[derive(Clone, Copy)]
struct CopiedDatabase<'a> {
    original: &'a Path,
    copy: &'a Path,
}

/// Where the database is in the container of the migration.
struct ContainerLayout {
    /// Path of the file below the mount.
    relative: PathBuf,
    /// Folder of the mount.
    target: String,
}

/// Runs the app's own command on a new volume that holds the copy.
async fn migrate_in_container(
    context: &SqliteContext,
    call: &Call,
    request: &DryRunMigration,
    image: &str,
    location: &ResolvedLocation,
    files: CopiedDatabase<'_>,
) -> Result<(Snapshot, u64, Vec<String>), EffectError> {
    let world = context
        .containers
        .clone()
        .ok_or_else(|| EffectError::unsupported("a migration in a container", context.engine.name()))?;
    let layout = container_layout(context, request, location).await?;
    let name = DryRunMigration::sandbox_name(&call.run, &call.seq);
    let call_for_sandbox = Call::silent(call.run.clone(), call.seq.clone(), call.vault.clone());
    let sandbox = Sandbox { world, call: call_for_sandbox, name };
    sandbox.remove().await?;
    let guard = RemoveOnDrop(Some(sandbox.clone()));
    let done = migrate_in_sandbox(context, call, request, image, &sandbox, &layout, files).await;
    let removed = sandbox.remove().await;
    guard.disarm();
    let done = done?;
    removed?;
    Ok(done)
}

/// Finds out where the file is below its mount, and where the mount is in the container.
async fn container_layout(
    context: &SqliteContext,
    request: &DryRunMigration,
    location: &ResolvedLocation,
) -> Result<ContainerLayout, EffectError> {
    let mounted = match &request.location.container {
        Some(container) => Some(context.locator.mounted_at(&request.location, container).await?.target),
        None => None,
    };
    let target = request.target.clone().or(mounted);
    let target = target.ok_or_else(|| invalid("set `target` to the folder of the database in the image"))?;
    let relative = match (location, &request.location.container) {
        (ResolvedLocation::Volume { path, .. }, _) => PathBuf::from(path),
        (ResolvedLocation::Host(_), Some(_)) => {
            Path::new(&request.location.path).strip_prefix(&target).map(Path::to_owned).unwrap_or_default()
        }
        (ResolvedLocation::Host(path), None) => path.file_name().map(PathBuf::from).unwrap_or_default(),
    };
    Ok(ContainerLayout { relative, target })
}

async fn migrate_in_sandbox(
    context: &SqliteContext,
    call: &Call,
    request: &DryRunMigration,
    image: &str,
    sandbox: &Sandbox,
    layout: &ContainerLayout,
    files: CopiedDatabase<'_>,
) -> Result<(Snapshot, u64, Vec<String>), EffectError> {
    let ContainerLayout { relative, target } = layout;
    sandbox.create_volume().await?;
    let root = context.engine.volume_file(&sandbox.name, ".").await?;
    if root.is_copy() {
        let what = "a migration on a volume of another machine";
        return Err(EffectError::unsupported(what, context.engine.name())
            .hint("run deployer on the engine's own machine as root"));
    }
    let path = root.path().join(relative);
    copy_into_volume(root.path(), relative, files).map_err(|error| file_error("written", &path, &error))?;
    let start = context.clock.steady_ms();
    let spec = json!({
        "name": sandbox.name, "image": image, "command": request.command, "environment": request.environment,
        "user": request.user, "volumes": [format!("{}:{target}", sandbox.name)], "role": ROLE,
    });
    let spec = serde_json::from_value(spec).map_err(|error| invalid(&error.to_string()))?;
    sandbox.perform(RunContainer(spec)).await?;
    let container = ContainerRef::new(sandbox.name.clone());
    let ended = tokio::select! {
        () = call.cancel.cancelled() => return Err(cancelled()),
        ended = sandbox.perform(WaitContainer { container: container.clone(), timeout: request.timeout }) => ended?,
    };
    let elapsed_ms = context.clock.steady_ms().saturating_sub(start);
    let logs = sandbox.perform(ReadLogs { container, tail: OUTPUT_LINES }).await?;
    let output = match logs {
        Outcome::Container(ContainerOutcome::Logs(logs)) => logs.lines,
        _ => Vec::new(),
    };
    if let Outcome::Container(ContainerOutcome::Wait(ended)) = ended
        && ended.exit_code != 0
    {
        return Err(request.failed(image, ended.exit_code).detail(output.join("\n")));
    }
    let subject = format!("the copy of {}", request.location);
    let after = run_on_thread(move |stop| read_snapshot(&subject, &path, stop)).await?;
    Ok((after, elapsed_ms, output))
}

/// The container and the volume of one dry run. Both have the same name.
#[derive(Clone)]
struct Sandbox {
    world: Arc<dyn World>,
    call: Call,
    name: String,
}

impl Sandbox {
    async fn perform(&self, effect: impl Into<Effect>) -> Result<Outcome, EffectError> {
        let effect = effect.into();
        self.world.perform(&self.call, &effect).await
    }

    async fn create_volume(&self) -> Result<(), EffectError> {
        let labels = BTreeMap::from([(crate::base::labels::ROLE.to_owned(), ROLE.to_owned())]);
        self.perform(CreateVolume { name: self.name.clone(), labels, service: None }).await.map(drop)
    }

    /// Removes the container and the volume, also those that a crash left.
    async fn remove(&self) -> Result<(), EffectError> {
        let container = Effect::Container(ContainerEffect::Remove(Box::new(RemoveContainer {
            container: ContainerRef::new(self.name.clone()),
            force: true,
            volumes: true,
            missing_ok: true,
            disposable: true,
            only_own: true,
        })));
        self.perform(container).await?;
        self.perform(RemoveVolume { name: self.name.clone(), missing_ok: true, disposable: true, only_own: true })
            .await
            .map(drop)
    }
}

/// Removes the sandbox when the future of the dry run is dropped.
struct RemoveOnDrop(Option<Sandbox>);

impl RemoveOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        if let (Some(sandbox), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                if let Err(error) = sandbox.remove().await {
                    tracing::warn!(name = %sandbox.name, %error, "could not remove the container and the volume of a dry run");
                }
            });
        }
    }
}

/// Copies the file into the volume. Folders and file get the owners and permissions of the originals.
fn copy_into_volume(root: &Path, relative: &Path, files: CopiedDatabase<'_>) -> std::io::Result<()> {
    let copy_owner_and_mode = |model: &Path, path: &Path| -> std::io::Result<()> {
        let model = fs::metadata(model)?;
        fs::set_permissions(path, fs::Permissions::from_mode(model.mode() & 0o7777))?;
        std::os::unix::fs::chown(path, Some(model.uid()), Some(model.gid()))
    };
    let folders: Vec<(&Path, &Path)> = relative.ancestors().zip(files.original.ancestors()).skip(1).collect();
    for (folder, model) in folders.into_iter().rev() {
        let path = root.join(folder);
        fs::create_dir_all(&path)?;
        copy_owner_and_mode(model, &path)?;
    }
    let path = root.join(relative);
    fs::copy(files.copy, &path)?;
    copy_owner_and_mode(files.original, &path)
}

fn migrate_with_sql(subject: &str, path: &Path, sql: &str, stop: &StopSignal) -> Result<(), EffectError> {
    let failed = |error: rusqlite::Error| sqlite_error(subject, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    stop.watch(&connection);
    execute_batch(subject, &connection, sql, TransactionControl::Sql, stop)?;
    if !connection.is_autocommit() {
        return Err(EffectError::new(ErrorKind::Failed, "the SQL begins a transaction but does not commit it"));
    }
    connection.close().map_err(|(_, error)| failed(error))
}

fn read_snapshot(subject: &str, path: &Path, stop: &StopSignal) -> Result<Snapshot, EffectError> {
    read_database(subject, path, stop, |connection| {
        check_integrity(subject, connection, true)?;
        let failed = |error: rusqlite::Error| sqlite_error(subject, &error);
        Ok(Snapshot { schema: read_schema(connection).map_err(failed)?, rows: count_rows(connection).map_err(failed)? })
    })
}

fn compare(before: &Snapshot, after: &Snapshot, elapsed_ms: u64, output: Vec<String>) -> DryRun {
    let diff = SchemaDiff::between(&before.schema, &after.schema);
    let count = |snapshot: &Snapshot, table: &String| snapshot.rows.get(table).copied().unwrap_or(0);
    let rows: BTreeMap<String, RowChange> = before
        .rows
        .keys()
        .chain(after.rows.keys())
        .map(|table| (table.clone(), RowChange { before: count(before, table), after: count(after, table) }))
        .filter(|(_, change)| change.before != change.after)
        .collect();
    let destructive = diff.destructive || rows.values().any(|change| change.after < change.before);
    DryRun { diff, rows, elapsed_ms, destructive, output }
}
