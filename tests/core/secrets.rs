//! Secrets: everything shows their names; only the world has their values.

use std::collections::BTreeMap;

use deployer::journal::entry::RunStatus;
use deployer::world::sim::{Scenario, SimProgram};
use serde_json::json;

use crate::test_run::{SECRET, run, test_run};

/// A host on which `echo`, `false` and the variable `LEAK` reveal the secret.
fn leaky() -> Scenario {
    let says = |exit_code| SimProgram {
        exit_code,
        stdout: format!("token is {SECRET}\n"),
        stderr: format!("{SECRET} on stderr\n"),
        ..SimProgram::default()
    };
    let programs = BTreeMap::from([("echo".to_owned(), says(0)), ("false".to_owned(), says(1))]);
    let mut scenario = Scenario { programs, ..Scenario::default() };
    scenario.machine.environment.insert("LEAK".into(), SECRET.into());
    scenario
}

#[test]
fn secrets_print_and_store_as_their_names() {
    let script = r#"let t = secret("TOKEN");
        print(t); log(t); log("Bearer " + t); log(#{a: t});
        docker_run(#{name: "web", image: "web:v1", environment: #{TOKEN: t, URL: "https://x:" + t + "@host"}});"#;
    let finished = run(script);
    assert_eq!(finished.status(), RunStatus::Succeeded, "{}", finished.report());
    assert_eq!(finished.messages()[..3], ["<secret TOKEN>", "<secret TOKEN>", "Bearer <secret TOKEN>"]);
    let args = finished.intents().pop().unwrap().args;
    assert_eq!(args["environment"]["TOKEN"], json!({"secret_text": [{"secret": "TOKEN"}]}));
    assert!(!finished.all_text().contains(SECRET));
}

#[test]
fn secrets_are_redacted_when_programs_print_them() {
    for script in [
        r#"secret("TOKEN"); let o = exec(["echo"]); print(o.stdout); log(o.stderr); fail(o.stdout, o.stderr);"#,
        r#"secret("TOKEN"); exec(["false"]);"#,
        r#"secret("TOKEN"); let v = env("LEAK"); step v { docker_run(#{name: "web", image: v}); }"#,
        r#"let v = env("LEAK"); secret("TOKEN"); log(v); throw v;"#,
        r#"let v = env("LEAK"); secret("TOKEN"); on_rollback(|| fail(v)); docker_run(#{name: "web", image: "web:v1", labels: #{a: v}}); fail(v, v);"#,
        r#"let v = env("LEAK"); secret("TOKEN"); #{a: [v]}"#,
    ] {
        let finished = test_run(script).on(leaky()).run();
        let known =
            finished.records().iter().position(|record| format!("{record:?}").contains("CheckSecret")).unwrap_or(0);
        let text = format!("{:#?}", &finished.records()[known..]);
        // A value that was read before it was declared a secret is in the journal once, as that outcome.
        let allowed = usize::from(script.starts_with("let v"));
        assert_eq!(text.matches(SECRET).count(), allowed, "{script}\n{text}");
        assert!(!format!("{:?}", finished.end).contains(SECRET), "{script}: {:?}", finished.end);
    }
}

#[test]
fn secrets_cannot_be_interpolated() {
    let finished = run("let t = secret(\"TOKEN\"); log(`x ${t}`);");
    assert_eq!(finished.status(), RunStatus::Invalid);
    assert!(finished.report().contains("join it with `+`"), "{}", finished.report());
    assert!(!finished.all_text().contains(SECRET));
}

#[test]
fn a_missing_secret_names_where_it_is_looked_up() {
    let finished = run("secret(\"OTHER\")");
    assert_eq!(finished.error(), "secret `OTHER` is not set");
    assert!(finished.report().contains("OTHER_FILE"), "{}", finished.report());
    let late = run("try { secret(\"OTHER\") } catch (e) { return e.kind; }");
    assert_eq!(late.value(), "missing_secret");
}

#[test]
fn a_name_equal_to_a_secret_does_not_break_an_undo() {
    let script = format!(
        r#"secret("TOKEN"); docker_run(#{{name: "{SECRET}", image: "web:v1"}}); docker_stop("{SECRET}"); fail("x");"#
    );
    let finished = run(&script);
    assert_eq!((finished.status(), finished.before == finished.after), (RunStatus::Failed, true), "{:?}", finished.end);
    assert!(!format!("{:?}", finished.records()).contains(SECRET));
}
