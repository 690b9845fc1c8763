//! What a person types when a run could not take something back.

use serde_json::{Map, Value};

use crate::journal::entry::Remaining;
use crate::journal::run_state::{UndoAction, UndoStep};

/// One thing that remains, with the exact command where there is one.
pub fn remaining(step: &UndoStep, engine: &str, why: Option<&str>) -> Remaining {
    let because = why.map(|why| format!(": {why}")).unwrap_or_default();
    match &step.action {
        UndoAction::Effect { kind, args } => Remaining {
            what: format!("`{}` is not taken back{because}", step.of.trim_end()),
            command: Some(command(kind, args, engine)),
        },
        UndoAction::Closure => {
            let place = step.site.as_ref().map(|site| format!(" at {site}")).unwrap_or_default();
            Remaining { what: format!("the closure of `on_rollback`{place} was not called{because}"), command: None }
        }
        UndoAction::Impossible { why } => Remaining { what: why.clone(), command: None },
    }
}

/// The command that does by hand what an undo would have done.
pub fn command(kind: &str, args: &Value, engine: &str) -> String {
    let text = |key: &str| args.get(key).and_then(Value::as_str).unwrap_or_default();
    if engine == "docker" {
        match kind {
            "docker_remove" => return format!("docker rm -f {}", text("container")),
            "docker_start" => return format!("docker start {}", text("container")),
            "docker_stop" => return format!("docker stop {}", text("container")),
            "docker_rename" => return format!("docker rename {} {}", text("container"), text("name")),
            "docker_tag" => return format!("docker tag {} {}", text("image"), text("tag")),
            "docker_image_remove" => return format!("docker image rm {}", text("image")),
            "volume_remove" => return format!("docker volume rm {}", text("name")),
            "network_remove" => return format!("docker network rm {}", text("name")),
            _ => {}
        }
    }
    format!("echo '{kind}({})' | deployer run - --engine {engine}", rhai_literal(args))
}

/// A value as a script writes it.
pub fn rhai_literal(value: &Value) -> String {
    match value {
        Value::Null => "()".into(),
        Value::Object(map) => format!("#{{{}}}", entries(map)),
        Value::Array(items) => format!("[{}]", items.iter().map(rhai_literal).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn entries(map: &Map<String, Value>) -> String {
    // Options that only undos use have no word in scripts.
    map.iter()
        .filter(|(key, _)| !matches!(key.as_str(), "only_own" | "back_to" | "disconnect"))
        .map(|(key, value)| format!("{key}: {}", rhai_literal(value)))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn commands_can_be_typed() {
        let args = json!({"container": "web", "force": true, "only_own": true});
        assert_eq!(command("docker_remove", &args, "docker"), "docker rm -f web");
        assert_eq!(
            command("docker_remove", &args, "local"),
            "echo 'docker_remove(#{container: \"web\", force: true})' | deployer run - --engine local"
        );
    }
}
