//! Conversion of script values into the arguments of effects.

use deployer::journal::entry::RunStatus;
use serde_json::json;

use crate::test_run::run;

fn report_of(script: &str) -> String {
    let finished = run(script);
    assert_eq!(finished.status(), RunStatus::Invalid, "{script}: {}", finished.error());
    assert_eq!(finished.before, finished.after);
    finished.report()
}

fn message(script: &str) -> String {
    report_of(script);
    run(script).error()
}

#[test]
fn durations_are_strings() {
    assert_eq!(run("sleep(\"1m30s\"); millis(\"1m30s\")").value(), &json!(90_000));
    assert_eq!(message("sleep(5)"), "`sleep`: `duration`: invalid type: integer `5`, expected a duration like \"30s\"");
    assert!(message("sleep(\"5 minutes\")").contains("write it like `250ms`"));
    assert!(message("millis(\"x\")").contains("write it like `250ms`"));
}

#[test]
fn an_unknown_option_suggests_a_similar_name() {
    let report = report_of("docker_run(#{name: \"web\", image: \"web:v1\", enviroment: #{}})");
    assert!(report.contains("`docker_run` has no option `enviroment`"), "{report}");
    assert!(report.contains("did you mean `environment`?"), "{report}");
    assert!(report_of("sleep(\"1s\", #{zebra: 1})").contains("no function"), "`sleep` takes no options");
    assert!(report_of("docker_stop(\"web\", #{zebra: 1})").contains("docker_stop(container, #{grace"));
}

#[test]
fn a_wrong_type_names_the_option() {
    assert!(message("docker_run(#{name: \"web\", image: 5})").contains("`image`: invalid type: integer `5`"));
    let ports = message("docker_run(#{name: \"web\", image: \"web:v1\", ports: [\"x:y\"]})");
    assert!(ports.starts_with("`docker_run`: `ports[0]`:"), "{ports}");
    assert!(message("docker_stop(5)").contains("expected a container"));
    assert_eq!(message("docker_stop(\"web\", 5)"), "`docker_stop` expects a map here, not an integer");
    assert!(message("docker_images([1])").contains("`name`"));
}

#[test]
fn a_missing_option_gives_an_example() {
    let report = report_of("docker_run(#{name: \"web\"})");
    assert!(report.contains("`docker_run` needs `image`"), "{report}");
    assert!(report.contains("example: docker_run("), "{report}");
}

#[test]
fn a_unit_value_counts_as_omitted() {
    let finished = run("docker_run(#{name: \"web\", image: \"web:v1\", mem_limit: (), command: ()}).name");
    assert_eq!(finished.value(), "web");
    assert!(message("docker_run(#{name: \"web\", image: ()})").contains("needs `image`"));
}

#[test]
fn a_container_can_be_given_by_name_id_or_map() {
    let script = "let web = docker_run(#{name: \"web\", image: \"web:v1\"});
        [docker_inspect(\"web\").id == web.id, docker_inspect(web.id).name, docker_inspect(web).name,
         docker_inspect(#{container: web}).name, docker_inspect(web, #{missing_ok: true}).name]";
    assert_eq!(run(script).value(), &json!([true, "web", "web", "web", "web"]));
}

#[test]
fn an_option_given_twice_is_refused() {
    assert!(message("docker_stop(\"web\", #{container: \"other\"})").contains("got `container` twice"));
}

#[test]
fn a_value_that_cannot_be_stored_is_refused_with_its_path() {
    let closure = message("docker_run(#{name: \"web\", image: \"web:v1\", labels: #{hook: || 1}})");
    assert_eq!(closure, "`docker_run`: `labels.hook` is a closure and cannot be stored");
    assert!(
        message("docker_run(#{name: \"web\", image: \"web:v1\", cpus: 0.0 / 0.0})").contains("not a finite number")
    );
    assert!(message("docker_run(#{name: \"web\", image: \"web:v1\", ports: 1..3})").contains("is a range"));
    let deep = "let a = []; for i in 0..70 { a = [a]; } docker_run(#{name: \"web\", image: \"web:v1\", command: a})";
    assert!(message(deep).contains("is nested deeper than 64 levels"));
}
