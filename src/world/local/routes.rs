//! Routes that the host keeps: one file per service, which says which program drives it.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::LocalEngine;
use super::folder::{check_name, io_error, read_json, write_json};
use crate::effect::EffectError;
use crate::world::engine::RouteNote;

impl LocalEngine {
    pub(super) fn keep_route_note(&self, note: &RouteNote) -> Result<(), EffectError> {
        let file = self.route_file(&note.service)?;
        let _guard = self.folder.guard()?;
        write_json(&file, note)
    }

    pub(super) fn drop_route_note(&self, service: &str) -> Result<(), EffectError> {
        let file = self.route_file(service)?;
        let _guard = self.folder.guard()?;
        match fs::remove_file(&file) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &file, &why)),
            _ => Ok(()),
        }
    }

    pub(super) fn route_notes(&self) -> Result<Vec<RouteNote>, EffectError> {
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
