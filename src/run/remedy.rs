//! What a person types when a run could not take something back.

use serde_json::{Map, Value};

use crate::base::shell_word::shell_word;
use crate::journal::entry::{Remaining, RunHeader};
use crate::journal::run_state::{UndoAction, UndoStep};
use crate::script::reserved::is_reserved;

/// Options that only undos use.
pub const INTERNAL_OPTIONS: [&str; 4] = ["only_own", "back_to", "disconnect", "anew"];

/// How a command reaches the engine and the journal of the run.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// The `docker` program with its arguments; none when the engine is another.
    docker: Option<String>,
    /// Arguments for `deployer run`.
    flags: String,
    /// The command that says that the run is done with: no other run of its service begins before.
    resolve: String,
}

impl Reach {
    pub fn of(header: Option<&RunHeader>, run: &str) -> Self {
        let Some(header) = header else { return Self::default() };
        let host = header.engine_flags.strip_prefix("--docker-host ");
        let docker = host.map_or_else(|| "docker".to_owned(), |host| format!("docker -H {host}"));
        let engine = match header.engine_flags.as_str() {
            "" => format!("--engine {}", header.engine),
            flags => flags.to_owned(),
        };
        Self {
            docker: (header.engine == "docker").then_some(docker),
            flags: format!("{engine} {}", header.state_flags).trim_end().to_owned(),
            resolve: format!("deployer resolve {run} {}", header.state_flags).trim_end().to_owned(),
        }
    }
}

/// One thing that remains, with the exact command where there is one.
pub fn remaining(step: &UndoStep, reach: &Reach, why: Option<&str>) -> Remaining {
    let because = why.map(|why| format!(": {why}")).unwrap_or_default();
    match &step.action {
        UndoAction::Effect { kind, args } => Remaining {
            what: format!("`{}` is not taken back{because}", step.of.trim_end()),
            command: Some(command(kind, args, reach)),
        },
        UndoAction::Closure { otherwise } => {
            let place = step.site.as_ref().map(|site| format!(" at {site}")).unwrap_or_default();
            let more = if otherwise.is_some() { "; what was done before it stays as it is" } else { "" };
            Remaining {
                what: format!("the closure of `on_rollback`{place} was not called{because}{more}"),
                command: otherwise.as_ref().map(|command| reaching(command, reach)),
            }
        }
        UndoAction::Impossible { why } => Remaining { what: why.clone(), command: None },
    }
}

/// A command as the script gave it; a run is led to the engine and the journal of this one, which is done with then.
fn reaching(command: &str, reach: &Reach) -> String {
    match command.starts_with("deployer run ") {
        true => format!("{} && {command} {}", reach.resolve, reach.flags),
        false => command.to_owned(),
    }
}

/// What remains of these steps, for a person: nothing below a guard, since what it guards would be lost.
pub fn listed<'a>(steps: impl Iterator<Item = &'a UndoStep>, reach: &Reach, why: Option<&str>) -> Vec<Remaining> {
    let mut left = Vec::new();
    for step in steps {
        left.push(remaining(step, reach, why));
        if step.is_guard() {
            break;
        }
    }
    left
}

/// The command that does by hand what an undo would have done.
pub fn command(kind: &str, args: &Value, reach: &Reach) -> String {
    // A container stands there by name, or as a map with its id.
    let text = |key: &str| {
        let value = args.get(key);
        let value = value.and_then(|value| value.get("id")).or(value);
        shell_word(value.and_then(Value::as_str).unwrap_or_default())
    };
    let is_set = |key: &str| args.get(key).and_then(Value::as_bool) == Some(true);
    if let Some(docker) = &reach.docker {
        let words = match kind {
            "docker_remove" if is_set("volumes") => Some(format!("rm -f -v {}", text("container"))),
            "docker_remove" => Some(format!("rm -f {}", text("container"))),
            "docker_start" if is_set("anew") => Some(format!("restart {}", text("container"))),
            "docker_start" => Some(format!("start {}", text("container"))),
            "docker_stop" => Some(format!("stop {}", text("container"))),
            "docker_rename" => Some(format!("rename {} {}", text("container"), text("name"))),
            "docker_tag" => Some(format!("tag {} {}", text("image"), text("tag"))),
            "docker_image_remove" => Some(format!("image rm {}", text("image"))),
            "volume_remove" => Some(format!("volume rm {}", text("name"))),
            "network_remove" => Some(format!("network rm {}", text("name"))),
            _ => None,
        };
        if let Some(words) = words {
            return format!("{docker} {words}");
        }
    }
    let script = shell_word(&format!("{kind}({})", rhai_literal(args)));
    format!("echo {script} | deployer run - {}", reach.flags)
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

    fn reach(engine: &str, engine_flags: &str, state_flags: &str) -> Reach {
        let header = json!({
            "script": "s", "digest": "d", "params": {}, "engine": engine, "address": "a", "version": "0", "host": "h",
            "pid": 1, "boot_id": "b", "process_start": 1, "engine_flags": engine_flags, "state_flags": state_flags,
        });
        Reach::of(Some(&serde_json::from_value(header).unwrap()), "4fz81kq0xw")
    }

    #[test]
    fn commands_can_be_typed() {
        let args = json!({"container": "web", "force": true, "only_own": true});
        assert_eq!(command("docker_remove", &args, &reach("docker", "", "")), "docker rm -f web");
        assert_eq!(
            command("docker_remove", &args, &reach("docker", "--docker-host tcp://box:2375", "--state /s")),
            "docker -H tcp://box:2375 rm -f web"
        );
        assert_eq!(
            command("docker_remove", &args, &reach("local", "--engine local", "--state '/my state'")),
            "echo 'docker_remove(#{container: \"web\", force: true})' | deployer run - --engine local --state '/my state'"
        );
    }

    #[test]
    fn a_run_that_a_guard_names_may_begin() {
        let reach = reach("local", "--engine local", "--state '/my state'");
        assert_eq!(
            reaching("deployer run rollback.rhai", &reach),
            "deployer resolve 4fz81kq0xw --state '/my state' && deployer run rollback.rhai --engine local --state '/my state'"
        );
        assert_eq!(reaching("docker logs web", &reach), "docker logs web");
    }

    #[test]
    fn a_quote_in_an_argument_does_not_end_the_command() {
        let args = json!({"text": "it's"});
        assert_eq!(
            command("notify", &args, &reach("docker", "", "")),
            r#"echo 'notify(#{text: "it'\''s"})' | deployer run - --engine docker"#
        );
    }

    #[test]
    fn containers_stand_there_by_name_or_as_maps() {
        let by_map = json!({"container": {"id": "abc", "name": "web"}, "anew": true});
        assert_eq!(command("docker_start", &by_map, &reach("docker", "", "")), "docker restart abc");
        assert_eq!(
            command("docker_start", &by_map, &reach("local", "", "")),
            r#"echo 'docker_start(#{container: #{id: "abc", name: "web"}})' | deployer run - --engine local"#
        );
    }

    #[test]
    fn odd_texts_survive_the_shell_and_the_script() {
        let args = json!({"command": ["it's"], "labels": {"deployer.run": "x", "default": "y"}});
        assert_eq!(
            command("exec", &args, &reach("docker", "", "")),
            r##"echo 'exec(#{command: ["it'\''s"], labels: #{"deployer.run": "x", "default": "y"}})' | deployer run - --engine docker"##
        );
        assert_eq!(
            command("docker_tag", &json!({"image": "a b", "tag": "web:v1"}), &reach("docker", "", "")),
            "docker tag 'a b' web:v1"
        );
    }
}
