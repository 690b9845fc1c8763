//! The simulated host. Its builds create the apps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use deployer::base::run_id::RunId;
use deployer::effect::image::BuildImage;
use deployer::world::World;
use deployer::world::sim::{Behaviour, Scenario, SimBuild, SimImage, SimProgram, SimResponse, SimWorld};
use serde_json::json;

use crate::conformance::host::{APP_PORT, App, Host, OtherProcess};

pub struct SimHost {
    world: Arc<SimWorld>,
    next_port: AtomicU16,
}

pub async fn open() -> SimHost {
    let builds = App::ALL.map(|app| {
        let image = SimImage::new("", behaviour(app));
        (app.name().to_owned(), SimBuild { image, ..SimBuild::default() })
    });
    let scenario = Scenario { builds: BTreeMap::from(builds), ..Scenario::bare() };
    SimHost { world: Arc::new(SimWorld::new(scenario).unwrap()), next_port: AtomicU16::new(20_000) }
}

fn behaviour(app: App) -> Behaviour {
    let usual = Behaviour { port: APP_PORT, ..Behaviour::default() };
    match app {
        App::Web => {
            let program =
                |exit_code, stdout: &str| SimProgram { exit_code, stdout: stdout.into(), ..SimProgram::default() };
            let programs = [("sh -c echo hello", program(0, "hello\n")), ("sh -c exit 3", program(3, ""))];
            let page =
                SimResponse { json: Some(json!({ "status": "ok", "deep": { "rows": 1 } })), ..SimResponse::default() };
            Behaviour {
                paths: BTreeMap::from([("/health".to_owned(), page)]),
                programs: programs.into_iter().map(|(line, program)| (line.to_owned(), program)).collect(),
                ..usual
            }
        }
        App::Broken => Behaviour { response: SimResponse::status(500), ..usual },
        App::Dies => Behaviour {
            dies_after_ms: Some(20),
            exit_code: 3,
            log: Vec::new(),
            exit_log: vec!["no configuration".into()],
            ..usual
        },
        App::Stubborn => Behaviour { ready: false, ignores_term: true, ..usual },
    }
}

impl Host for SimHost {
    fn world(&self) -> &dyn World {
        self.world.as_ref()
    }

    fn other_process(&self, run: &RunId) -> OtherProcess {
        let (world, run) = (Arc::clone(&self.world), run.clone());
        OtherProcess {
            world: Arc::clone(&self.world) as Arc<dyn World>,
            kill: Box::new(move || world.mark_run_dead(&run)),
        }
    }

    fn prefix(&self) -> &str {
        "conf"
    }

    fn build(&self, app: App, tag: &str) -> BuildImage {
        serde_json::from_value(json!({ "context": app.name(), "tag": tag })).unwrap()
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
