//! What `docker login` stored, for pulls, pushes and builds. Never shown, never journalled.

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

use super::names::HUB;
use crate::base::text::Text;
use crate::base::vault::Vault;
use crate::effect::{EffectError, ErrorKind};

/// Time for a credential helper, which may ask a keyring.
const HELPER: Duration = Duration::from_secs(10);
/// The name under which docker stores what belongs to the default registry.
const HUB_KEY: &str = "https://index.docker.io/v1/";
/// The user name by which a helper says that the secret is a token.
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
struct HelperAnswer {
    username: String,
    secret: String,
}

/// The given user name and password, else what is stored for the registry, else none.
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
        return Err(EffectError::new(ErrorKind::Invalid, "`username` and `password` are needed together").not_applied());
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

/// All that is stored without a helper, by registry: a build may pull from any of them.
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
        // Where it is broken, not what is there: it may be a password.
        EffectError::new(
            ErrorKind::Invalid,
            format!("docker's configuration `{}` cannot be read: line {}", path.display(), error.line()),
        )
        .not_applied()
    })
}

/// The registry's name without the scheme and path that older versions of docker stored with it.
fn plain_key(key: &str) -> &str {
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
            let key = plain_key(key);
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

/// Asks a `docker-credential-NAME` program. One that knows nothing of the registry means no credentials.
async fn ask_helper(helper: &str, key: &str, registry: &str) -> Result<Option<DockerCredentials>, EffectError> {
    let program = format!("docker-credential-{helper}");
    let broken = |kind: ErrorKind, why: String| {
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
        .map_err(|error| broken(ErrorKind::MissingTool, format!("cannot be started: {error}")))?;
    let asked = async {
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(format!("{key}\n").as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(HELPER, asked)
        .await
        .map_err(|_| broken(ErrorKind::Timeout, format!("did not answer within {} s", HELPER.as_secs())))?
        .map_err(|error| broken(ErrorKind::Failed, format!("broke off: {error}")))?;
    if !output.status.success() {
        return Ok(None);
    }
    let answer: HelperAnswer = serde_json::from_slice(&output.stdout)
        .map_err(|_| broken(ErrorKind::Failed, "gave an answer that is not understood".into()))?;
    Ok(Some(if answer.username == TOKEN_USER {
        token(answer.secret, registry)
    } else {
        basic(answer.username, answer.secret, registry)
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
    async fn finds_what_login_stored() {
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
    async fn given_ones_come_first_and_whole() {
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
    async fn a_broken_configuration_shows_no_content() {
        let folder = folder("{\"auths\": {\"r\": {\"auth\": \"cGFzcw==\" \n oops");
        let error = for_registry(Some(folder.path()), "r", (None, None), &Vault::empty()).await.unwrap_err();
        assert!(error.message.ends_with("line 2") && !error.message.contains("cGFz"), "{error}");
    }
}
