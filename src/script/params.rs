//! Declared parameters of a script, and the values that the user gives for them.

use std::collections::BTreeMap;

use rhai::{Dynamic, Map};
use serde_json::{Map as JsonMap, Value};

use super::param_type::{ParamType, describe};
use super::value::{from_json, to_json};
use crate::base::suggest::did_you_mean;

/// A declared parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Its type.
    pub kind: ParamType,
    /// Its default; `None` if it is required.
    pub default: Option<Value>,
    /// Its description.
    pub doc: String,
}

/// A parameter, or a group of parameters.
#[derive(Clone, Debug, PartialEq)]
pub enum Declared {
    /// A parameter.
    Param(Param),
    /// A group of parameters.
    Group(Declaration),
}

/// The parameters that a script declares with `params(#{...})`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declaration(pub BTreeMap<String, Declared>);

/// An error in the declaration or the value of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamError {
    /// Full name of the parameter, such as `health.path`.
    pub key: String,
    /// What is wrong; follows the name in a sentence.
    pub message: String,
    /// How to fix it.
    pub hint: Option<String>,
}

impl Declaration {
    /// Reads the map given to `params`.
    ///
    /// # Errors
    /// Names the entry that is neither a parameter nor a group, and how to write it.
    pub fn read(map: &Map) -> Result<Self, ParamError> {
        map.iter()
            .map(|(key, value)| {
                let declared = if let Some(param) = value.read_lock::<Param>() {
                    Declared::Param(param.clone())
                } else if let Ok(group) = value.as_map_ref() {
                    Declared::Group(
                        Self::read(&group)
                            .map_err(|error| ParamError { key: format!("{key}.{}", error.key), ..error })?,
                    )
                } else {
                    return Err(ParamError {
                        key: key.to_string(),
                        message: "must be `required(...)`, `optional(...)` or a map of these".into(),
                        hint: Some(format!("write `{key}: {}`", declaration_for(value))),
                    });
                };
                Ok((key.to_string(), declared))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Returns every parameter with its full name, such as `health.path`.
    pub fn flat(&self) -> Vec<(String, &Param)> {
        self.0
            .iter()
            .flat_map(|(key, declared)| match declared {
                Declared::Param(param) => vec![(key.clone(), param)],
                Declared::Group(group) => {
                    group.flat().into_iter().map(|(name, param)| (format!("{key}.{name}"), param)).collect()
                }
            })
            .collect()
    }

    /// Checks the given values and adds the defaults.
    ///
    /// # Errors
    /// Fails on an unknown, missing or mistyped parameter.
    pub fn fill(&self, given: &Value) -> Result<Value, ParamError> {
        self.fill_group("", given)
    }

    fn fill_group(&self, prefix: &str, given: &Value) -> Result<Value, ParamError> {
        let empty = JsonMap::new();
        let given = match given {
            Value::Object(map) => map,
            Value::Null => &empty,
            other => {
                let message = format!("is a group of parameters, not {}", describe(other));
                return Err(ParamError { key: prefix.trim_end_matches('.').into(), message, hint: None });
            }
        };
        if let Some(unknown) = given.keys().find(|key| !self.0.contains_key(*key)) {
            let key = format!("{prefix}{unknown}");
            let hint = did_you_mean(unknown, self.0.keys().map(String::as_str))
                .unwrap_or_else(|| "`deployer run SCRIPT --help` lists the parameters".into());
            return Err(ParamError { key, message: "is not a parameter of this script".into(), hint: Some(hint) });
        }
        let mut filled = JsonMap::new();
        for (name, declared) in &self.0 {
            let key = format!("{prefix}{name}");
            let value = match (declared, given.get(name)) {
                (Declared::Group(group), value) => {
                    group.fill_group(&format!("{key}."), value.unwrap_or(&Value::Null))?
                }
                (Declared::Param(param), None | Some(Value::Null)) => {
                    param.default.clone().ok_or_else(|| ParamError {
                        message: format!("is missing: {}", param.doc),
                        hint: Some(format!("set it with `--set {key}=...` or in the `--config` file")),
                        key: key.clone(),
                    })?
                }
                (Declared::Param(param), Some(value)) => param.kind.accept(value).map_err(|message| ParamError {
                    key: key.clone(),
                    message,
                    hint: Some(param.doc.clone()),
                })?,
            };
            filled.insert(name.clone(), value);
        }
        Ok(Value::Object(filled))
    }

    /// Adds a `--set KEY=VALUE` to `given`, parsed by its declared type. A key below a map sets an entry of the map.
    ///
    /// # Errors
    /// Fails on an unknown key or a value of the wrong type.
    pub fn set(&self, given: &mut Value, key: &str, text: &str) -> Result<(), ParamError> {
        let (value, path) = self.typed(key, text)?;
        let mut place = given;
        for part in &path {
            if !place.is_object() {
                *place = Value::Object(JsonMap::new());
            }
            let Value::Object(map) = place else { return Ok(()) };
            place = map.entry(part.clone()).or_insert(Value::Null);
        }
        *place = value;
        Ok(())
    }

    fn typed(&self, key: &str, text: &str) -> Result<(Value, Vec<String>), ParamError> {
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        let mut group = self;
        for (depth, part) in path.iter().enumerate() {
            match group.0.get(part) {
                Some(Declared::Group(inner)) if depth + 1 < path.len() => group = inner,
                Some(Declared::Group(_)) => {
                    let message = "is a group of parameters, not a parameter".into();
                    return Err(ParamError { key: key.into(), message, hint: Some(format!("set `{key}.NAME`")) });
                }
                Some(Declared::Param(param)) => {
                    let rest = path.len() - depth - 1;
                    let value = match (param.kind, rest) {
                        (kind, 0) => kind.parse_value(text),
                        (kind @ ParamType::Map(None), _) | (kind @ ParamType::Map(Some(_)), 1) => {
                            kind.parse_entry(text)
                        }
                        (kind, _) => Err(format!("cannot be set: `{part}` is of type {} and has no keys", kind.name())),
                    };
                    return value.map(|value| (value, path.clone())).map_err(|message| ParamError {
                        key: key.into(),
                        message,
                        hint: Some(param.doc.clone()),
                    });
                }
                None => {
                    let flat = self.flat();
                    let hint = did_you_mean(key, flat.iter().map(|(name, _)| name.as_str()))
                        .or_else(|| did_you_mean(part, group.0.keys().map(String::as_str)))
                        .unwrap_or_else(|| "`deployer run SCRIPT --help` lists the parameters".into());
                    let message = "is not a parameter of this script".into();
                    return Err(ParamError { key: key.into(), message, hint: Some(hint) });
                }
            }
        }
        Err(ParamError { key: key.into(), message: "is empty".into(), hint: None })
    }
}

/// Returns a declaration that has `value` as its default, as an example for a hint.
fn declaration_for(value: &Dynamic) -> String {
    let kind = match to_json(value) {
        Ok(Value::String(_)) => "string",
        Ok(Value::Bool(_)) => "bool",
        Ok(Value::Array(_)) => "list",
        Ok(Value::Number(number)) if number.is_i64() => "int",
        Ok(Value::Number(_)) => "float",
        _ => return "required(\"string\", \"what it is for\")".into(),
    };
    let default = to_json(value).map(|default| default.to_string()).unwrap_or_default();
    format!("optional(\"{kind}\", {default}, \"what it is for\")")
}

/// Implements `required(type, doc)`.
///
/// # Errors
/// Fails if the type does not exist.
pub fn required(kind: &str, doc: &str) -> Result<Param, String> {
    Ok(Param { kind: ParamType::parse(kind)?, default: None, doc: doc.into() })
}

/// Implements `optional(type, default, doc)`. The default `()` means not set.
///
/// # Errors
/// Fails if the type does not exist or does not match the default.
pub fn optional(kind: &str, default: &Dynamic, doc: &str) -> Result<Param, String> {
    let kind = ParamType::parse(kind)?;
    let default = to_json(default)?;
    let default = if default.is_null() {
        default
    } else {
        kind.accept(&default).map_err(|why| format!("the default of an optional parameter {why}"))?
    };
    Ok(Param { kind, default: Some(default), doc: doc.into() })
}

/// Converts checked parameters for the script.
pub fn to_script(filled: Value) -> Dynamic {
    from_json(filled)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn declaration() -> Declaration {
        let health = [("path".into(), Declared::Param(optional("string", &"/".into(), "path").unwrap()))];
        Declaration(BTreeMap::from([
            ("service".into(), Declared::Param(required("string", "the service's name").unwrap())),
            ("port".into(), Declared::Param(optional("int", &8080_i64.into(), "port").unwrap())),
            ("environment".into(), Declared::Param(optional("map", &Dynamic::from_map(Map::new()), "env").unwrap())),
            ("health".into(), Declared::Group(Declaration(BTreeMap::from(health)))),
        ]))
    }

    #[test]
    fn adds_defaults() {
        let filled = declaration().fill(&json!({"service": "web"})).unwrap();
        assert_eq!(filled, json!({"service": "web", "port": 8080, "environment": {}, "health": {"path": "/"}}));
    }

    #[test]
    fn reports_missing_unknown_and_mistyped_parameters() {
        let error = declaration().fill(&json!({})).unwrap_err();
        assert_eq!((error.key.as_str(), error.message.as_str()), ("service", "is missing: the service's name"));
        let error = declaration().fill(&json!({"service": "web", "helth": {}})).unwrap_err();
        assert_eq!(error.hint.unwrap(), "did you mean `health`?");
        let error = declaration().fill(&json!({"service": "web", "port": "eighty"})).unwrap_err();
        assert_eq!(error.message, "must be an int, not the string `eighty`");
        let error = declaration().fill(&json!({"service": "web", "health": 5})).unwrap_err();
        assert_eq!(error.key, "health");
    }

    #[test]
    fn a_plain_value_is_refused_with_the_declaration_to_write() {
        let health = Map::from([("path".into(), "x".into())]);
        let map = Map::from([("health".into(), Dynamic::from_map(health))]);
        let error = Declaration::read(&map).unwrap_err();
        assert_eq!(error.key, "health.path");
        assert_eq!(error.hint.unwrap(), "write `path: optional(\"string\", \"x\", \"what it is for\")`");
        let error = Declaration::read(&Map::from([("port".into(), Dynamic::from(80_i64))])).unwrap_err();
        assert_eq!(error.hint.unwrap(), "write `port: optional(\"int\", 80, \"what it is for\")`");
    }

    #[test]
    fn set_reaches_nested_keys_and_types_them() {
        let mut given = json!({"service": "web"});
        let declaration = declaration();
        declaration.set(&mut given, "health.path", "/health").unwrap();
        declaration.set(&mut given, "port", "9000").unwrap();
        declaration.set(&mut given, "environment.PORT", "5000").unwrap();
        assert_eq!(
            given,
            json!({"service": "web", "health": {"path": "/health"}, "port": 9000, "environment": {"PORT": 5000}})
        );
        assert_eq!(declaration.set(&mut given, "port", "x").unwrap_err().message, "must be an int, not `x`");
        assert_eq!(
            declaration.set(&mut given, "health.pth", "x").unwrap_err().hint.unwrap(),
            "did you mean `health.path`?"
        );
    }
}
