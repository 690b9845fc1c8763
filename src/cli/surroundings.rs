//! What a session needs of the engine beyond single effects.

use std::io::Write;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::census::open_runs;
use crate::app::App;
use crate::gateway::ledger::Listener;
use crate::repl::names::Names;
use crate::repl::surroundings::Surroundings;
use crate::repl::table::Look;
use crate::report::Format;
use crate::report::standing::StandingText;
use crate::run::census::Census;
use crate::run::census::standing::Standing;
use crate::run::session_run::SessionRun;

pub struct Around {
    pub app: Arc<App>,
    pub handle: Handle,
    pub look: Look,
}

impl Around {
    fn standing(&self) -> Result<(Standing, i64), String> {
        let world = &self.app.world;
        let census = self.handle.block_on(Census::take(world.as_ref())).map_err(|error| error.to_string())?;
        let open = open_runs(self.app.journal.as_ref(), &self.app.address, &self.app.holder)
            .map_err(|fault| fault.report().to_string())?;
        // This very session is under way, which goes without saying.
        let open: Vec<_> = open.into_iter().filter(|run| run.service.is_some()).collect();
        Ok((Standing::of(&census, &open, world.name(), &self.app.address, None), world.clock().unix_ms()))
    }
}

impl Surroundings for Around {
    fn services(&self) -> Result<String, String> {
        let (standing, now_ms) = self.standing()?;
        let Look { width, colour } = self.look;
        Ok(StandingText { standing: &standing, now_ms, width, colour }.text(Format::Pretty))
    }

    fn rehearsal(&self, listener: Listener) -> Result<SessionRun, String> {
        let copy = self.handle.block_on(self.app.rehearsal()).map_err(|error| error.to_string())?;
        copy.session(listener, None).map_err(|error| error.to_string())
    }

    fn names(&self) -> Names {
        let Ok(census) = self.handle.block_on(Census::take(self.app.world.as_ref())) else {
            return Names::default();
        };
        let mut services: Vec<String> = census.own_containers().map(|(_, service)| service.to_owned()).collect();
        services.sort_unstable();
        services.dedup();
        Names {
            containers: census.containers.iter().map(|container| container.name.clone()).collect(),
            images: census.images.iter().flat_map(|image| image.tags.clone()).collect(),
            volumes: census.volumes.iter().map(|volume| volume.name.clone()).collect(),
            networks: census.networks.iter().map(|network| network.name.clone()).collect(),
            services,
        }
    }

    fn save(&self, path: &str, text: &str) -> Result<(), String> {
        let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => format!("`{path}` is there already; save under another name"),
            _ => format!("`{path}` cannot be written: {error}"),
        })
    }
}
