//! `approval_wait` and `deployer approve`, from one process to another.

use std::time::Duration;

use crate::support::deadline::until;
use crate::support::deployer::Deployer;

const TIMEOUT: Duration = Duration::from_secs(60);
const ASK: &str = r#"
params(#{});
let answer = approval_wait("ship it?", #{ timeout: "10m" });
if !answer.approved { fail(`no: ${answer.note}`); }
log(`yes by ${answer.by}: ${answer.note}`);
"#;

/// Answers the question as soon as it is asked, and returns the output.
fn approve(deployer: &Deployer, more: &[&str]) -> String {
    let args = [&["approve", "last"], more].concat();
    let answered = || Some(deployer.call(&args)).filter(|finished| finished.code == 0);
    until("a question", TIMEOUT, answered).said()
}

#[test]
fn a_question_is_answered_from_another_terminal() {
    let deployer = Deployer::local();
    deployer.call(&["approve"]).ok().says("no run waits for approval");
    let script = deployer.file("ask.rhai", ASK);
    let running = deployer.start_run(&script, &[]);
    let listed = until("a question", TIMEOUT, || {
        Some(deployer.call(&["approve"]).said()).filter(|said| said.contains("ship it?"))
    });
    assert!(listed.contains("left"), "{listed}");
    let said = approve(&deployer, &["--note", "looks fine"]);
    assert!(said.contains("ship it?") && said.contains("yes, by "), "{said}");
    running.wait().ok().says("looks fine").says("yes by ");
    deployer.call(&["approve", "last"]).code(2).says("waits for no approval: the run has ended");

    let running = deployer.start_run(&script, &[]);
    let said = approve(&deployer, &["--no", "--note", "on Monday"]);
    assert!(said.contains("no, by "), "{said}");
    running.wait().code(1).says("no: on Monday");
    deployer.call(&["approve", "--no"]).code(2).says("which run?");
}

#[test]
fn a_question_without_an_answer_in_time_is_denied() {
    let deployer = Deployer::local();
    let script = deployer.file("ask.rhai", &ASK.replace("10m", "300ms"));
    deployer.run(&script, &[]).code(1).says("no: ");
    deployer.call(&["approve"]).ok().says("no run waits for approval");
}

#[test]
fn an_answer_to_a_killed_run_is_kept_until_it_is_resumed() {
    let deployer = Deployer::local();
    let script = deployer.file("ask.rhai", ASK);
    let mut run = deployer.watch_run(&script, &[]);
    run.until_intended("approval_wait");
    let question = || deployer.call(&["approve"]).said().contains("ship it?").then_some(());
    until("a question", TIMEOUT, question);
    let id = run.id();
    run.kill();
    let said = approve(&deployer, &[]);
    assert!(said.contains(&format!("deployer resume {id}")), "{said}");
    deployer.call(&["resume", &id]).ok().says("yes by ");
}

#[test]
fn two_questions_at_once_are_answered_by_position() {
    let deployer = Deployer::local();
    let both = r#"
        params(#{});
        let answers = parallel([|| approval_wait("this?").approved, || approval_wait("that?").approved]);
        log(`${answers[0]} ${answers[1]}`);
    "#;
    let script = deployer.file("ask.rhai", both);
    let running = deployer.start_run(&script, &[]);
    let listed = until("two questions", TIMEOUT, || {
        Some(deployer.call(&["approve"]).said()).filter(|said| said.contains("this?") && said.contains("that?"))
    });
    deployer.call(&["approve", "last"]).code(2).says("--at");
    let position = |question: &str| {
        let line = listed.lines().find(|line| line.contains(question)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    deployer.call(&["approve", "last", "--at", &position("this?")]).ok();
    deployer.call(&["approve", "last", "--no", "--at", &position("that?")]).ok();
    running.wait().ok().says("true false");
}
