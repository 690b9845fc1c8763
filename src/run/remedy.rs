//! The commands for an operator to type when a run could not undo something.

use serde_json::{Map, Value};

use crate::base::shell_word::shell_word;
use crate::effect::compose::FormerContainer;
use crate::journal::entry::{Remaining, RunHeader};
use crate::journal::run_state::{UndoAction, UndoStep};
use crate::script::reserved::is_reserved;

/// Options that only undos use.
pub const INTERNAL_OPTIONS: [&str; 5] = ["only_own", "back_to", "disconnect", "stop_first", "forget_targets"];

/// How a command reaches the engine and the journal of the run.
#[derive(Clone, Debug, Default)]
pub(crate) struct RemedyContext {
    /// The `docker` program with its arguments; `None` for another engine.
    docker: Option<String>,
    /// Arguments for `deployer run`.
    flags: String,
    /// The command that marks the run as resolved: no other run of its service may start before.
    resolve: String,
    /// The command that shows what the run did.
    show: String,
}

impl RemedyContext {
    /// Creates the context of a run.
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
            show: format!("deployer show {run} {}", header.state_flags).trim_end().to_owned(),
        }
    }
}

/// Describes a step that was not undone, with the exact command if there is one.
pub(crate) fn remaining(step: &UndoStep, context: &RemedyContext, why: Option<&str>) -> Remaining {
    let because = why.map(|why| format!(": {why}")).unwrap_or_default();
    match &step.action {
        UndoAction::Effect { kind, args } => Remaining {
            what: format!("`{}` was not undone{because}", step.of.trim_end()),
            command: Some(command(kind, args, context)),
        },
        UndoAction::Closure { otherwise } => {
            let site = step.site.as_ref().map(|site| format!(" at {site}")).unwrap_or_default();
            let more = if otherwise.is_some() { "; the changes before it were not undone" } else { "" };
            let outcome = if why.is_some() { "did not complete" } else { "was not called" };
            Remaining {
                what: format!("the closure of `on_rollback`{site} {outcome}{because}{more}"),
                command: otherwise.as_ref().map(|command| with_context(command, context)),
            }
        }
        UndoAction::Impossible { why } => Remaining { what: why.clone(), command: None },
    }
}

/// Describes a closure that could not be called.
pub(crate) fn not_called(step: &UndoStep, context: &RemedyContext, why: &str) -> Remaining {
    let mut left = remaining(step, context, None);
    left.what = format!("{}: {why}; do by hand what it would have done", left.what);
    left
}

/// Describes what is left of a run that lost its lock. Names no container: the newer run may use the same names.
pub(crate) fn after_lost_lock(steps: usize, context: &RemedyContext, why: &str) -> Remaining {
    let changes = if steps == 1 { "1 change".into() } else { format!("{steps} changes") };
    Remaining {
        what: format!("{changes} not undone: {why}; before you remove one, check that the newer run does not use it"),
        command: Some(context.show.clone()),
    }
}

/// Adds the engine and the journal of this run to a command of the script. A command that starts a run resolves this
/// run first.
fn with_context(command: &str, context: &RemedyContext) -> String {
    match command.starts_with("deployer run ") {
        true => format!("{} && {command} {}", context.resolve, context.flags),
        false => command.to_owned(),
    }
}

/// Describes the steps that were not undone, down to the first guard: what is below it must stay.
pub(crate) fn listed<'a>(
    steps: impl Iterator<Item = &'a UndoStep>,
    context: &RemedyContext,
    why: Option<&str>,
) -> Vec<Remaining> {
    let mut left = Vec::new();
    for step in steps {
        left.push(remaining(step, context, why));
        if step.is_guard() {
            break;
        }
    }
    left
}

/// Returns the command that does by hand what an undo would have done.
pub(crate) fn command(kind: &str, args: &Value, context: &RemedyContext) -> String {
    // A container is given by name, or as a map with its id.
    let text = |key: &str| {
        let value = args.get(key);
        let value = value.and_then(|value| value.get("id")).or(value);
        shell_word(value.and_then(Value::as_str).unwrap_or_default())
    };
    let is_set = |key: &str| args.get(key).and_then(Value::as_bool) == Some(true);
    if let Some(docker) = &context.docker {
        if let ("compose_up", Some(back_to)) = (kind, args.get("back_to")) {
            return restore_copies(docker, back_to);
        }
        let arguments = match kind {
            "docker_remove" if is_set("volumes") => Some(format!("rm -f -v {}", text("container"))),
            "docker_remove" => Some(format!("rm -f {}", text("container"))),
            // Older journals have this alias of it.
            "docker_start" if is_set("stop_first") || is_set("anew") /* alias */ => Some(format!("restart {}", text("container"))),
            "docker_start" => Some(format!("start {}", text("container"))),
            "docker_stop" => Some(format!("stop {}", text("container"))),
            "docker_rename" => Some(format!("rename {} {}", text("container"), text("name"))),
            "docker_tag" => Some(format!("tag {} {}", text("image"), text("tag"))),
            "docker_image_remove" => Some(format!("image rm {}", text("image"))),
            "volume_remove" => Some(format!("volume rm {}", text("name"))),
            "network_remove" => Some(format!("network rm {}", text("name"))),
            _ => None,
        };
        if let Some(arguments) = arguments {
            return format!("{docker} {arguments}");
        }
    }
    let script = shell_word(&format!("{kind}({})", rhai_literal(args)));
    format!("echo {script} | deployer run - {}", context.flags)
}

