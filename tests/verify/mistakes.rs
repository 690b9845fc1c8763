//! Mistakes that people make, each put into a shipped script or a module of it. Runs nothing.

use std::collections::BTreeMap;

use deployer::script::source::STDLIB;
use deployer::verify::subject::Subject;
use serde_json::json;

use crate::rig::{Replaced, shipped};
use crate::scenes::{Scene, behind_a_route, bluegreen, composed, rollback, safe, scenes, with_blue};

/// One mistake: where it is, what stands there, and what somebody wrote in its place.
pub struct Mistake {
    pub name: &'static str,
    scene: fn() -> Scene,
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

fn by_port() -> Scene {
    bluegreen("blue-green", with_blue("web:v1"), json!({}))
}

fn by_compose() -> Scene {
    bluegreen("compose", composed(false), json!({"compose": {"file": "docker-compose.yml"}}))
}

fn routed() -> Scene {
    bluegreen("routed", behind_a_route(with_blue("web:v1")), json!({"traffic": {"driver": "proxy", "keep_warm": "3s"}}))
}

fn rebuild() -> Scene {
    let found = scenes().into_iter().find(|scene| scene.name == "safe: rebuild");
    found.unwrap_or_else(|| safe("safe", with_blue("web:v1"), json!({})))
}

fn mistake(
    name: &'static str,
    scene: fn() -> Scene,
    file: &'static str,
    from: &'static str,
    to: &'static str,
) -> Mistake {
    Mistake { name, scene, file, from, to }
}

pub fn mistakes() -> Vec<Mistake> {
    let bake = "cutover::bake(live, p.health, p.container_port, p.bake);";
    let commit = "commit(); // the point of no return: green is proved in blue's place";
    let stop = "if old != () { docker_stop(old, #{ grace: drain }); }";
    vec![
        mistake("no bake", by_port, BLUEGREEN, bake, ""),
        mistake("no bake: safe", rebuild, SAFE, bake, ""),
        mistake("no bake: rollback", rollback, ROLLBACK, "cutover::bake(next, p.health, (), p.bake);", ""),
        mistake("bake without a look", by_port, CUTOVER, "health_wait(container, check).attempts > 1", "false"),
        mistake(
            "bake swallows what it sees",
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
        mistake("commit first of all", by_port, BLUEGREEN, "let blue = ();", "commit();\nlet blue = ();"),
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
            "remove in place of stop",
            by_port,
            CUTOVER,
            stop,
            "if old != () { docker_remove(old, #{ force: true, disposable: true }); }",
        ),
        mistake(
            "kill in place of stop",
            by_port,
            CUTOVER,
            stop,
            "if old != () { docker_kill(old, #{ signal: \"SIGKILL\" }); }",
        ),
        mistake("no grace", by_port, CUTOVER, stop, "if old != () { docker_stop(old, #{ grace: \"0s\" }); }"),
        mistake(
            "start before stop",
            by_port,
            CUTOVER,
            stop,
            "docker_start(next); if old != () { docker_stop(old, #{ grace: drain }); }",
        ),
        mistake(
            "stop, then a rest",
            by_port,
            CUTOVER,
            stop,
            "if old != () { docker_stop(old, #{ grace: drain }); sleep(\"10s\"); }",
        ),
        mistake(
            "stop before green is proved",
            by_port,
            BLUEGREEN,
            "step \"Prove green\" {",
            "docker_stop(blue);\nstep \"Prove green\" {",
        ),
        mistake(
            "drain by SIGKILL",
            rebuild,
            CUTOVER,
            "docker_kill(old, #{ signal: \"SIGTERM\" });",
            "docker_kill(old, #{ signal: \"SIGKILL\" });",
        ),
        mistake(
            "end before drained",
            rebuild,
            CUTOVER,
            "docker_kill(old, #{ signal: \"SIGTERM\" });",
            "docker_stop(old, #{ grace: \"0s\" });",
        ),
        mistake(
            "unbounded wait for health",
            by_port,
            CUTOVER,
            "    health_wait(container, question(health, port));\n}",
            "    loop { try { health_wait(container, question(health, port)); break; } catch { sleep(\"1s\"); } }\n}",
        ),
        mistake(
            "unbounded wait in the bake",
            by_port,
            CUTOVER,
            "        if health_wait(container, check).attempts > 1 {",
            "        loop { try { health_wait(container, check); break; } catch { sleep(\"1s\"); } }\n        if false {",
        ),
        mistake(
            "an error is swallowed at the start",
            by_port,
            CUTOVER,
            "    docker_start(next)\n}\n\n/// As",
            "    try { docker_start(next); } catch {}\n    next\n}\n\n/// As",
        ),
        mistake(
            "the live one does not come back",
            by_port,
            RELEASE,
            "if role != \"candidate\" { spec.restart = p.restart; }",
            "",
        ),
        mistake(
            "green is forgotten",
            by_port,
            BLUEGREEN,
            "release::discard([service + \"-blue\", green]);",
            "release::discard([service + \"-blue\"]);",
        ),
        mistake(
            "the wrong one is discarded",
            by_port,
            BLUEGREEN,
            "release::discard([service + \"-blue\", green]);",
            "release::discard([service + \"-blue\", live]);",
        ),
        mistake(
            "a failed promotion is not told",
            by_port,
            RELEASE,
            "warn(`'${fresh.name}' serves, and gets the name '${service}' by the next deploy: ${error.message}`);",
            "",
        ),
        mistake(
            "a failed clean-up is not told",
            by_port,
            RELEASE,
            "warn(`'${name}' is left to the next deploy to remove: ${error.message}`);",
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
            "compose: blue is removed and not set aside",
            by_compose,
            BLUEGREEN,
            "docker_rename(blue, p.service + \"-blue\");",
            "docker_remove(blue);",
        ),
        mistake(
            "compose: blue is removed for good",
            by_compose,
            BLUEGREEN,
            "docker_rename(blue, p.service + \"-blue\");",
            "docker_remove(blue, #{ disposable: true });",
        ),
        mistake(
            "compose: blue is set aside and runs",
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
            "routed: green takes over with blue thrown out",
            routed,
            ROUTE,
            "    traffic_set(service, targets);\n    traffic_switch(service, fresh);",
            "    traffic_set(service, [#{ container: fresh, port: port }]);\n    commit();",
        ),
        mistake(
            "safe: the old one is left alone",
            rebuild,
            SAFE,
            "    release::promote(live, service, old);",
            "    docker_rename(live, service + \"-live\");",
        ),
        mistake("safe: commit first of all", rebuild, SAFE, "let old = ();", "commit();\nlet old = ();"),
        mistake("nothing is committed before blue goes", by_port, BLUEGREEN, commit, ""),
    ]
}

impl Mistake {
    fn text(&self, of: &str) -> String {
        let text = match STDLIB.iter().find(|(name, _)| *name == of) {
            Some((_, text)) => *text,
            None => shipped(of),
        };
        assert!(text.contains(self.from), "{}: `{}` is not in {of}", self.name, self.from);
        text.replacen(self.from, self.to, 1)
    }

    /// The scene of this mistake, with it.
    pub fn scene(&self) -> Scene {
        (self.scene)()
    }

    /// A scene of the same script, with the mistake in it.
    pub fn within(&self, scene: &Scene) -> Subject {
        let text = self.text(self.file);
        match self.file.starts_with("std/") {
            true => scene.with(shipped(scene.script), Replaced(BTreeMap::from([(self.file.to_owned(), text)]))),
            false => scene.with(&text, Replaced::default()),
        }
    }
}
