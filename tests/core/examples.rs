//! Runs every example of the reference.

use std::collections::BTreeMap;

use deployer::journal::entry::RunStatus;
use deployer::script::catalogue::catalogue;
use deployer::script::check::check;
use deployer::script::control_function::CONTROL_FUNCTIONS;
use deployer::script::source::{SHIPPED, STDLIB, Source, SourceLoader};
use deployer::world::sim::{Behaviour, Scenario, SimDatabase, SimImage, SimProject, SimService};
use serde_json::json;
use std::sync::Arc;

use crate::test_run::{Modules, test_run};

/// A host with everything that the examples use.
fn host() -> Scenario {
    let mut scenario = Scenario::default();
    let image = |name| SimImage::new(name, Behaviour::default());
    scenario.registry.insert("web:v1".into(), image("web:v1"));
    scenario.archives.insert("web.tar".into(), vec![image("web:v9")]);
    scenario.images.push(image("web:old"));
    let row = |value: i64| json!({"id": value}).as_object().unwrap().clone();
    let notes = BTreeMap::from([("notes".to_owned(), vec![row(1), row(2)])]);
    let database = SimDatabase { tables: notes, ..SimDatabase::default() };
    let backup = json!({"s3://backups/app.db": {"size": 4096, "database": database}});
    scenario.objects = serde_json::from_value(json!({"stored": backup})).unwrap();
    scenario.volumes.insert("data-green".into(), Default::default());
    for volume in ["data", "data-green"] {
        scenario.volumes.get_mut(volume).unwrap().databases.insert("app.db".into(), database.clone());
    }
    let service = SimService {
        container: serde_json::from_value(json!({"name": "", "image": "web:v1"})).unwrap(),
        depends_on: Vec::new(),
        build: None,
        behaviour: None,
    };
    let services = BTreeMap::from([("web".to_owned(), service)]);
    let project = SimProject { name: "site".into(), services, refused: None };
    scenario.projects.insert("docker-compose.yml".into(), project);
    scenario.machine.environment.insert("HOME".into(), "/root".into());
    scenario.machine.foreign_listeners.insert(9, Default::default());
    scenario
}

fn examples() -> Vec<(&'static str, &'static str)> {
    let primitives = catalogue().values().map(|primitive| (primitive.name, primitive.example));
    primitives.chain(CONTROL_FUNCTIONS.iter().map(|function| (function.name, function.example))).collect()
}

#[test]
fn every_example_runs() {
    for (name, example) in examples() {
        let script = example.replace("DEPLOY_TOKEN", "TOKEN");
        let finished = test_run(&script).on(host()).with(json!({})).run();
        // The example of `fail` fails, and the example of `params` needs a parameter.
        match name {
            "fail" => assert_eq!(finished.status(), RunStatus::Failed, "{}", finished.report()),
            "params" => {
                let finished = test_run(&script).with(json!({"service": "web"})).run();
                assert_eq!(finished.status(), RunStatus::Succeeded, "{}", finished.report());
            }
            _ => assert_eq!(finished.status(), RunStatus::Succeeded, "{name}: {example}\n{}", finished.report()),
        }
        if catalogue().contains_key(name) {
            assert!(
                finished.effects().iter().any(|effect| effect.split(' ').next() == Some(name)),
                "{name}: not performed"
            );
        }
    }
}

#[test]
fn every_example_and_every_shipped_script_passes_check() {
    let loader: Arc<dyn SourceLoader> = Arc::new(Modules::default());
    let texts = examples().into_iter().chain(SHIPPED.iter().copied()).chain(STDLIB.iter().copied());
    for (name, text) in texts {
        let found = check(Source::new(name, text), &loader);
        assert!(found.is_empty(), "{name}: {found:#?}");
    }
}
