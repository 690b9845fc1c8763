//! Runs a migration against a copy of a simulated database.
//!
//! Faults: SQL that fails, a migration that fails or takes too long.

use std::collections::BTreeMap;

use crate::effect::EffectError;
use crate::effect::image::image_not_found;
use crate::effect::sqlite::{DryRun, DryRunMigration, RowChange, SchemaDiff};
use crate::world::Call;
use crate::world::sim::exec::program_of;
use crate::world::sim::sim_clock::whole_ms;
use crate::world::sim::sim_host::SimHost;

impl SimHost {
    pub(crate) fn dry_run(&mut self, call: &Call, request: &DryRunMigration) -> Result<DryRun, EffectError> {
        request.validate()?;
        let before = self.intact_database(&request.location)?.clone();
        let mut after = before.clone();
        let (mut output, mut elapsed_ms) = (Vec::new(), 0);
        match (&request.image, &request.sql) {
            (Some(image), _) => {
                for value in request.environment.values() {
                    call.vault.reveal(value)?;
                }
                let stored = self.images.find(image).ok_or_else(|| image_not_found(image))?;
                let line = request.command.join(" ");
                let program = program_of(&stored.behaviour, &line);
                if program.takes_ms > whole_ms(request.timeout.0) {
                    self.advance(whole_ms(request.timeout.0));
                    return Err(EffectError::timed_out(&format!("`{}`", request.location), request.timeout));
                }
                self.advance(program.takes_ms);
                output = program.stdout.lines().map(str::to_owned).collect();
                elapsed_ms = program.takes_ms;
                if program.exit_code != 0 {
                    return Err(request.failed(image, program.exit_code).detail(program.stderr).not_applied());
                }
                let (volume, path) = self.locate(&request.location)?;
                let key = volume.map_or(path.clone(), |volume| format!("{volume}:{path}"));
                for (table, rows) in program.inserts.get(&key).cloned().unwrap_or_default() {
                    after.tables.entry(table).or_default().extend(rows);
                }
                if let Some(sql) = program.sql.get(&key) {
                    after.run(sql)?;
                }
            }
            (None, Some(sql)) => after.run(sql)?,
            // The content of a host file is unknown here, so the database stays as it is.
            (None, None) => {}
        }
        let diff = SchemaDiff::between(&before.schema_of()?, &after.schema_of()?);
        let (old, new) = (before.counts(), after.counts());
        let count = |counts: &BTreeMap<String, u64>, table: &String| counts.get(table).copied().unwrap_or(0);
        let rows: BTreeMap<String, RowChange> = old
            .keys()
            .chain(new.keys())
            .map(|table| (table.clone(), RowChange { before: count(&old, table), after: count(&new, table) }))
            .filter(|(_, change)| change.before != change.after)
            .collect();
        let destructive = diff.destructive || rows.values().any(|change| change.after < change.before);
        Ok(DryRun { diff, rows, elapsed_ms, destructive, output })
    }
}
