//! The account for S3-compatible storage or CloudWatch Logs: from the options of the request, the environment and the
//! AWS profile, in this order. Knows no bucket.

use std::collections::BTreeMap;

use crate::effect::object::S3Access;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::services::environment::EnvLookup;

/// Endpoint, region and credentials, with secrets revealed.
pub(crate) struct AwsAccount {
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub keys: Option<AccessKeys>,
    /// Variables that name the role of a container or of a web identity.
    pub role: Vec<(&'static str, String)>,
}

pub(crate) struct AccessKeys {
    pub access: String,
    pub secret: String,
    pub token: Option<String>,
}

impl AccessKeys {
    /// Returns whether the keys can be sent in a header.
    fn are_valid(&self) -> bool {
        let is_printable = |text: &String| text.bytes().all(|byte| byte.is_ascii_graphic());
        is_printable(&self.access) && is_printable(&self.secret) && self.token.as_ref().is_none_or(is_printable)
    }
}

/// An AWS service with an endpoint variable of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AwsService {
    S3,
    CloudWatchLogs,
}

impl AwsService {
    fn endpoint_variable(self) -> &'static str {
        match self {
            Self::S3 => "AWS_ENDPOINT_URL_S3",
            Self::CloudWatchLogs => "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS",
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

impl AwsAccount {
    /// Resolves the account of a request. Keys come from the request, the environment or the profile; without any, the
    /// role's credentials are used.
    pub(crate) fn resolve(
        call: &Call,
        service: AwsService,
        access: &S3Access,
        env: &EnvLookup,
    ) -> Result<Self, EffectError> {
        let variable = |name: &str| env(name).filter(|value| !value.is_empty());
        let profile = profile(&variable);
        let request_keys = match (&access.access_key, &access.secret_key) {
            (Some(key), Some(secret)) => Some(AccessKeys {
                access: call.vault.reveal(key)?,
                secret: call.vault.reveal(secret)?,
                token: access.session_token.as_ref().map(|token| call.vault.reveal(token)).transpose()?,
            }),
            (None, None) => None,
            _ => {
                let message = "`s3` needs both `access_key` and `secret_key`";
                return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
            }
        };
        let keys = request_keys
            .or_else(|| {
                Some(AccessKeys {
                    access: variable("AWS_ACCESS_KEY_ID")?,
                    secret: variable("AWS_SECRET_ACCESS_KEY")?,
                    token: variable("AWS_SESSION_TOKEN"),
                })
            })
            .or_else(|| {
                Some(AccessKeys {
                    access: profile.get("aws_access_key_id")?.clone(),
                    secret: profile.get("aws_secret_access_key")?.clone(),
                    token: profile.get("aws_session_token").cloned(),
                })
            });
        if keys.as_ref().is_some_and(|keys| !keys.are_valid()) {
            let message = "an access key contains an invalid character, such as a line break";
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

/// Returns the settings of the selected profile, from the config and the credentials file.
fn profile(variable: &dyn Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
    let home = variable("HOME");
    let file = |name: &str, default: &str| {
        variable(name).or_else(|| home.as_ref().map(|home| format!("{home}/.aws/{default}")))
    };
    let name = variable("AWS_PROFILE").unwrap_or_else(|| "default".into());
    let read = |path: Option<String>| path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let mut found = section(&read(file("AWS_CONFIG_FILE", "config")), &[&name, &format!("profile {name}")]);
    found.extend(section(&read(file("AWS_SHARED_CREDENTIALS_FILE", "credentials")), &[&name]));
    found
}

/// Returns the `key = value` lines of the sections `[NAME]`. Nested settings, which are indented, are left out.
fn section(text: &str, names: &[&str]) -> BTreeMap<String, String> {
    let mut in_section = false;
    let mut found = BTreeMap::new();
    for line in text.lines() {
        if let Some(name) = line.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            in_section = names.contains(&name.trim());
        } else if let Some((key, value)) = line.split_once('=')
            && in_section
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
            "[other]\nregion = no\n[profile shop]\n# a comment = no\nregion=eu-central-1\ns3 =\n  endpoint_url = no\n";
        let found = section(text, &["shop", "profile shop"]);
        assert_eq!(found.get("region").map(String::as_str), Some("eu-central-1"));
        assert!(!found.contains_key("endpoint_url"));
    }
}
