//! `deployer repl` in a pipe: inputs, results, undo, dry sessions, and saved sessions.

use super::session::{RUN, engine, piped};

#[test]
fn results_are_printed() {
    let deployer = engine();
    assert_eq!(piped(&deployer, &[], "docker_list()").ok().stdout, "(none)\n");
    assert_eq!(piped(&deployer, &[], "1 + 1\n\"a\"\n").ok().stdout, "2\na\n");
    assert_eq!(piped(&deployer, &["--json"], "[1, #{a: ()}]").ok().stdout, "[1,{\"a\":null}]\n");
}

#[test]
fn inputs_share_variables_functions_and_imports() {
    let inputs = "import \"std/rebuild\" as rebuild\nfn twice(x) { x * 2 }\nlet a = 4\na += 1;\nconst B = 7;\nlet f = |x| twice(x) + a;\nf.call(1) + B\n:vars\n";
    let output = piped(&engine(), &[], inputs).ok().stdout;
    assert!(output.starts_with("14\n"), "{output}");
    assert!(output.contains("twice()"), "{output}");
}

#[test]
fn changes_are_shown_and_undone() {
    let deployer = engine();
    let inputs = format!("{RUN}docker_list()\n:undo\ndocker_list(#{{all: true}}).len()\n:undo\n:pile\n");
    let done = piped(&deployer, &["--yes"], &inputs).ok();
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert_eq!(lines[0], "hello:v1");
    assert!(done.stdout.contains("NAME"), "{}", done.stdout);
    assert!(done.stdout.contains("\nundone: let web = docker_run(#{\n0\n"), "{}", done.stdout);
    assert!(done.stdout.ends_with("there is nothing to undo\n"), "{}", done.stdout);
    assert!(done.stderr.contains("✓ docker_run web") && done.stderr.contains("↶ docker_remove web"), "{}", done.stderr);
    // The journal has the whole session as one run.
    deployer.call(&["show", "last"]).ok().says("docker_run web").says("<repl>");
}

#[test]
fn a_failed_input_rolls_the_session_back() {
    let deployer = engine();
    let done = piped(&deployer, &[], &format!("{RUN}fail(\"not like this\", \"another way\")\nlog(\"never\")\n"));
    let done = done.code(1).says("not like this").says("another way");
    assert!(!done.said().contains("never"), "{}", done.said());
    assert_eq!(piped(&deployer, &[], "docker_list(#{all: true})").ok().stdout, "(none)\n");
    piped(&deployer, &[], "docker_rum()").code(1).says("docker_rum");
    piped(&deployer, &[], ":undoo").code(1).says("did you mean `:undo`?");
}

#[test]
fn live_containers_are_not_stopped_without_confirmation() {
    let deployer = engine();
    piped(&deployer, &[], RUN).ok();
    let refused = piped(&deployer, &[], "docker_stop(\"web\")").code(1);
    let refused = refused.says("`docker_stop` is not allowed: it stops `web`, which runs");
    refused.says("deployer repl --yes");
    piped(&deployer, &[], "docker_remove(\"web\", #{force: true})").code(1).says("is not allowed");
    assert_eq!(piped(&deployer, &[], "docker_list()[0].state").ok().stdout, "running\n");
    piped(&deployer, &["--yes"], "docker_stop(\"web\")\ndocker_remove(\"web\")").ok();
    assert_eq!(piped(&deployer, &[], "docker_list(#{all: true})").ok().stdout, "(none)\n");
}

#[test]
fn undo_restores_a_removed_container_with_its_files() {
    let deployer = engine();
    let inputs = format!(
        "{RUN}:containers\ndocker_remove(\"web\", #{{force: true}})\ndocker_list()\n:undo\ndocker_list()[0].name\n"
    );
    let done = piped(&deployer, &["--yes"], &inputs).ok();
    assert!(done.stdout.contains("(none)\nundone: docker_remove(\"web\", #{force: true})\nweb\n"), "{}", done.said());
    piped(&deployer, &["--yes"], "docker_remove(\"web\", #{force: true})").ok();
    assert_eq!(piped(&deployer, &[], "docker_list(#{all: true})").ok().stdout, "(none)\n");
}

#[test]
fn a_dry_session_changes_nothing() {
    let deployer = engine();
    piped(&deployer, &[], RUN).ok();
    let dry = "docker_remove(\"web\", #{force: true})\ndocker_list()\nvolume_create(\"x\").name\nvolume_list().len()\n";
    let done = piped(&deployer, &["--dry"], dry).ok();
    assert_eq!(done.stdout.lines().collect::<Vec<_>>()[1..], ["(none)", "x", "1"], "{}", done.said());
    assert_eq!(piped(&deployer, &[], "docker_list()[0].state\nvolume_list()").ok().stdout, "running\n(none)\n");
    piped(&deployer, &["--yes"], "docker_remove(\"web\", #{force: true})").ok();
}

#[test]
fn plan_lists_changes_without_making_them() {
    let deployer = engine();
    let inputs = "let name = \"x\"\n:plan volume_create(name)\n:plan volume_list()\nvolume_list()\n";
    let output = piped(&deployer, &[], inputs).ok().stdout;
    assert!(output.contains("  would volume_create x\n"), "{output}");
    assert!(output.contains("  would change nothing\n"), "{output}");
    assert!(output.ends_with("(none)\n"), "{output}");
    piped(&deployer, &[], ":plan docker_stop(\"gone\")").code(1).says("would fail").says("gone");
}

#[test]
fn a_saved_session_is_a_script_that_check_accepts() {
    let deployer = engine();
    let inputs = "import \"std/rebuild\" as rebuild\nlet name = \"x\"\nvolume_create(name)\nvolume_create(\"y\")\n:undo\nfor i in 0..2 {\n    log(`${name} ${i}`);\n}\n:save s.rhai\n";
    piped(&deployer, &["--yes"], inputs).ok().says("saved to s.rhai; a check of it found no errors");
    deployer.call(&["check", "s.rhai"]).ok().says("no errors");
    let saved = std::fs::read_to_string(deployer.home().join("s.rhai")).unwrap();
    assert!(saved.contains("volume_create(name);\n// undone: volume_create(\"y\")\n"), "{saved}");
    piped(&deployer, &[], ":save s.rhai").code(1).says("already exists");
}

#[test]
fn the_functions_of_a_script_can_be_called_without_running_it() {
    let deployer = engine();
    deployer.file("mine.rhai", "fn greet(name) { `hello ${name}` }\nvolume_create(\"never\");\n");
    let done = piped(&deployer, &["mine.rhai"], "greet(\"you\")\nvolume_list()").ok();
    assert_eq!(done.stdout, "hello you\n(none)\n");
    piped(&deployer, &["none.rhai"], "1").code(2).says("there is no script `none.rhai`");
}

#[test]
fn help_lists_commands_and_signatures() {
    let deployer = engine();
    let output = piped(&deployer, &[], ":help\n:help docker_logs\n:services\n").ok().stdout;
    for part in [":undo [N]", "docker_logs(container, #{tail})", "no services on"] {
        assert!(output.contains(part), "no `{part}` in\n{output}");
    }
}
