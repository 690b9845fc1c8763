//! Scripts that want too much: errors, and the process lives.

use deployer::journal::entry::RunStatus;

use crate::play::run;

fn ends(script: &str) -> String {
    let played = run(script);
    assert_eq!(played.status(), RunStatus::Invalid, "{}", played.error());
    played.error()
}

#[test]
fn deep_recursion_is_an_error() {
    assert!(ends("fn f(n) { f(n + 1) } f(0)").contains("stack overflow"));
    let through_closures = ends("fn f(n) { [n].map(|x| f(x + 1)) } f(0)");
    assert!(through_closures.contains("stack overflow"), "{through_closures}");
    assert_eq!(run("fn f(n) { if n == 0 { 0 } else { 1 + f(n - 1) } } f(60)").value(), 60);
}

#[test]
fn deep_nesting_of_the_text_is_an_error() {
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
        let played = run(&text);
        assert_eq!(played.status(), RunStatus::Invalid, "{open}: {}", played.error());
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
        let error = ends(script);
        assert!(error.contains("exceeds") || error.contains("large") || error.contains("maximum"), "{script}: {error}");
    }
}

#[test]
fn deep_values_do_no_harm() {
    let script = "let a = []; for i in 0..3000 { a = [a]; } let b = a; log(a == b); docker_list(#{labels: #{a: a}})";
    assert!(ends(script).contains("nests deeper than 64 levels"));
}

#[test]
fn a_result_without_a_stored_form_is_nothing() {
    assert!(run("|| 1").value().is_null());
    assert!(run("let a = []; for i in 0..100 { a = [a]; } a").value().is_null());
}
