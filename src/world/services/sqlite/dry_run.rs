//! `sqlite_migrate_dry_run`: a migration on a copy, by SQL or by the app's own command in a container that is thrown
//! away with the volume that it has.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use super::super::Services;
use super::super::storage::file_wrong;
use super::backup::Copying;
use super::check::tables;
use super::file::{reading, wrong};
use super::place::Located;
use super::statements::{Transaction, run, text_of};
use super::thread::{Stop, on_thread};
use super::{Rows, schema};
use crate::base::container_ref::ContainerRef;
use crate::effect::container::{
    ContainerEffect, ContainerOutcome, ReadLogs, RemoveContainer, RunContainer, WaitContainer,
};
use crate::effect::sqlite::{DryRun, DryRunMigration, RowChange, Schema, SchemaDiff};
use crate::effect::volume::{CreateVolume, RemoveVolume};
use crate::effect::{Effect, EffectError, ErrorKind, Outcome};
use crate::world::{Call, World};

/// The part of container and volume in the deploy.
const ROLE: &str = "dry-run";
/// Lines of the migration's output that come back.
const OUTPUT_LINES: u64 = 100;

/// A database at one instant.
struct State {
    schema: Schema,
    rows: Rows,
}

fn invalid(message: &str) -> EffectError {
    EffectError::new(ErrorKind::Invalid, message).not_applied()
}

impl Services {
    pub(super) async fn dry_run(&self, call: &Call, request: &DryRunMigration) -> Result<DryRun, EffectError> {
        let folder = tempfile::Builder::new().prefix("deployer-dry-run-").tempdir();
        let folder = folder.map_err(|error| file_wrong("written", &std::env::temp_dir(), &error).not_applied())?;
        let name =
            Path::new(&request.place.path).file_name().map(Path::new).ok_or_else(|| invalid("`path` names no file"))?;
        let local = folder.path().join(name);
        let located = self.locate(&request.place).await?;
        let reached = self.reach(&located).await.map_err(EffectError::not_applied)?;
        let (subject, from, to) = (request.place.to_string(), reached.path.clone(), local.clone());
        call.tell("copying the database");
        let before = on_thread(move |stop| {
            let (subject, from, to) = (subject.as_str(), from.as_path(), to.as_path());
            Copying { subject, from, to, full: false, stop, told: &|_| {}, once_written: &|| Ok(()) }.run()?;
            state(subject, to, stop)
        })
        .await
        .map_err(EffectError::not_applied)?;
        call.tell("running the migration on the copy");
        let start = self.clock.steady_ms();
        let (after, elapsed_ms, output) = if let Some(image) = &request.image {
            if request.command.is_empty() || request.sql.is_some() || request.file.is_some() {
                return Err(invalid("`image` goes with `command`, and without `sql` and `file`"));
            }
            self.in_container(call, request, image, &located, &reached.path, &local).await?
        } else {
            let sql = text_of(request.sql.as_ref(), request.file.as_ref()).await?;
            let subject = format!("the copy of {}", request.place);
            let migrated = on_thread(move |stop| {
                migrate(&subject, &local, &sql, stop)?;
                state(&subject, &local, stop)
            });
            (migrated.await?, self.clock.steady_ms().saturating_sub(start), Vec::new())
        };
        Ok(compare(&before, &after, elapsed_ms, output))
    }

    /// The app's own command on a volume of its own that holds the copy.
    async fn in_container(
        &self,
        call: &Call,
        request: &DryRunMigration,
        image: &str,
        located: &Located,
        original: &Path,
        local: &Path,
    ) -> Result<(State, u64, Vec<String>), EffectError> {
        let world = self
            .containers
            .clone()
            .ok_or_else(|| EffectError::unsupported("a migration in a container", self.engine.name()))?;
        let (relative, target) = self.layout(request, located).await?;
        let name = format!("deployer-dry-run-{}-{}", call.run, call.seq).replace('.', "_");
        let stand = Stand { world, call: Call::silent(call.run.clone(), call.seq.clone(), call.vault.clone()), name };
        stand.clear().await?;
        let guard = Leftover(Some(stand.clone()));
        let done = self.on_stand(call, request, image, &stand, (&relative, &target), original, local).await;
        let cleared = stand.clear().await;
        guard.disarm();
        let done = done?;
        cleared?;
        Ok(done)
    }

    /// Where the file is below its mount, and where the mount is in the container.
    async fn layout(&self, request: &DryRunMigration, located: &Located) -> Result<(PathBuf, String), EffectError> {
        let seen = match &request.place.container {
            Some(container) => Some(self.seen_by(container, &request.place.path).await?.target),
            None => None,
        };
        let target = request.target.clone().or(seen);
        let target = target.ok_or_else(|| invalid("`target` is missing: the folder of the database in the image"))?;
        let relative = match (located, &request.place.container) {
            (Located::Volume { path, .. }, _) => PathBuf::from(path),
            (Located::Host(_), Some(_)) => {
                Path::new(&request.place.path).strip_prefix(&target).map(Path::to_owned).unwrap_or_default()
            }
            (Located::Host(path), None) => path.file_name().map(PathBuf::from).unwrap_or_default(),
        };
        Ok((relative, target))
    }

