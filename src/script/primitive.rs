//! A primitive: its documentation, its options, and the conversion of a call's arguments to an effect.

use rhai::Dynamic;
use serde_json::{Map, Value};

use super::value::{to_json, type_phrase};
use crate::base::suggest::did_you_mean;
use crate::effect::{Effect, EffectError, ErrorKind, Request};

/// A primitive as scripts see it. Checks, error messages, help and the reference all use it.
#[derive(Clone)]
pub struct Primitive {
    /// Its name in scripts, which is the kind of its effect.
    pub name: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// Options that can be given by position, in this order, before the map.
    pub positional: &'static [&'static str],
    /// All options.
    pub options: Vec<PrimitiveOption>,
    /// What it returns.
    pub returns: &'static str,
    /// Its own error kinds, besides those that every primitive may end with.
    pub errors: &'static [ErrorKind],
    /// How a rollback undoes it; empty if it only reads.
    pub undo: &'static str,
    /// A call that works.
    pub example: &'static str,
    decode: fn(Value) -> Result<Effect, EffectError>,
}

/// An option of a primitive.
#[derive(Clone, Copy, Debug)]
pub struct PrimitiveOption {
    /// Its key.
    pub name: &'static str,
    /// Its type, as the documentation shows it.
    pub kind: &'static str,
    /// Its default, as the documentation shows it; `None` if it is required.
    pub default: Option<&'static str>,
    /// Its description.
    pub doc: &'static str,
}

impl Primitive {
    /// Creates the primitive that requests `R`.
    #[must_use]
    pub fn of<R: Request>(summary: &'static str) -> Self {
        Self {
            name: R::KIND,
            summary,
            positional: &[],
            options: Vec::new(),
            returns: "nothing",
            errors: &[],
            undo: "",
            example: "",
            decode: decode::<R>,
        }
    }

