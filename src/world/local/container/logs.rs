//! Reads and saves the logs of local containers.

use std::fs::File;
use std::io;
use std::path::Path;

use super::record::LOG;
use crate::effect::EffectError;
use crate::effect::container::{Logs, ReadLogs};
use crate::world::local::local_engine::LocalEngine;
use crate::world::local::state_folder::io_error;

/// The maximum number of log lines returned.
const MAX_LINES: u64 = 10_000;

impl LocalEngine {
    pub(crate) fn container_logs(&self, request: &ReadLogs) -> Result<Logs, EffectError> {
        let record = self.require_container(&request.container.key)?;
        Ok(Logs { lines: self.log_lines(&record.id, request.tail) })
    }

    /// Returns the last lines of a container's log, oldest first.
    pub(crate) fn log_lines(&self, id: &str, lines: u64) -> Vec<String> {
        let wanted = usize::try_from(lines.min(MAX_LINES)).unwrap_or(usize::MAX);
        crate::world::local::shim::log_file::last_lines(&self.container_file(id, LOG), wanted)
    }

    /// Writes the whole log to an existing file.
    pub(crate) fn write_log(&self, reference: &str, to: &Path) -> Result<(), EffectError> {
        let record = self.require_container(reference)?;
        let log = self.container_file(&record.id, LOG);
        let copied = File::options().write(true).truncate(true).open(to).and_then(|mut file| {
            // The older part first.
            for part in [crate::world::local::shim::log_file::older(&log), log.clone()] {
                match File::open(&part) {
                    Ok(mut part) => drop(io::copy(&mut part, &mut file)?),
                    Err(why) if why.kind() == io::ErrorKind::NotFound => {}
                    Err(why) => return Err(why),
                }
            }
            Ok(())
        });
        copied.map_err(|why| io_error("write", to, &why))
    }
}
