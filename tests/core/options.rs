//! The documented options of every primitive are those that its request takes, with the defaults that it has.

use std::collections::BTreeSet;

use deployer::effect::Effect;
use deployer::run::remedy::INTERNAL_OPTIONS;
use deployer::script::catalogue::catalogue;
use deployer::script::primitive::{Opt, Primitive};
use deployer::script::value::from_json;
use rhai::{Dynamic, Engine};
use serde_json::{Value, json};

/// A value that fits an option: its literal default, else one for its name or its type.
fn sample(primitive: &Primitive, option: &Opt) -> Value {
    match (primitive.name, option.name) {
        (_, "restart") => json!("always"),
        (_, "ports") => json!(["8080:5000"]),
        (_, "volumes") if option.kind == "list" => json!(["data:/data"]),
        (_, "extra_hosts") => json!(["db:10.0.0.5"]),
        (_, "status") => json!([201]),
        (_, "healthcheck") => json!({"test": ["CMD", "true"]}),
        (_, "s3") => json!({"endpoint": "http://storage:9000"}),
        ("sqlite_schema_diff", "before" | "after") => json!("app.db"),
        (_, "tcp") => json!("localhost:80"),
        (_, "channel") => json!("slack"),
        (_, "event") => json!("stuck"),
        (_, "smtp_security") => json!("tls"),
        (_, "like") => json!("other"),
        (_, "while_written") => json!("allow"),
        (_, "way") => json!("engine"),
        ("traffic_route", "driver") => json!("caddy"),
        ("traffic_route", "check") => json!({"path": "/well"}),
        ("traffic_set", "targets") => json!([{"address": "127.0.0.1:80"}]),
        ("traffic_set", "canary") => json!({"target": "web", "by": "header", "name": "X-Canary"}),
        _ => match option.kind {
            "container" | "target" | "string" | "string or secret" => json!("some-text"),
            "int" => json!(7),
            "bool" => json!(option.default != Some("true")),
            "float" => json!(1.5),
            "duration" => json!("7m"),
            "size" => json!("7m"),
            "map" => json!({"a": "b"}),
            "list" => json!(["x"]),
            kind => panic!("{}: {}: what is a {kind}?", primitive.name, option.name),
        },
    }
}

fn ask(primitive: &Primitive, args: &Value) -> Result<Effect, String> {
    primitive.effect(&[from_json(args.clone())]).map_err(|error| error.message)
}

/// What must be given, and no more.
fn least(primitive: &Primitive) -> Value {
    let needed = primitive.options.iter().filter(|option| option.default.is_none());
    needed.map(|option| (option.name.to_owned(), sample(primitive, option))).collect::<serde_json::Map<_, _>>().into()
}

fn with(args: &Value, key: &str, value: Value) -> Value {
    let mut args = args.clone();
    args[key] = value;
    args
}

fn primitives() -> impl Iterator<Item = &'static Primitive> {
    // Those that take nothing have nothing to compare.
    catalogue().values().filter(|primitive| !primitive.options.is_empty())
}

#[test]
fn every_documented_option_arrives() {
    for primitive in primitives() {
        let least = least(primitive);
        for option in &primitive.options {
            let args = with(&least, option.name, sample(primitive, option));
            let effect = ask(primitive, &args).unwrap_or_else(|error| panic!("{error}"));
            let without = if option.default.is_none() {
                ask(primitive, &with(&least, option.name, other(&args[option.name])))
            } else {
                ask(primitive, &least)
            };
            assert_ne!(Ok(&effect), without.as_ref(), "{}: `{}` changes nothing", primitive.name, option.name);
        }
    }
}

fn other(value: &Value) -> Value {
    match value {
        Value::String(text) if text == "slack" => json!("email"),
        Value::String(text) if text == "7m" => json!("8m"),
        Value::String(text) => json!(format!("{text}-2")),
        Value::Number(_) => json!(8),
        Value::Array(items) if items[0].is_object() => json!([{"address": "127.0.0.1:81"}]),
        Value::Array(_) => json!(["y"]),
        other => panic!("{other}"),
    }
}

#[test]
fn no_accepted_option_is_undocumented() {
    for primitive in primitives() {
        let mut args = least(primitive);
        for option in &primitive.options {
            args[option.name] = sample(primitive, option);
        }
        // An effect written down names every field that is not left out; all documented ones are set here.
        let written = ask(primitive, &args).unwrap_or_else(|error| panic!("{error}")).args();
        let documented: BTreeSet<&str> = primitive.options.iter().map(|option| option.name).collect();
        for key in written.as_object().unwrap().keys() {
            assert!(documented.contains(key.as_str()), "{}: `{key}` is not documented", primitive.name);
        }
        for hidden in ["only_own", "anew", "back_to", "disconnect", "like", "force", "missing_ok", "all", "timeout"] {
            if documented.contains(hidden) {
                continue;
            }
            let value = if hidden == "timeout" { json!("3m") } else { json!(true) };
            let direct = |args: &Value| Effect::decode(primitive.name, args.clone()).ok();
            let taken = direct(&with(&args, hidden, value)).is_some_and(|effect| Some(effect) != direct(&args));
            assert!(!taken || INTERNAL_OPTIONS.contains(&hidden), "{}: takes `{hidden}`", primitive.name);
        }
    }
}

#[test]
fn documented_defaults_are_the_real_ones() {
    let engine = Engine::new();
    let mut compared = 0;
    for primitive in primitives() {
        let least = least(primitive);
        for option in &primitive.options {
            // `"10s"`, `false`, `100`, `#{}`: a literal; `the image's` is not.
            let Some(default) = option.default.and_then(|text| engine.eval::<Dynamic>(text).ok()) else { continue };
            let value: Value = serde_json::to_value(&default).unwrap();
            let explicit = ask(primitive, &with(&least, option.name, value));
            assert_eq!(explicit, ask(primitive, &least), "{}: the default of `{}`", primitive.name, option.name);
            compared += 1;
        }
    }
    assert!(compared > 60, "only {compared}");
}
