//! Parses the output of `compose config`, without the values of environment variables. Knows no program.

use serde_json::{Map, Value};

/// Parses the YAML that compose prints, and removes what may be secret.
///
/// Environment variables and build arguments become lists of their names. The contents of inline configs and `x-`
/// fragments are left out.
pub(super) fn parse_without_values(yaml: &str) -> Result<Value, String> {
    let mut value: Value = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
    let Some(top) = value.as_object_mut() else { return Err("not a map".into()) };
    top.retain(|key, _| !key.starts_with("x-"));
    for_each_entry(top, "services", |service| {
        names_only(service, "environment");
        service.retain(|key, _| !key.starts_with("x-"));
        if let Some(build) = service.get_mut("build").and_then(Value::as_object_mut) {
            names_only(build, "args");
        }
    });
    for_each_entry(top, "configs", |config| {
        config.remove("content");
    });
    Ok(value)
}

fn for_each_entry(top: &mut Map<String, Value>, key: &str, change: impl Fn(&mut Map<String, Value>)) {
    let entries = top.get_mut(key).and_then(Value::as_object_mut);
    for entry in entries.into_iter().flat_map(|map| map.values_mut()).filter_map(Value::as_object_mut) {
        change(entry);
    }
}

/// Turns both `{A: 1}` and `["A=1"]` into `["A"]`.
fn names_only(map: &mut Map<String, Value>, key: &str) {
    let Some(variables) = map.get_mut(key) else { return };
    let names: Vec<Value> = match &*variables {
        Value::Object(entries) => entries.keys().map(|name| name.as_str().into()).collect(),
        Value::Array(items) => {
            items.iter().filter_map(Value::as_str).filter_map(|item| item.split('=').next()).map(Into::into).collect()
        }
        _ => Vec::new(),
    };
    *variables = Value::Array(names);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keeps_names_and_drops_values() {
        let yaml = "
services:
  web:
    image: web:v1
    build: {context: /app, args: {TOKEN: hunter2}}
    environment:
      PASSWORD: hunter2
      PORT: '5000'
    ports: ['8080:5000/tcp']
  worker:
    environment: ['KEY=hunter2', BARE]
x-env: {A: hunter2}
configs: {c: {content: hunter2}}
version: '3.7'
";
        let value = parse_without_values(yaml).unwrap();
        assert!(!value.to_string().contains("hunter2"), "{value}");
        assert_eq!(value["services"]["web"]["environment"], json!(["PASSWORD", "PORT"]));
        assert_eq!(value["services"]["web"]["build"]["args"], json!(["TOKEN"]));
        assert_eq!(value["services"]["worker"]["environment"], json!(["KEY", "BARE"]));
        assert_eq!(value["services"]["web"]["ports"], json!(["8080:5000/tcp"]));
        assert!(parse_without_values("- a list").is_err());
        assert!(parse_without_values("a: [").is_err());
    }
}