/// Returns the commands that start the copies of containers that compose replaced.
fn restore_copies(docker: &str, back_to: &Value) -> String {
    let former: Vec<FormerContainer> = serde_json::from_value(back_to.clone()).unwrap_or_default();
    let commands = former.iter().filter(|container| container.running).map(|container| {
        let (name, copy) = (shell_word(&container.name), shell_word(&container.copy_name()));
        format!("{docker} rm -f {name}; {docker} rename {copy} {name} && {docker} start {name}")
    });
    commands.collect::<Vec<_>>().join(" && ")
}

/// Returns a value as a Rhai literal.
pub(crate) fn rhai_literal(value: &Value) -> String {
    match value {
        Value::Null => "()".into(),
        Value::Object(map) => format!("#{{{}}}", entries(map)),
        Value::Array(items) => format!("[{}]", items.iter().map(rhai_literal).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn entries(map: &Map<String, Value>) -> String {
    // Options that only undos use are not available to scripts.
    map.iter()
        .filter(|(key, _)| !INTERNAL_OPTIONS.contains(&key.as_str()))
        .map(|(key, value)| format!("{}: {}", map_key(key), rhai_literal(value)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn map_key(key: &str) -> String {
    let is_identifier = key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && !key.is_empty();
    if is_identifier && !is_reserved(key) { key.to_owned() } else { Value::from(key).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn context(engine: &str, engine_flags: &str, state_flags: &str) -> RemedyContext {
        let header = json!({
            "script": "s", "digest": "d", "params": {}, "engine": engine, "address": "a", "version": "0", "host": "h",
            "pid": 1, "boot_id": "b", "process_start": 1, "engine_flags": engine_flags, "state_flags": state_flags,
        });
        RemedyContext::of(Some(&serde_json::from_value(header).unwrap()), "4fz81kq0xw")
    }

    #[test]
    fn commands_can_be_typed() {
        let args = json!({"container": "web", "force": true, "only_own": true});
        assert_eq!(command("docker_remove", &args, &context("docker", "", "")), "docker rm -f web");
        assert_eq!(
            command("docker_remove", &args, &context("docker", "--docker-host tcp://box:2375", "--state /s")),
            "docker -H tcp://box:2375 rm -f web"
        );
        assert_eq!(
            command("docker_remove", &args, &context("local", "--engine local", "--state '/my state'")),
            "echo 'docker_remove(#{container: \"web\", force: true})' | deployer run - --engine local --state '/my state'"
        );
    }

    #[test]
    fn a_run_that_a_guard_names_may_start() {
        let context = context("local", "--engine local", "--state '/my state'");
        assert_eq!(
            with_context("deployer run rollback.rhai", &context),
            "deployer resolve 4fz81kq0xw --state '/my state' && deployer run rollback.rhai --engine local --state '/my state'"
        );
        assert_eq!(with_context("docker logs web", &context), "docker logs web");
    }

    #[test]
    fn a_quote_in_an_argument_does_not_end_the_command() {
        let args = json!({"text": "it's"});
        assert_eq!(
            command("notify", &args, &context("docker", "", "")),
            r#"echo 'notify(#{text: "it'\''s"})' | deployer run - --engine docker"#
        );
    }

    #[test]
    fn containers_are_given_by_name_or_as_maps() {
        let by_map = json!({"container": {"id": "abc", "name": "web"}, "stop_first": true});
        assert_eq!(command("docker_start", &by_map, &context("docker", "", "")), "docker restart abc");
        assert_eq!(
            command("docker_start", &by_map, &context("local", "", "")),
            r#"echo 'docker_start(#{container: #{id: "abc", name: "web"}})' | deployer run - --engine local"#
        );
    }

    #[test]
    fn odd_texts_survive_the_shell_and_the_script() {
        let args = json!({"command": ["it's"], "labels": {"deployer.run": "x", "default": "y"}});
        assert_eq!(
            command("exec", &args, &context("docker", "", "")),
            r##"echo 'exec(#{command: ["it'\''s"], labels: #{"deployer.run": "x", "default": "y"}})' | deployer run - --engine docker"##
        );
        assert_eq!(
            command("docker_tag", &json!({"image": "a b", "tag": "web:v1"}), &context("docker", "", "")),
            "docker tag 'a b' web:v1"
        );
    }
}
