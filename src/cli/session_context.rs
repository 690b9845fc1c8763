//! What a session needs besides effects.

use std::io::Write;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::inventory::open_runs;
use crate::app::App;
use crate::gateway::ledger::Listener;
use crate::repl::engine_names::EngineNames;
use crate::repl::session_context::SessionContext;
use crate::repl::table::TextStyle;
use crate::report::Format;
use crate::report::service_status::StatusText;
use crate::run::inventory::Inventory;
use crate::run::inventory::service_status::ServiceStatuses;
use crate::run::session_run::SessionRun;

/// The session context of the command line.
pub struct AppSessionContext {
    pub app: Arc<App>,
    pub handle: Handle,
    pub style: TextStyle,
}

impl AppSessionContext {
    fn statuses(&self) -> Result<(ServiceStatuses, i64), String> {
        let world = &self.app.world;
        let inventory = self.handle.block_on(Inventory::take(world.as_ref())).map_err(|error| error.to_string())?;
        let open = open_runs(self.app.journal.as_ref(), &self.app.address, &self.app.holder)
            .map_err(|error| error.report().to_string())?;
        // Sessions, such as this one, have no service and are not listed.
        let open: Vec<_> = open.into_iter().filter(|run| run.service.is_some()).collect();
        Ok((ServiceStatuses::of(&inventory, &open, world.name(), &self.app.address, None), world.clock().unix_ms()))
    }
}

impl SessionContext for AppSessionContext {
    fn services(&self) -> Result<String, String> {
        let (statuses, now_ms) = self.statuses()?;
        let TextStyle { width, colour } = self.style;
        Ok(StatusText { statuses: &statuses, now_ms, width, colour }.text(Format::Pretty))
    }

    fn simulate(&self, listener: Listener) -> Result<SessionRun, String> {
        let copy = self.handle.block_on(self.app.for_plan()).map_err(|error| error.to_string())?;
        copy.session(listener, None).map_err(|error| error.to_string())
    }

    fn names(&self) -> EngineNames {
        let Ok(inventory) = self.handle.block_on(Inventory::take(self.app.world.as_ref())) else {
            return EngineNames::default();
        };
        let mut services: Vec<String> = inventory.own_containers().map(|(_, service)| service.to_owned()).collect();
        services.sort_unstable();
        services.dedup();
        EngineNames {
            containers: inventory.containers.iter().map(|container| container.name.clone()).collect(),
            images: inventory.images.iter().flat_map(|image| image.tags.clone()).collect(),
            volumes: inventory.volumes.iter().map(|volume| volume.name.clone()).collect(),
            networks: inventory.networks.iter().map(|network| network.name.clone()).collect(),
            services,
        }
    }

    fn save(&self, path: &str, text: &str) -> Result<(), String> {
        let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => format!("`{path}` already exists; use another name"),
            _ => format!("`{path}` cannot be written: {error}"),
        })
    }
}
