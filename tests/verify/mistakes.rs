//! Common mistakes, each as a change to a shipped script or to a module that it imports. Only defines them.

use std::collections::BTreeMap;

use deployer::script::source::STDLIB;
use deployer::verify::target::VerifyTarget;
use serde_json::json;

use crate::deploy_cases::{DeployCase, behind_a_route, bluegreen, composed, deploy_cases, rollback, safe, with_blue};
use crate::fixture::{ModuleOverrides, shipped};

/// One mistake: a file, a piece of its text, and the wrong text that replaces it.
pub struct Mistake {
    pub name: &'static str,
    case: fn() -> DeployCase,
    /// The script itself, or a module such as `std/cutover`.
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

const BLUEGREEN: &str = "bluegreen.rhai";
const SAFE: &str = "safe_deploy.rhai";
const ROLLBACK: &str = "rollback.rhai";
const CUTOVER: &str = "std/cutover";
const RELEASE: &str = "std/release";
const ROUTE: &str = "std/route";

fn by_port() -> DeployCase {
    bluegreen("blue-green", with_blue("web:v1"), json!({}))
}

fn by_compose() -> DeployCase {
    bluegreen("compose", composed(false), json!({"compose": {"file": "docker-compose.yml"}}))
}

fn routed() -> DeployCase {
    bluegreen("routed", behind_a_route(with_blue("web:v1")), json!({"traffic": {"driver": "proxy", "keep_warm": "3s"}}))
}

fn rebuild() -> DeployCase {
    let found = deploy_cases().into_iter().find(|case| case.name == "safe: rebuild");
    found.unwrap_or_else(|| safe("safe", with_blue("web:v1"), json!({})))
}

fn mistake(
    name: &'static str,
    case: fn() -> DeployCase,
    file: &'static str,
    from: &'static str,
    to: &'static str,
) -> Mistake {
    Mistake { name, case, file, from, to }
}

pub fn mistakes() -> Vec<Mistake> {
    let bake = "cutover::bake(live, p.health, p.container_port, p.bake);";
    let stop = "if old != () { docker_stop(old, #{ grace: drain }); }";
    vec![
        mistake("no bake", by_port, BLUEGREEN, bake, ""),
        mistake("no bake: safe", rebuild, SAFE, bake, ""),
        mistake("no bake: rollback", rollback, ROLLBACK, "cutover::bake(next, health, (), p.bake);", ""),
        mistake("bake without a health check", by_port, CUTOVER, "health_wait(container, check).attempts > 1", "false"),
        mistake(
            "bake ignores failures",
            by_port,
            BLUEGREEN,
            bake,
            "try { cutover::bake(live, p.health, p.container_port, p.bake); } catch {}",
        ),
        mistake(
            "commit before the bake",
            by_port,
            BLUEGREEN,
            "step \"Watch the public port\" {",
            "commit();\nstep \"Watch the public port\" {",
        ),
        mistake(
            "commit before the cutover",
            by_port,
            BLUEGREEN,
            "step \"Cut over\" {",
            "step \"Cut over\" {\n    commit();",
        ),
        mistake("commit at the start", by_port, BLUEGREEN, "let blue = ();", "commit();\nlet blue = ();"),
        mistake(
            "commit before the bake: safe",
            rebuild,
            SAFE,
            "cutover::bake(live",
            "commit();\n    cutover::bake(live",
        ),
        mistake(
            "commit before the bake: rollback",
            rollback,
            ROLLBACK,
            "    cutover::bake(next",
            "    commit();\n    cutover::bake(next",
        ),
        mistake(
            "remove before commit",
            by_port,
            CUTOVER,
            stop,
            "if old != () { docker_stop(old, #{ grace: drain }); docker_remove(old); }",
        ),
        mistake(
            "remove instead of stop",
            by_port,
            CUTOVER,
            stop,
            "if old != () { docker_remove(old, #{ force: true, disposable: true }); }",
        ),
        mistake(
            "kill instead of stop",
            by_port,
            CUTOVER,
            stop,
            "if old != () { docker_kill(old, #{ signal: \"SIGKILL\" }); }",
        ),
        mistake("no grace period", by_port, CUTOVER, stop, "if old != () { docker_stop(old, #{ grace: \"0s\" }); }"),
        mistake(
            "start before stop",
            by_port,
            CUTOVER,
            stop,
            "docker_start(next); if old != () { docker_stop(old, #{ grace: drain }); }",
        ),
        mistake(
            "sleep after the stop",
            by_port,
            CUTOVER,
            stop,
            "if old != () { docker_stop(old, #{ grace: drain }); sleep(\"10s\"); }",
        ),
        mistake(
            "stop before green is healthy",
            by_port,
            BLUEGREEN,
            "step \"Check green\" {",
            "docker_stop(blue);\nstep \"Check green\" {",
        ),
        mistake(
            "drain by SIGKILL",
            rebuild,
            CUTOVER,
            "docker_kill(old, #{ signal: \"SIGTERM\" });",
            "docker_kill(old, #{ signal: \"SIGKILL\" });",
        ),
        mistake(
            "stop before drained",
            rebuild,
            CUTOVER,
            "docker_kill(old, #{ signal: \"SIGTERM\" });",
            "docker_stop(old, #{ grace: \"0s\" });",
        ),
        mistake(
            "unbounded wait for health",
            by_port,
            CUTOVER,
            "    health_wait(container, health_check(health, port));\n}",
            "    loop { try { health_wait(container, health_check(health, port)); break; } catch { sleep(\"1s\"); } }\n}",
        ),
        mistake(
            "unbounded wait in the bake",
            by_port,
            CUTOVER,
            "        if health_wait(container, check).attempts > 1 {",
            "        loop { try { health_wait(container, check); break; } catch { sleep(\"1s\"); } }\n        if false {",
        ),
        mistake(
            "an error of the start is ignored",
            by_port,
            CUTOVER,
            "    docker_start(next)\n}\n\n/// Like",
            "    try { docker_start(next); } catch {}\n    next\n}\n\n/// As",
        ),
        mistake(
            "the live container has no restart policy",
            by_port,
            RELEASE,
            "if role != \"candidate\" { spec.restart = p.restart; }",
            "",
        ),
        mistake(
            "green is not removed",
            by_port,
            BLUEGREEN,
            "release::discard([service + \"-blue\", green]);",
            "release::discard([service + \"-blue\"]);",
        ),
        mistake(
            "the live container is discarded",
            by_port,
            BLUEGREEN,
            "release::discard([service + \"-blue\", green]);",
            "release::discard([service + \"-blue\", live]);",
        ),
        mistake(
            "a failed promotion is not reported",
            by_port,
            RELEASE,
            "warn(`'${fresh.name}' serves, but was not renamed; the next deploy renames it to '${service}': ${error.message}`);",
            "",
        ),
        mistake(
            "a failed clean-up is not reported",
            by_port,
            RELEASE,
            "warn(`'${name}' was not removed; the next deploy removes it: ${error.message}`);",
            "",
        ),
        mistake(
            "a failure is reported as success",
            by_port,
            BLUEGREEN,
            "    cutover::healthy(green, p.health, p.container_port);\n    database::prove(data, green);",
            "    try { cutover::healthy(green, p.health, p.container_port); } catch { docker_remove(green, #{ force: true, disposable: true }); return; }",
        ),
        mistake(
            "compose: blue is removed instead of renamed",
            by_compose,
            BLUEGREEN,
            "docker_rename(blue, p.service + \"-blue\");",
            "docker_remove(blue);",
        ),
        mistake(
            "compose: blue is removed permanently",
            by_compose,
            BLUEGREEN,
            "docker_rename(blue, p.service + \"-blue\");",
            "docker_remove(blue, #{ disposable: true });",
        ),
        mistake(
            "compose: blue is renamed but not stopped",
            by_compose,
            BLUEGREEN,
            "docker_stop(blue, #{ grace: p.drain });",
            "",
        ),
        mistake(
            "routed: switch before health",
            routed,
            BLUEGREEN,
            "    cutover::healthy(green, p.health, p.container_port);\n    database::prove(data, green);",
            "    route::switch_to(service, green, p.container_port);\n    cutover::healthy(green, p.health, p.container_port);",
        ),
        mistake(
            "routed: blue ends before the switch",
            routed,
            BLUEGREEN,
            "        route::switch_to(service, green, p.container_port);\n        green",
            "        traffic_forget(service);\n        docker_stop(blue);\n        route::declare(p, ());\n        route::switch_to(service, green, p.container_port);\n        green",
        ),
        mistake(
            "routed: green replaces blue without a warm target",
            routed,
            ROUTE,
            "    traffic_set(service, targets);\n    traffic_switch(service, fresh);",
            "    traffic_set(service, [#{ container: fresh, port: port }]);\n    commit();",
        ),
        mistake(
            "safe: the old container is kept",
            rebuild,
            SAFE,
            "    release::promote(live, service, old);",
            "    docker_rename(live, service + \"-live\");",
        ),
        mistake("safe: commit at the start", rebuild, SAFE, "let old = ();", "commit();\nlet old = ();"),
    ]
}

impl Mistake {
    fn text(&self, file: &str) -> String {
        let text = match STDLIB.iter().find(|(name, _)| *name == file) {
            Some((_, text)) => *text,
            None => shipped(file),
        };
        assert!(text.contains(self.from), "{}: `{}` is not in {file}", self.name, self.from);
        text.replacen(self.from, self.to, 1)
    }

    /// The deploy case that shows this mistake.
    pub fn case(&self) -> DeployCase {
        (self.case)()
    }

    /// The target of a case of the same script, with the mistake applied.
    pub fn apply_to(&self, case: &DeployCase) -> VerifyTarget {
        let text = self.text(self.file);
        match self.file.starts_with("std/") {
            true => case.with(shipped(case.script), ModuleOverrides(BTreeMap::from([(self.file.to_owned(), text)]))),
            false => case.with(&text, ModuleOverrides::default()),
        }
    }
}
