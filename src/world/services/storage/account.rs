//! Who asks S3-compatible storage or CloudWatch Logs, and where: the request's own words, then the environment's usual chain.
//! Knows no bucket.

use std::collections::BTreeMap;

use super::super::EnvLookup;
use crate::effect::object::S3Access;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// Keys and places, revealed.
pub(super) struct Account {
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub keys: Option<Keys>,
    /// Variables of roles: of a container, of a web identity.
    pub role: Vec<(&'static str, String)>,
}

pub(super) struct Keys {
    pub access: String,
    pub secret: String,
    pub token: Option<String>,
}

impl Keys {
    /// Whether they can stand in the head of a request.
    fn are_words(&self) -> bool {
        let is_word = |text: &String| text.bytes().all(|byte| byte.is_ascii_graphic());
        is_word(&self.access) && is_word(&self.secret) && self.token.as_ref().is_none_or(is_word)
    }
}

/// What is asked, by the variable that names its endpoint alone.
#[derive(Clone, Copy, Debug)]
pub(super) enum Service {
    S3,
    Logs,
}

impl Service {
    fn endpoint_variable(self) -> &'static str {
        match self {
            Self::S3 => "AWS_ENDPOINT_URL_S3",
            Self::Logs => "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS",
        }
    }
}

const ROLE_VARIABLES: [&str; 7] = [
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
];

impl Account {
    /// Keys of the request, else of the environment, else of the profile; without any, the role's.
    pub(super) fn find(call: &Call, service: Service, access: &S3Access, env: &EnvLookup) -> Result<Self, EffectError> {
        let variable = |name: &str| env(name).filter(|value| !value.is_empty());
        let profile = profile(&variable);
        let own = match (&access.access_key, &access.secret_key) {
            (Some(key), Some(secret)) => Some(Keys {
                access: call.vault.reveal(key)?,
                secret: call.vault.reveal(secret)?,
                token: access.session_token.as_ref().map(|token| call.vault.reveal(token)).transpose()?,
            }),
            (None, None) => None,
            _ => {
                let message = "`s3` needs `access_key` and `secret_key` together";
                return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
            }
        };
        let keys = own
            .or_else(|| {
                Some(Keys {
                    access: variable("AWS_ACCESS_KEY_ID")?,
                    secret: variable("AWS_SECRET_ACCESS_KEY")?,
                    token: variable("AWS_SESSION_TOKEN"),
                })
            })
            .or_else(|| {
                Some(Keys {
                    access: profile.get("aws_access_key_id")?.clone(),
                    secret: profile.get("aws_secret_access_key")?.clone(),
                    token: profile.get("aws_session_token").cloned(),
                })
            });
        if keys.as_ref().is_some_and(|keys| !keys.are_words()) {
            let message = "a key has characters that no key has, such as a line break";
            return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        }
        let endpoint = access.endpoint.clone();
        let endpoint =
            endpoint.or_else(|| variable(service.endpoint_variable())).or_else(|| variable("AWS_ENDPOINT_URL"));
        let region = access.region.clone().or_else(|| variable("AWS_REGION"));
        Ok(Self {
            endpoint: endpoint.or_else(|| profile.get("endpoint_url").cloned()),
            region: region.or_else(|| variable("AWS_DEFAULT_REGION")).or_else(|| profile.get("region").cloned()),
            keys,
            role: ROLE_VARIABLES.iter().filter_map(|name| Some((*name, variable(name)?))).collect(),
        })
    }
}

/// The settings of the profile that is chosen, of both files.
fn profile(variable: &dyn Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
    let home = variable("HOME");
    let file =
        |name: &str, usual: &str| variable(name).or_else(|| home.as_ref().map(|home| format!("{home}/.aws/{usual}")));
    let name = variable("AWS_PROFILE").unwrap_or_else(|| "default".into());
    let read = |path: Option<String>| path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let mut found = section(&read(file("AWS_CONFIG_FILE", "config")), &[&name, &format!("profile {name}")]);
    found.extend(section(&read(file("AWS_SHARED_CREDENTIALS_FILE", "credentials")), &[&name]));
    found
}

/// `key = value` lines below `[NAME]`; nested ones, which are indented, are left out.
fn section(text: &str, names: &[&str]) -> BTreeMap<String, String> {
    let mut is_wanted = false;
    let mut found = BTreeMap::new();
    for line in text.lines() {
        if let Some(name) = line.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            is_wanted = names.contains(&name.trim());
        } else if let Some((key, value)) = line.split_once('=')
            && is_wanted
            && !line.starts_with([' ', '\t', '#', ';'])
        {
            found.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_one_section() {
        let text =
            "[other]\nregion = no\n[profile shop]\n# a remark = no\nregion=eu-central-1\ns3 =\n  endpoint_url = no\n";
        let found = section(text, &["shop", "profile shop"]);
        assert_eq!(found.get("region").map(String::as_str), Some("eu-central-1"));
        assert!(!found.contains_key("endpoint_url"));
    }
}
