//! Reads the credentials that `docker login` stored, for pulls, pushes and builds. They are never shown or journalled.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::auth::DockerCredentials;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::base::text::Text;
use crate::base::vault::Vault;
use crate::effect::image::HUB;
use crate::effect::{EffectError, ErrorKind};

/// How long a credential helper may take. It may need to unlock a keyring.
const HELPER_TIMEOUT: Duration = Duration::from_secs(10);
/// The key under which Docker stores credentials of the default registry.
const HUB_KEY: &str = "https://index.docker.io/v1/";
/// The user name with which a helper marks the secret as a token.
const TOKEN_USER: &str = "<token>";

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auths: HashMap<String, StoredAuth>,
    creds_store: Option<String>,
    cred_helpers: HashMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredAuth {
    auth: Option<String>,
    identitytoken: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperReply {
    username: String,
    secret: String,
}

/// Returns the given user name and password, else the stored credentials of the registry, else `None`.
pub(super) async fn for_registry(
    config_folder: Option<&Path>,
    registry: &str,
    given: (Option<&Text>, Option<&Text>),
    vault: &Vault,
) -> Result<Option<DockerCredentials>, EffectError> {
    if let (Some(username), Some(password)) = given {
        let (username, password) = (vault.reveal(username)?, vault.reveal(password)?);
        return Ok(Some(basic(username, password, registry)));
    }
    if given.0.is_some() || given.1.is_some() {
        return Err(
            EffectError::new(ErrorKind::Invalid, "`username` and `password` must be given together").not_applied()
        );
    }
    let Some(config) = read(config_folder)? else {
        return Ok(None);
    };
    let key = if registry == HUB { HUB_KEY } else { registry };
    if let Some(helper) = config.cred_helpers.get(key).or(config.creds_store.as_ref()) {
        return ask_helper(helper, key, registry).await;
    }
    Ok(stored(&config).remove(key))
}

/// Returns all credentials that are stored without a helper, by registry: a build may pull from any of them.
pub(super) fn all(config_folder: Option<&Path>) -> Result<HashMap<String, DockerCredentials>, EffectError> {
    Ok(read(config_folder)?.map(|config| stored(&config)).unwrap_or_default())
}

fn basic(username: String, password: String, registry: &str) -> DockerCredentials {
    DockerCredentials {
        username: Some(username),
        password: Some(password),
        serveraddress: Some(registry.to_owned()),
        ..DockerCredentials::default()
    }
}

fn token(token: String, registry: &str) -> DockerCredentials {
    DockerCredentials {
        identitytoken: Some(token),
        serveraddress: Some(registry.to_owned()),
        ..DockerCredentials::default()
    }
}

fn read(config_folder: Option<&Path>) -> Result<Option<Config>, EffectError> {
    let Some(path) = config_folder.map(|folder| folder.join("config.json")) else {
        return Ok(None);
    };
    let Ok(text) = std::fs::read(&path) else {
        return Ok(None);
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        // Report only the line: the content may be a password.
        EffectError::new(
            ErrorKind::Invalid,
            format!("cannot read docker's configuration `{}`: line {}", path.display(), error.line()),
        )
        .not_applied()
    })
}

/// Removes the scheme and path that older versions of Docker stored with the registry's name.
fn registry_of_key(key: &str) -> &str {
    if key == HUB_KEY {
        return key;
    }
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    bare.split('/').next().unwrap_or(bare)
}

fn stored(config: &Config) -> HashMap<String, DockerCredentials> {
    let decode = |auth: &str| {
        let text = String::from_utf8(STANDARD.decode(auth).ok()?).ok()?;
        let (username, password) = text.split_once(':')?;
        Some((username.to_owned(), password.trim_end_matches('\0').to_owned()))
    };
    config
        .auths
        .iter()
        .filter_map(|(key, stored)| {
            let key = registry_of_key(key);
            let credentials = match (&stored.identitytoken, &stored.auth) {
                (Some(secret), _) if !secret.is_empty() => token(secret.clone(), key),
                (_, Some(auth)) => {
                    let (username, password) = decode(auth)?;
                    basic(username, password, key)
                }
                _ => return None,
            };
            Some((key.to_owned(), credentials))
        })
        .collect()
}

