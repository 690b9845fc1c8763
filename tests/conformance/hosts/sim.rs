//! The simulated host: its builds make the apps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use deployer::base::run_id::RunId;
use deployer::effect::image::BuildImage;
use deployer::world::World;
use deployer::world::sim::{Behaviour, Page, Program, Recipe, Scenario, SimImage, SimWorld};
use serde_json::json;

use crate::host::{APP_PORT, App, Host, Mortal};

pub struct SimHost {
    world: Arc<SimWorld>,
    next_port: AtomicU16,
}

pub async fn open() -> SimHost {
    let builds = App::ALL.map(|app| {
        let image = SimImage::new("", behaviour(app));
        (app.word().to_owned(), Recipe { image, ..Recipe::default() })
    });
    let scenario = Scenario { builds: BTreeMap::from(builds), ..Scenario::bare() };
    SimHost { world: Arc::new(SimWorld::new(scenario).unwrap()), next_port: AtomicU16::new(20_000) }
}

fn behaviour(app: App) -> Behaviour {
    let usual = Behaviour { port: APP_PORT, ..Behaviour::default() };
    match app {
        App::Web => {
            let program = |exit_code, stdout: &str| Program { exit_code, stdout: stdout.into(), ..Program::default() };
            let programs = [("sh -c echo hello", program(0, "hello\n")), ("sh -c exit 3", program(3, ""))];
            let page = Page { json: Some(json!({ "status": "ok", "deep": { "rows": 1 } })), ..Page::default() };
            Behaviour {
                paths: BTreeMap::from([("/health".to_owned(), page)]),
                programs: programs.into_iter().map(|(line, program)| (line.to_owned(), program)).collect(),
                ..usual
            }
        }
        App::Broken => Behaviour { page: Page::status(500), ..usual },
        App::Dies => Behaviour {
            dies_after_ms: Some(20),
            exit_code: 3,
            log: Vec::new(),
            last_words: vec!["no configuration".into()],
            ..usual
        },
        App::Stubborn => Behaviour { ready: false, ignores_term: true, ..usual },
    }
}

impl Host for SimHost {
    fn world(&self) -> &dyn World {
        self.world.as_ref()
    }

    fn mortal(&self, run: &RunId) -> Mortal {
        let (world, run) = (Arc::clone(&self.world), run.clone());
        Mortal { world: Arc::clone(&self.world) as Arc<dyn World>, die: Box::new(move || world.bury(&run)) }
    }

    fn prefix(&self) -> &str {
        "conf"
    }

    fn build(&self, app: App, tag: &str) -> BuildImage {
        serde_json::from_value(json!({ "context": app.word(), "tag": tag })).unwrap()
    }

    fn folder(&self, scenario: &str) -> String {
        format!("file:///objects/{scenario}")
    }

    fn free_port(&self) -> u16 {
        self.next_port.fetch_add(1, Ordering::Relaxed)
    }

    fn proxy(&self) -> serde_json::Value {
        json!("proxy")
    }
}
