//! Secrets: names everywhere, values nowhere but in the world.

use std::collections::BTreeMap;

use deployer::journal::entry::RunStatus;
use deployer::world::sim::{Program, Scenario};
use serde_json::json;

use crate::play::{SECRET, play, run};

/// A host on which every `echo` tells the secret.
fn leaky() -> Scenario {
    let says = |exit_code| Program {
        exit_code,
        stdout: format!("token is {SECRET}\n"),
        stderr: format!("{SECRET} on stderr\n"),
        ..Program::default()
    };
    let programs = BTreeMap::from([("echo".to_owned(), says(0)), ("false".to_owned(), says(1))]);
    let mut scenario = Scenario { programs, ..Scenario::default() };
    scenario.machine.environment.insert("LEAK".into(), SECRET.into());
    scenario
}

#[test]
fn print_and_store_as_their_names() {
    let script = r#"let t = secret("TOKEN");
        print(t); log(t); log("Bearer " + t); log(#{a: t});
        docker_run(#{name: "web", image: "web:v1", environment: #{TOKEN: t, URL: "https://x:" + t + "@host"}});"#;
    let played = run(script);
    assert_eq!(played.status(), RunStatus::Succeeded, "{}", played.report());
    assert_eq!(played.said()[..3], ["<secret TOKEN>", "<secret TOKEN>", "Bearer <secret TOKEN>"]);
    let args = played.intents().pop().unwrap().args;
    assert_eq!(args["environment"]["TOKEN"], json!({"secret_text": [{"secret": "TOKEN"}]}));
    assert!(!played.all_text().contains(SECRET));
}

#[test]
fn never_come_back_even_if_programs_tell_them() {
    for script in [
        r#"secret("TOKEN"); let o = exec(["echo"]); print(o.stdout); log(o.stderr); fail(o.stdout, o.stderr);"#,
        r#"secret("TOKEN"); exec(["false"]);"#,
        r#"secret("TOKEN"); let v = env("LEAK"); step v { docker_run(#{name: "web", image: v}); }"#,
        r#"let v = env("LEAK"); secret("TOKEN"); log(v); throw v;"#,
        r#"let v = env("LEAK"); secret("TOKEN"); on_rollback(|| fail(v)); docker_run(#{name: "web", image: "web:v1", labels: #{a: v}}); fail(v, v);"#,
        r#"let v = env("LEAK"); secret("TOKEN"); #{a: [v]}"#,
    ] {
        let played = play(script).on(leaky()).run();
        let known =
            played.records().iter().position(|record| format!("{record:?}").contains("CheckSecret")).unwrap_or(0);
        let text = format!("{:#?}", &played.records()[known..]);
        // What was read before anybody called it a secret is in the journal once, as that answer.
        let allowed = usize::from(script.starts_with("let v"));
        assert_eq!(text.matches(SECRET).count(), allowed, "{script}\n{text}");
        assert!(!format!("{:?}", played.end).contains(SECRET), "{script}: {:?}", played.end);
    }
}

#[test]
fn cannot_be_put_into_a_string() {
    let played = run("let t = secret(\"TOKEN\"); log(`x ${t}`);");
    assert_eq!(played.status(), RunStatus::Invalid);
    assert!(played.report().contains("join it with `+`"), "{}", played.report());
    assert!(!played.all_text().contains(SECRET));
}

#[test]
fn that_are_not_set_say_where_they_are_looked_for() {
    let played = run("secret(\"OTHER\")");
    assert_eq!(played.error(), "secret `OTHER` is not set");
    assert!(played.report().contains("OTHER_FILE"), "{}", played.report());
    let late = run("try { secret(\"OTHER\") } catch (e) { return e.kind; }");
    assert_eq!(late.value(), "missing_secret");
}

#[test]
fn that_look_like_a_name_do_not_garble_what_is_taken_back() {
    let script = format!(
        r#"secret("TOKEN"); docker_run(#{{name: "{SECRET}", image: "web:v1"}}); docker_stop("{SECRET}"); fail("x");"#
    );
    let played = run(&script);
    assert_eq!((played.status(), played.before == played.after), (RunStatus::Failed, true), "{:?}", played.end);
    assert!(!format!("{:?}", played.records()).contains(SECRET));
}
