//! `params`: declarations, values and types.

use deployer::journal::entry::RunStatus;
use deployer::script::params::Declaration;
use deployer::script::program::Program;
use deployer::script::source::{Source, SourceLoader};
use serde_json::{Value, json};
use std::sync::Arc;

use crate::test_run::{Modules, run, test_run};

const SCRIPT: &str = r#"let p = params(#{
    service: required("string", "the service's name"),
    port: optional("int", 8080, "the port"),
    drain: optional("duration", "30s", "time"),
    mem: optional("size", (), "memory"),
    list: optional("list", [], "things"),
    environment: optional("map", #{}, "variables"),
    health: #{ path: optional("string", "/", "the path") },
}); p"#;

fn declaration(script: &str) -> Result<Declaration, String> {
    let loader: Arc<dyn SourceLoader> = Arc::new(Modules::default());
    Program::declaration(Source::new("test.rhai", script), &loader).map_err(|diagnostic| diagnostic.message.clone())
}

#[test]
fn defaults_are_filled_in() {
    let finished = test_run(SCRIPT).with(json!({"service": "web", "health": {"path": "/up"}})).run();
    assert_eq!(
        finished.value(),
        &json!({"service": "web", "port": 8080, "drain": "30s", "mem": null, "list": [], "environment": {},
            "health": {"path": "/up"}})
    );
}

#[test]
fn wrong_params_are_reported_and_no_effect_is_performed() {
    for (given, message) in [
        (json!({}), "parameter `service` is missing: the service's name"),
        (json!({"service": 5, "port": "x"}), "parameter `port` must be an int, not the string `x`"),
        (json!({"service": "web", "prot": 1}), "parameter `prot` is not a parameter of this script"),
        (json!({"service": "web", "health": {"pth": 1}}), "parameter `health.pth` is not a parameter of this script"),
        (json!({"service": "web", "health": "x"}), "parameter `health` is a group of parameters, not the string `x`"),
        (json!({"service": "web", "drain": 5}), "parameter `drain` must be a duration, not `5`"),
        (json!({"service": "web", "port": u64::MAX}), "parameter `port` must be an int, not `18446744073709551615`"),
    ] {
        let finished = test_run(SCRIPT).with(given).run();
        assert_eq!((finished.status(), finished.error().as_str()), (RunStatus::Invalid, message));
        assert!(finished.effects().is_empty());
    }
}

#[test]
fn an_int_for_a_string_parameter_becomes_a_string() {
    assert_eq!(test_run(SCRIPT).with(json!({"service": 5})).run().value()["service"], "5");
}

#[test]
fn set_is_typed_by_the_declaration() {
    let declaration = declaration(SCRIPT).unwrap();
    let mut given = json!({});
    for (key, text) in [
        ("service", "7"),
        ("port", "9000"),
        ("list", "a, b"),
        ("environment.A", "1"),
        ("environment.B.C", "x"),
        ("health.path", "/up"),
        ("mem", "512m"),
    ] {
        declaration.set(&mut given, key, text).unwrap();
    }
    let expected = json!({"service": "7", "port": 9000, "list": ["a", "b"], "environment": {"A": 1, "B": {"C": "x"}},
        "health": {"path": "/up"}, "mem": "512m"});
    assert_eq!(given, expected);
    for (key, text, message) in [
        ("port", "x", "must be an int, not `x`"),
        ("drain", "5", "is not a duration"),
        ("health", "x", "is a group of parameters"),
        ("port.x", "1", "`port` is of type int and has no keys"),
        ("zebra", "1", "is not a parameter"),
        ("", "1", "is not a parameter"),
        ("service.", "1", "has no keys"),
    ] {
        let error = declaration.set(&mut given, key, text).unwrap_err();
        assert!(error.message.contains(message), "{key}: {}", error.message);
    }
    assert_eq!(given, expected, "a refused value changes nothing");
}

#[test]
fn params_must_come_first() {
    let error = declaration("docker_list(); let p = params(#{});").unwrap_err();
    assert_eq!(error, "`params` must come before any other primitive");
    assert!(declaration("let x = 1; fn f() { 2 } log(`${x}`); let p = params(#{});").is_ok());
    let error = declaration("loop {} let p = params(#{});").unwrap_err();
    assert!(error.contains("params"), "{error}");
    assert_eq!(run("params(#{}); params(#{})").error(), "`params` can be called only once");
}

#[test]
fn a_wrong_declaration_is_an_error() {
    for (script, message) in [
        ("params(#{a: 5})", "params: `a` must be `required(...)`, `optional(...)` or a map of these"),
        ("params(#{a: #{b: 5}})", "params: `a.b` must be `required(...)`, `optional(...)` or a map of these"),
        ("params(#{a: required(\"strin\", \"x\")})", "`strin` is not a parameter type; did you mean `string`?"),
        (
            "params(#{a: optional(\"int\", \"x\", \"y\")})",
            "the default of an optional parameter must be an int, not the string `x`",
        ),
    ] {
        assert_eq!(declaration(script).unwrap_err(), message);
    }
}

#[test]
fn a_script_without_params_takes_none() {
    assert_eq!(declaration("1 + 1").unwrap(), Declaration::default());
    assert!(Declaration::default().fill(&json!({"a": 1})).is_err());
    assert_eq!(Declaration::default().fill(&Value::Null).unwrap(), json!({}));
}