/// Runs a `docker-credential-NAME` program. A helper that does not know the registry gives no credentials.
async fn ask_helper(helper: &str, key: &str, registry: &str) -> Result<Option<DockerCredentials>, EffectError> {
    let program = format!("docker-credential-{helper}");
    let failed = |kind: ErrorKind, why: String| {
        EffectError::new(kind, format!("the credential helper `{program}` {why}"))
            .hint(format!("log in again: docker login {registry}"))
            .not_applied()
    };
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(ErrorKind::MissingTool, format!("cannot be started: {error}")))?;
    let query = async {
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(format!("{key}\n").as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(HELPER_TIMEOUT, query)
        .await
        .map_err(|_| failed(ErrorKind::Timeout, format!("did not reply within {} s", HELPER_TIMEOUT.as_secs())))?
        .map_err(|error| failed(ErrorKind::Failed, format!("failed: {error}")))?;
    if !output.status.success() {
        return Ok(None);
    }
    let reply: HelperReply = serde_json::from_slice(&output.stdout)
        .map_err(|_| failed(ErrorKind::Failed, "gave an invalid reply".into()))?;
    Ok(Some(if reply.username == TOKEN_USER {
        token(reply.secret, registry)
    } else {
        basic(reply.username, reply.secret, registry)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(config: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        folder
    }

    async fn stored_for(config: &str, registry: &str) -> Option<DockerCredentials> {
        for_registry(Some(folder(config).path()), registry, (None, None), &Vault::empty()).await.unwrap()
    }

    #[tokio::test]
    async fn finds_stored_credentials() {
        let auth = STANDARD.encode("me:pass:word");
        let config = format!(
            r#"{{"auths": {{"https://r.example/v2/": {{"auth": "{auth}"}}, "{HUB_KEY}": {{"identitytoken": "tok"}}}}}}"#
        );
        let found = stored_for(&config, "r.example").await.unwrap();
        assert_eq!((found.username.as_deref(), found.password.as_deref()), (Some("me"), Some("pass:word")));
        assert_eq!(stored_for(&config, HUB).await.unwrap().identitytoken.as_deref(), Some("tok"));
        assert_eq!(stored_for(&config, "other.example").await, None);
        assert_eq!(all(Some(folder(&config).path())).unwrap().len(), 2);
    }

    #[tokio::test]
    async fn given_credentials_win_and_must_be_complete() {
        let vault = Vault::new(|name| (name == "PASSWORD").then(|| "hunter2".into()));
        let (user, password) = (Text::plain("me"), Text::secret("PASSWORD"));
        let found = for_registry(None, "r.example", (Some(&user), Some(&password)), &vault).await.unwrap().unwrap();
        assert_eq!(found.password.as_deref(), Some("hunter2"));
        let error = for_registry(None, "r.example", (Some(&user), None), &vault).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
    }

    #[tokio::test]
    async fn a_missing_helper_is_named() {
        let folder = folder(r#"{"credsStore": "no-such-helper"}"#);
        let error = for_registry(Some(folder.path()), "r.example", (None, None), &Vault::empty()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::MissingTool);
        assert!(error.message.contains("docker-credential-no-such-helper"));
    }

    #[tokio::test]
    async fn an_invalid_configuration_shows_no_content() {
        let folder = folder("{\"auths\": {\"r\": {\"auth\": \"cGFzcw==\" \n oops");
        let error = for_registry(Some(folder.path()), "r", (None, None), &Vault::empty()).await.unwrap_err();
        assert!(error.message.ends_with("line 2") && !error.message.contains("cGFz"), "{error}");
    }
}
