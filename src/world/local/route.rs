//! Routes recorded on this host: one file per service, with the driver of its route.

use std::path::PathBuf;
use std::{fs, io};

use super::local_engine::LocalEngine;
use super::state_folder::{check_name, io_error, read_json, write_json};
use crate::effect::EffectError;
use crate::world::engine::RouteRecord;

impl LocalEngine {
    pub(super) fn write_route_record(&self, note: &RouteRecord) -> Result<(), EffectError> {
        let file = self.route_file(&note.service)?;
        let _guard = self.folder.guard()?;
        write_json(&file, note)
    }

    pub(super) fn remove_route_record(&self, service: &str) -> Result<(), EffectError> {
        let file = self.route_file(service)?;
        let _guard = self.folder.guard()?;
        match fs::remove_file(&file) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &file, &why)),
            _ => Ok(()),
        }
    }

    pub(super) fn route_records(&self) -> Result<Vec<RouteRecord>, EffectError> {
        let folder = self.folder.routes();
        let mut notes = Vec::new();
        for name in self.folder.names(&folder)? {
            notes.extend(read_json(&folder.join(format!("{name}.json")))?);
        }
        Ok(notes)
    }

    fn route_file(&self, service: &str) -> Result<PathBuf, EffectError> {
        check_name("service", service)?;
        Ok(self.folder.routes().join(format!("{service}.json")))
    }
}