    /// Sets the options that can be given by position.
    #[must_use]
    pub fn positional(mut self, names: &'static [&'static str]) -> Self {
        self.positional = names;
        self
    }

    /// Adds a required option.
    #[must_use]
    pub fn required(mut self, name: &'static str, kind: &'static str, doc: &'static str) -> Self {
        self.options.push(PrimitiveOption { name, kind, default: None, doc });
        self
    }

    /// Adds an option with a default.
    #[must_use]
    pub fn optional(
        mut self,
        name: &'static str,
        kind: &'static str,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        self.options.push(PrimitiveOption { name, kind, default: Some(default), doc });
        self
    }

    /// Documents the return value.
    #[must_use]
    pub fn returns(mut self, text: &'static str) -> Self {
        self.returns = text;
        self
    }

    /// Documents its own error kinds.
    #[must_use]
    pub fn errors(mut self, kinds: &'static [ErrorKind]) -> Self {
        self.errors = kinds;
        self
    }

    /// Documents how a rollback undoes it.
    #[must_use]
    pub fn undo(mut self, text: &'static str) -> Self {
        self.undo = text;
        self
    }

    /// Sets an example that works.
    #[must_use]
    pub fn example(mut self, text: &'static str) -> Self {
        self.example = text;
        self
    }

    /// Returns the numbers of arguments that a call can have.
    pub fn arities(&self) -> std::ops::RangeInclusive<usize> {
        let required = self.options.iter().filter(|option| option.default.is_none()).count();
        let least = if required == 0 { 0 } else { 1 };
        let most = self.positional.len()
            + usize::from(self.options.len() > self.positional.len() || self.positional.is_empty());
        least..=if self.options.is_empty() { 0 } else { most }
    }

    /// Returns the call on one line: `docker_stop(container, #{grace, signal})`.
    pub fn signature(&self) -> String {
        let rest: Vec<&str> =
            self.options.iter().map(|option| option.name).filter(|name| !self.positional.contains(name)).collect();
        let mut parts: Vec<String> = self.positional.iter().map(|name| (*name).to_owned()).collect();
        if !rest.is_empty() {
            parts.push(format!("#{{{}}}", rest.join(", ")));
        }
        format!("{}({})", self.name, parts.join(", "))
    }

    /// Converts the arguments of a call to an effect.
    ///
    /// # Errors
    /// Fails with [`ErrorKind::Invalid`] on an unknown or missing option or a wrong type.
    pub fn effect(&self, args: &[Dynamic]) -> Result<Effect, EffectError> {
        let map = self.collect(args)?;
        if let Some(unknown) = map.keys().find(|key| self.options.iter().all(|option| option.name != key.as_str())) {
            return Err(self.unknown_option(unknown));
        }
        if let Some(missing) = self
            .options
            .iter()
            .find(|option| option.default.is_none() && map.get(option.name).is_none_or(Value::is_null))
        {
            return Err(self
                .invalid(format!("`{}` needs `{}`: {}", self.name, missing.name, missing.doc))
                .hint(format!("example: {}", self.example.lines().next().unwrap_or_default())));
        }
        // An option set to `()` counts as not given, so that scripts can pass on optional parameters.
        let given = map.into_iter().filter(|(_, value)| !value.is_null()).collect();
        (self.decode)(Value::Object(given))
    }

    /// Returns the error for an unknown option.
    pub fn unknown_option(&self, key: &str) -> EffectError {
        let error = self.invalid(format!("`{}` has no option `{key}`", self.name));
        match did_you_mean(key, self.options.iter().map(|option| option.name)) {
            Some(hint) => error.hint(hint),
            None => error.hint(format!("usage: {}", self.signature())),
        }
    }

    /// Merges positional arguments and the map of options.
    fn collect(&self, args: &[Dynamic]) -> Result<Map<String, Value>, EffectError> {
        let mut map = Map::new();
        let (by_position, by_map) = match args.split_last() {
            Some((last, front)) if self.is_options(last, front.len()) => (front, Some(last)),
            _ => (args, None),
        };
        if by_position.len() > self.positional.len() {
            let surplus = &by_position[self.positional.len()];
            return Err(self.invalid(format!("`{}` expects a map here, not {}", self.name, type_phrase(surplus))));
        }
        for (name, value) in self.positional.iter().zip(by_position) {
            map.insert((*name).to_owned(), self.json(value)?);
        }
        if let Some(Value::Object(options)) = by_map.map(|value| self.json(value)).transpose()? {
            for (key, value) in options {
                if map.insert(key.clone(), value).is_some() {
                    return Err(self.invalid(format!("`{}` got `{key}` twice: by position and in the map", self.name)));
                }
            }
        }
        Ok(map)
    }

    /// Whether the last argument is the map of options, and not a container (a map with `id`) or a positional value.
    fn is_options(&self, last: &Dynamic, before: usize) -> bool {
        let Ok(map) = last.as_map_ref() else { return false };
        if before >= self.positional.len() {
            return true;
        }
        let takes =
            |kind| self.options.iter().any(|option| option.name == self.positional[before] && option.kind == kind);
        let is_container = takes("container") && map.contains_key("id");
        let is_target = takes("target") && (map.contains_key("id") || map.contains_key("address"));
        let is_value = takes("map") && before > 0;
        !is_container && !is_target && !is_value
    }

    fn json(&self, value: &Dynamic) -> Result<Value, EffectError> {
        to_json(value).map_err(|why| self.invalid(format!("`{}`: {why}", self.name)))
    }

    fn invalid(&self, message: String) -> EffectError {
        EffectError::new(ErrorKind::Invalid, message).not_applied()
    }
}

fn decode<R: Request>(args: Value) -> Result<Effect, EffectError> {
    // Tracking the path doubles the cost, so it is done only to report an error.
    if let Ok(request) = R::deserialize(&args) {
        return Ok(request.into());
    }
    serde_path_to_error::deserialize::<_, R>(args).map(Into::into).map_err(|error| {
        let path = error.path().to_string();
        let why = error.inner().to_string();
        let place = if path == "." { String::new() } else { format!(" `{path}`:") };
        EffectError::new(ErrorKind::Invalid, format!("`{}`:{place} {why}", R::KIND)).not_applied()
    })
}