    #[allow(clippy::too_many_arguments, reason = "one step of one story")]
    async fn on_stand(
        &self,
        call: &Call,
        request: &DryRunMigration,
        image: &str,
        stand: &Stand,
        (relative, target): (&Path, &str),
        original: &Path,
        local: &Path,
    ) -> Result<(State, u64, Vec<String>), EffectError> {
        stand.make_volume().await?;
        let root = self.engine.volume_file(&stand.name, ".").await?;
        if root.is_copy() {
            return Err(EffectError::unsupported("a migration on a volume of another machine", self.engine.name())
                .hint("run deployer on the engine's own machine as root"));
        }
        let place = root.path().join(relative);
        furnish(root.path(), relative, original, local).map_err(|error| file_wrong("written", &place, &error))?;
        let start = self.clock.steady_ms();
        let spec = json!({
            "name": stand.name, "image": image, "command": request.command, "environment": request.environment,
            "user": request.user, "volumes": [format!("{}:{target}", stand.name)], "role": ROLE,
        });
        let spec = serde_json::from_value(spec).map_err(|error| invalid(&error.to_string()))?;
        stand.ask(RunContainer(spec)).await?;
        let container = ContainerRef::new(stand.name.clone());
        let ended = tokio::select! {
            () = call.cancel.cancelled() => return Err(super::super::wait::cancelled()),
            ended = stand.ask(WaitContainer { container: container.clone(), timeout: request.timeout }) => ended?,
        };
        let elapsed_ms = self.clock.steady_ms().saturating_sub(start);
        let logs = stand.ask(ReadLogs { container, tail: OUTPUT_LINES }).await?;
        let output = match logs {
            Outcome::Container(ContainerOutcome::Logs(logs)) => logs.lines,
            _ => Vec::new(),
        };
        if let Outcome::Container(ContainerOutcome::Wait(ended)) = ended
            && ended.exit_code != 0
        {
            let message = format!(
                "the migration `{}` of `{image}` ended with code {}",
                request.command.join(" "),
                ended.exit_code
            );
            return Err(EffectError::new(ErrorKind::Failed, message).detail(output.join("\n")));
        }
        let subject = format!("the copy of {}", request.place);
        let after = on_thread(move |stop| state(&subject, &place, stop)).await?;
        Ok((after, elapsed_ms, output))
    }
}

/// The container and the volume of one dry run; both have its name.
#[derive(Clone)]
struct Stand {
    world: Arc<dyn World>,
    call: Call,
    name: String,
}

impl Stand {
    async fn ask(&self, effect: impl Into<Effect>) -> Result<Outcome, EffectError> {
        let effect = effect.into();
        self.world.perform(&self.call, &effect).await
    }

    async fn make_volume(&self) -> Result<(), EffectError> {
        let labels = BTreeMap::from([(crate::base::labels::ROLE.to_owned(), ROLE.to_owned())]);
        self.ask(CreateVolume { name: self.name.clone(), labels, service: None }).await.map(drop)
    }

    /// Removes what is there of it, also what a crash left.
    async fn clear(&self) -> Result<(), EffectError> {
        let container = Effect::Container(ContainerEffect::Remove(Box::new(RemoveContainer {
            container: ContainerRef::new(self.name.clone()),
            force: true,
            volumes: true,
            missing_ok: true,
            disposable: true,
            only_own: true,
        })));
        self.ask(container).await?;
        self.ask(RemoveVolume { name: self.name.clone(), missing_ok: true, disposable: true, only_own: true })
            .await
            .map(drop)
    }
}

/// Clears the stand when nobody waits for the dry run any more.
struct Leftover(Option<Stand>);

impl Leftover {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        if let (Some(stand), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                if let Err(error) = stand.clear().await {
                    tracing::warn!(name = %stand.name, %error, "container and volume of a dry run are left behind");
                }
            });
        }
    }
}

/// Puts the copy below the root as the original is in its volume: owners and permissions of folders and file.
fn furnish(root: &Path, relative: &Path, original: &Path, local: &Path) -> std::io::Result<()> {
    let like = |model: &Path, path: &Path| -> std::io::Result<()> {
        let model = fs::metadata(model)?;
        fs::set_permissions(path, fs::Permissions::from_mode(model.mode() & 0o7777))?;
        std::os::unix::fs::chown(path, Some(model.uid()), Some(model.gid()))
    };
    let folders: Vec<(&Path, &Path)> = relative.ancestors().zip(original.ancestors()).skip(1).collect();
    for (folder, model) in folders.into_iter().rev() {
        let path = root.join(folder);
        fs::create_dir_all(&path)?;
        like(model, &path)?;
    }
    let place = root.join(relative);
    fs::copy(local, &place)?;
    like(original, &place)
}

fn migrate(subject: &str, path: &Path, sql: &str, stop: &Stop) -> Result<(), EffectError> {
    let failed = |error: rusqlite::Error| wrong(subject, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    stop.watches(&connection);
    run(subject, &connection, sql, Transaction::Own, stop)?;
    if !connection.is_autocommit() {
        return Err(EffectError::new(ErrorKind::Failed, "the SQL begins a transaction and does not commit it"));
    }
    connection.close().map_err(|(_, error)| failed(error))
}

fn state(subject: &str, path: &Path, stop: &Stop) -> Result<State, EffectError> {
    reading(subject, path, stop, |connection| {
        super::check::sound(subject, connection, true)?;
        let failed = |error: rusqlite::Error| wrong(subject, &error);
        Ok(State { schema: schema::of(connection).map_err(failed)?, rows: tables(connection).map_err(failed)? })
    })
}

fn compare(before: &State, after: &State, elapsed_ms: u64, output: Vec<String>) -> DryRun {
    let diff = SchemaDiff::between(&before.schema, &after.schema);
    let count = |state: &State, table: &String| state.rows.get(table).copied().unwrap_or(0);
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
