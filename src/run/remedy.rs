//! What a person types when a run could not take something back.

use serde_json::{Map, Value};

use crate::journal::entry::Remaining;
use crate::journal::run_state::{UndoAction, UndoStep};
use crate::script::reserved::is_reserved;

/// Options that only undos use.
pub const INTERNAL_OPTIONS: [&str; 4] = ["only_own", "back_to", "disconnect", "anew"];

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
    // A container stands there by name, or as a map with its id.
    let text = |key: &str| {
        let value = args.get(key);
        let value = value.and_then(|value| value.get("id")).or(value);
        shell_word(value.and_then(Value::as_str).unwrap_or_default())
    };
    let is_set = |key: &str| args.get(key).and_then(Value::as_bool) == Some(true);
    if engine == "docker" {
        match kind {
            "docker_remove" if is_set("volumes") => return format!("docker rm -f -v {}", text("container")),
            "docker_remove" => return format!("docker rm -f {}", text("container")),
            "docker_start" if is_set("anew") => return format!("docker restart {}", text("container")),
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
    let script = format!("{kind}({})", rhai_literal(args));
    format!("echo {} | deployer run - --engine {engine}", shell_quoted(&script))
}

/// A word as a shell reads it.
fn shell_word(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.,:/@%+=".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) { word.to_owned() } else { shell_quoted(word) }
}

fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
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
        .filter(|(key, _)| !INTERNAL_OPTIONS.contains(&key.as_str()))
        .map(|(key, value)| format!("{}: {}", map_key(key), rhai_literal(value)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn map_key(key: &str) -> String {
    let word = key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && !key.is_empty();
    if word && !is_reserved(key) { key.to_owned() } else { Value::from(key).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn containers_stand_there_by_name_or_as_maps() {
        let by_map = json!({"container": {"id": "abc", "name": "web"}, "anew": true});
        assert_eq!(command("docker_start", &by_map, "docker"), "docker restart abc");
        assert_eq!(
            command("docker_start", &by_map, "local"),
            r#"echo 'docker_start(#{container: #{id: "abc", name: "web"}})' | deployer run - --engine local"#
        );
    }

    #[test]
    fn odd_texts_survive_the_shell_and_the_script() {
        let args = json!({"command": ["it's"], "labels": {"deployer.run": "x", "default": "y"}});
        assert_eq!(
            command("exec", &args, "docker"),
            r##"echo 'exec(#{command: ["it'\''s"], labels: #{"deployer.run": "x", "default": "y"}})' | deployer run - --engine docker"##
        );
        assert_eq!(
            command("docker_tag", &json!({"image": "a b", "tag": "web:v1"}), "docker"),
            "docker tag 'a b' web:v1"
        );
    }

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
