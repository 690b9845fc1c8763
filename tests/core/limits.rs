//! Scripts that exceed a limit end with an error and do not crash the process.

use deployer::journal::entry::RunStatus;

use crate::test_run::run;

fn error_of(script: &str) -> String {
    let finished = run(script);
    assert_eq!(finished.status(), RunStatus::Invalid, "{}", finished.error());
    finished.error()
}

#[test]
fn deep_recursion_is_an_error() {
    assert!(error_of("fn f(n) { f(n + 1) } f(0)").contains("stack overflow"));
    let through_closures = error_of("fn f(n) { [n].map(|x| f(x + 1)) } f(0)");
    assert!(through_closures.contains("stack overflow"), "{through_closures}");
    assert_eq!(run("fn f(n) { if n == 0 { 0 } else { 1 + f(n - 1) } } f(60)").value(), 60);
}

#[test]
fn deeply_nested_source_is_an_error() {
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{", "}"),
        ("if true {", "}"),
        ("-", ""),
        ("!", ""),
        ("#{a:", "}"),
        ("|| ", ""),
        ("`${", "}`"),
    ] {
        let text = format!("let x = {}1{};", open.repeat(100_000), close.repeat(100_000));
        let finished = run(&text);
        assert_eq!(finished.status(), RunStatus::Invalid, "{open}: {}", finished.error());
    }
    let chain = format!("let x = 1{};", " + 1".repeat(100_000));
    assert!(matches!(run(&chain).status(), RunStatus::Invalid | RunStatus::Succeeded));
    let calls = format!("let x = \"a\"{};", ".trim()".repeat(100_000));
    assert!(matches!(run(&calls).status(), RunStatus::Invalid | RunStatus::Succeeded));
}

#[test]
fn huge_values_are_errors() {
    for script in [
        "let s = \"x\"; loop { s += s; }",
        "let a = [1]; loop { a += a; }",
        "let a = []; a.pad(10000000, 1);",
        "let a = []; loop { a = [a, a]; }",
        "\"x\".pad(100000000, \"y\")",
    ] {
        let error = error_of(script);
        assert!(error.contains("exceeds") || error.contains("large") || error.contains("maximum"), "{script}: {error}");
    }
}

#[test]
fn deeply_nested_values_are_an_error() {
    let script = "let a = []; for i in 0..3000 { a = [a]; } let b = a; log(a == b); docker_list(#{labels: #{a: a}})";
    assert!(error_of(script).contains("is nested deeper than 64 levels"));
}

#[test]
fn a_result_that_cannot_be_stored_is_null() {
    assert!(run("|| 1").value().is_null());
    assert!(run("let a = []; for i in 0..100 { a = [a]; } a").value().is_null());
}
