//! The documented options and defaults of every primitive match those of its request.

use std::collections::BTreeSet;

use deployer::effect::Effect;
use deployer::run::remedy::INTERNAL_OPTIONS;
use deployer::script::catalogue::catalogue;
use deployer::script::primitive::{Primitive, PrimitiveOption};
use deployer::script::value::from_json;
use rhai::{Dynamic, Engine};
use serde_json::{Value, json};

/// A valid value for an option, by its name or its type.
fn sample(primitive: &Primitive, option: &PrimitiveOption) -> Value {
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
            kind => panic!("{}: {}: no sample for the type `{kind}`", primitive.name, option.name),
        },
    }
}

fn effect_of(primitive: &Primitive, args: &Value) -> Result<Effect, String> {
    primitive.effect(&[from_json(args.clone())]).map_err(|error| error.message)
}

/// The required arguments only.
fn required_args(primitive: &Primitive) -> Value {
    let needed = primitive.options.iter().filter(|option| option.default.is_none());
    needed.map(|option| (option.name.to_owned(), sample(primitive, option))).collect::<serde_json::Map<_, _>>().into()
}

fn with(args: &Value, key: &str, value: Value) -> Value {
    let mut args = args.clone();
    args[key] = value;
    args
}

fn primitives() -> impl Iterator<Item = &'static Primitive> {
    // Primitives without options have nothing to compare.
    catalogue().values().filter(|primitive| !primitive.options.is_empty())
}

#[test]
fn every_documented_option_reaches_the_effect() {
    for primitive in primitives() {
        let required_args = required_args(primitive);
        for option in &primitive.options {
            let args = with(&required_args, option.name, sample(primitive, option));
            let effect = effect_of(primitive, &args).unwrap_or_else(|error| panic!("{error}"));
            let without = if option.default.is_none() {
                effect_of(primitive, &with(&required_args, option.name, other(&args[option.name])))
            } else {
                effect_of(primitive, &required_args)
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
        let mut args = required_args(primitive);
        for option in &primitive.options {
            args[option.name] = sample(primitive, option);
        }
        // The arguments of the effect contain every field that is set; here all documented options are set.
        let args_of_effect = effect_of(primitive, &args).unwrap_or_else(|error| panic!("{error}")).args();
        let documented: BTreeSet<&str> = primitive.options.iter().map(|option| option.name).collect();
        for key in args_of_effect.as_object().unwrap().keys() {
            assert!(documented.contains(key.as_str()), "{}: `{key}` is not documented", primitive.name);
        }
        for hidden in [
            "only_own",
            "stop_first",
            "forget_targets",
            "back_to",
            "disconnect",
            "like",
            "force",
            "missing_ok",
            "all",
            "timeout",
        ] {
            if documented.contains(hidden) {
                continue;
            }
            let value = if hidden == "timeout" { json!("3m") } else { json!(true) };
            let direct = |args: &Value| Effect::decode(primitive.name, args.clone()).ok();
            let accepted = direct(&with(&args, hidden, value)).is_some_and(|effect| Some(effect) != direct(&args));
            assert!(!accepted || INTERNAL_OPTIONS.contains(&hidden), "{}: takes `{hidden}`", primitive.name);
        }
    }
}

#[test]
fn documented_defaults_are_the_real_defaults() {
    let engine = Engine::new();
    let mut compared = 0;
    for primitive in primitives() {
        let required_args = required_args(primitive);
        for option in &primitive.options {
            // Compares defaults that are literals, such as `"10s"`, `false`, `100` or `#{}`, but not `the image's`.
            let Some(default) = option.default.and_then(|text| engine.eval::<Dynamic>(text).ok()) else { continue };
            let value: Value = serde_json::to_value(&default).unwrap();
            let explicit = effect_of(primitive, &with(&required_args, option.name, value));
            assert_eq!(
                explicit,
                effect_of(primitive, &required_args),
                "{}: the default of `{}`",
                primitive.name,
                option.name
            );
            compared += 1;
        }
    }
    assert!(compared > 60, "only {compared}");
}
