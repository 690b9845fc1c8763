//! The parameters that a script declares, and the values that a user gives for them.

use std::collections::BTreeMap;

use rhai::{Dynamic, Map};
use serde_json::{Map as JsonMap, Value};

use super::value::{from_json, to_json};
use crate::base::byte_size::ByteSize;
use crate::base::duration_text::DurationText;
use crate::base::suggest::did_you_mean;

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamType {
    String,
    Int,
    Float,
    Bool,
    /// Like `30s`.
    Duration,
    /// Like `512m`.
    Size,
    List,
    Map,
}

const TYPES: [(&str, ParamType); 8] = [
    ("string", ParamType::String),
    ("int", ParamType::Int),
    ("float", ParamType::Float),
    ("bool", ParamType::Bool),
    ("duration", ParamType::Duration),
    ("size", ParamType::Size),
    ("list", ParamType::List),
    ("map", ParamType::Map),
];

impl ParamType {
    /// # Errors
    /// Names the types there are.
    pub fn parse(name: &str) -> Result<Self, String> {
        TYPES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind).ok_or_else(|| {
            let names = TYPES.map(|(known, _)| known);
            let hint = did_you_mean(name, names).unwrap_or_else(|| format!("the types are {}", names.join(", ")));
            format!("`{name}` is not a parameter type; {hint}")
        })
    }

    pub fn name(self) -> &'static str {
        TYPES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    fn phrase(self) -> String {
        let article = if self == Self::Int { "an" } else { "a" };
        format!("{article} {}", self.name())
    }

    /// The value as this type; a text from the command line is read as the type wants it.
    fn accept(self, value: &Value) -> Result<Value, String> {
        let wrong = || format!("must be {}, not {}", self.phrase(), describe(value));
        match (self, value) {
            (Self::Bool, Value::Bool(_)) | (Self::List, Value::Array(_)) | (Self::Map, Value::Object(_)) => {
                Ok(value.clone())
            }
            (Self::String, Value::String(_)) => Ok(value.clone()),
            (Self::String, Value::Object(map)) if map.contains_key("secret_text") => Ok(value.clone()),
            (Self::String, Value::Number(number)) => Ok(Value::String(number.to_string())),
            (Self::Int, Value::Number(number)) if number.is_i64() => Ok(value.clone()),
            (Self::Float, Value::Number(_)) => Ok(value.clone()),
            (Self::Duration, Value::String(text)) => text.parse::<DurationText>().map(|_| value.clone()),
            (Self::Size, Value::String(text)) => text.parse::<ByteSize>().map(|_| value.clone()),
            (Self::Size, Value::Number(number)) if number.is_u64() => Ok(value.clone()),
            _ => Err(wrong()),
        }
    }

    /// A text from the command line as this type.
    fn read(self, text: &str) -> Result<Value, String> {
        let wrong = || format!("must be {}, not `{text}`", self.phrase());
        match self {
            Self::String | Self::Duration | Self::Size => self.accept(&Value::String(text.into())),
            Self::Int => text.parse::<i64>().map(Value::from).map_err(|_| wrong()),
            Self::Float => {
                text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from).ok_or_else(wrong)
            }
            Self::Bool => text.parse::<bool>().map(Value::from).map_err(|_| wrong()),
            Self::List if !text.trim_start().starts_with('[') => Ok(match text.trim() {
                "" => Value::Array(Vec::new()),
                text => text.split(',').map(|item| Value::String(item.trim().into())).collect(),
            }),
            Self::List | Self::Map => {
                let value: Value = serde_json::from_str(text).map_err(|_| format!("{}: write it as JSON", wrong()))?;
                self.accept(&value)
            }
        }
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::String(text) => format!("the string `{text}`"),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a map".into(),
        other => format!("`{other}`"),
    }
}

/// One declared parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    pub kind: ParamType,
    /// None: it must be given.
    pub default: Option<Value>,
    pub doc: String,
}

/// A parameter, or a named group of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Declared {
    Param(Param),
    Group(Declaration),
}

/// What a script declares with `params(#{...})`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declaration(pub BTreeMap<String, Declared>);

/// What is wrong with a given parameter, and where it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamError {
    /// `health.path`
    pub key: String,
    pub message: String,
    pub hint: Option<String>,
}

impl Declaration {
    /// Reads the map given to `params`.
    ///
    /// # Errors
    /// Names the entry that is neither a parameter nor a group.
    pub fn read(map: &Map) -> Result<Self, String> {
        map.iter()
            .map(|(key, value)| {
                let declared = if let Some(param) = value.read_lock::<Param>() {
                    Declared::Param(param.clone())
                } else if let Ok(group) = value.as_map_ref() {
                    Declared::Group(Self::read(&group).map_err(|why| format!("{key}.{why}"))?)
                } else {
                    return Err(format!("{key} must be `required(...)`, `optional(...)` or a map of these"));
                };
                Ok((key.to_string(), declared))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Every parameter with its full name, groups flattened: `health.path`.
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

    /// The values that the script gets: what was given, checked, and defaults for the rest.
    ///
    /// # Errors
    /// Unknown, missing or mistyped parameters.
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
                        hint: Some(format!("give it with `--set {key}=...` or in the file of `--config`")),
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

    /// A `--set KEY=VALUE` put into `given`, typed by the declaration. A key below a map reaches into it.
    ///
    /// # Errors
    /// Unknown key, or a value of the wrong type.
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
                    let message = "is a group of parameters and has no value of its own".into();
                    return Err(ParamError { key: key.into(), message, hint: Some(format!("set `{key}.NAME`")) });
                }
                Some(Declared::Param(param)) => {
                    let rest = path.len() - depth - 1;
                    let value = match (param.kind, rest) {
                        (kind, 0) => kind.read(text),
                        // Below a free map, values are what they look like.
                        (ParamType::Map, _) => {
                            Ok(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.into())))
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

/// `required(type, doc)`
///
/// # Errors
/// When the type is not one.
pub fn required(kind: &str, doc: &str) -> Result<Param, String> {
    Ok(Param { kind: ParamType::parse(kind)?, default: None, doc: doc.into() })
}

/// `optional(type, default, doc)`; the default may be `()`: not set.
///
/// # Errors
/// When the type is not one, or the default is not of it.
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

/// The filled parameters as the script sees them.
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
    fn fills_in_defaults() {
        let filled = declaration().fill(&json!({"service": "web"})).unwrap();
        assert_eq!(filled, json!({"service": "web", "port": 8080, "environment": {}, "health": {"path": "/"}}));
    }

    #[test]
    fn tells_what_is_missing_unknown_or_mistyped() {
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
