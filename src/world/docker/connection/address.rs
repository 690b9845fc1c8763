//! Resolves which engine to use: the option, `DOCKER_HOST`, the active docker context, or the default socket, in this
//! order. Reads Docker's configuration; connects to nothing.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::effect::{EffectError, ErrorKind};

/// The address of an engine when none is configured.
pub const DEFAULT_ADDRESS: &str = "unix:///var/run/docker.sock";
/// The port of a TCP address that names none.
const TCP_PORT: u16 = 2375;
const SSH_PROGRAM: &str = "ssh";
const SOCKET: &str = "/var/run/docker.sock";

/// Looks up an environment variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The address of an engine, and how it was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectSpec {
    /// The address as Docker writes it: `unix:///var/run/docker.sock`, `tcp://10.0.0.5:2375`,
    /// `ssh://deploy@example.com`.
    pub address: String,
    /// How the address was chosen, for error messages.
    pub chosen_by: ChosenBy,
    /// The folder of Docker's configuration, where `docker login` stores credentials.
    pub config_folder: Option<PathBuf>,
    /// The ssh program that opens connections to other machines.
    pub ssh_program: PathBuf,
}

/// How the address of an engine was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChosenBy {
    /// By the option `--docker-host`.
    Option,
    /// By the environment variable `DOCKER_HOST`.
    Environment,
    /// By the docker context of this name.
    Context(String),
    /// By default.
    Fallback,
}

impl fmt::Display for ChosenBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option => f.write_str("`--docker-host`"),
            Self::Environment => f.write_str("`DOCKER_HOST`"),
            Self::Context(name) => write!(f, "the docker context `{name}`"),
            Self::Fallback => f.write_str("the default"),
        }
    }
}

#[derive(Deserialize)]
struct Config {
    #[serde(default, rename = "currentContext")]
    current_context: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextMeta {
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: Endpoint,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    host: String,
}

impl ConnectSpec {
    /// Uses exactly this address, without Docker's configuration.
    pub fn at(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            chosen_by: ChosenBy::Option,
            config_folder: None,
            ssh_program: SSH_PROGRAM.into(),
        }
    }

    /// Resolves the engine. `host` is the value of `--docker-host`.
    ///
    /// # Errors
    ///
    /// Returns an error when the active context does not exist or cannot be read, or when the connection needs TLS
    /// certificates.
    pub fn resolve(host: Option<&str>, environment: Environment<'_>) -> Result<Self, EffectError> {
        let set = |name: &str| environment(name).filter(|value| !value.is_empty());
        let config_folder = set("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| set("HOME").map(|home| Path::new(&home).join(".docker")));
        let (address, chosen_by) = if let Some(host) = host {
            (host.to_owned(), ChosenBy::Option)
        } else if let Some(host) = set("DOCKER_HOST") {
            if set("DOCKER_TLS_VERIFY").is_some() {
                return Err(without_tls(&host));
            }
            (host, ChosenBy::Environment)
        } else {
            let active = set("DOCKER_CONTEXT")
                .map_or_else(|| current_context(config_folder.as_deref()), |name| Ok(Some(name)))?;
            match (active, &config_folder) {
                (Some(name), Some(folder)) if name != "default" => {
                    (context_host(folder, &name)?, ChosenBy::Context(name))
                }
                _ => (DEFAULT_ADDRESS.to_owned(), ChosenBy::Fallback),
            }
        };
        Ok(Self { address, chosen_by, config_folder, ssh_program: SSH_PROGRAM.into() })
    }
}

/// Returns the context that `docker context use` selected.
fn current_context(config_folder: Option<&Path>) -> Result<Option<String>, EffectError> {
    let Some(path) = config_folder.map(|folder| folder.join("config.json")) else {
        return Ok(None);
    };
    let Ok(text) = std::fs::read(&path) else {
        return Ok(None);
    };
    let config: Config = serde_json::from_slice(&text).map_err(|error| {
        EffectError::new(
            ErrorKind::Invalid,
            format!("cannot read docker's configuration `{}`: {error}", path.display()),
        )
        .hint("fix the file, name the engine with `--docker-host URL`, or use `--engine local`")
        .not_applied()
    })?;
    Ok(config.current_context.filter(|name| !name.is_empty()))
}

/// Docker stores a context's metadata in a folder named by the digest of the context's name.
fn context_host(config_folder: &Path, name: &str) -> Result<String, EffectError> {
    let digest: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
    let path = config_folder.join("contexts/meta").join(digest).join("meta.json");
    let broken = |why: String| {
        EffectError::new(ErrorKind::NotFound, format!("cannot use the docker context `{name}`: {why}"))
            .hint("list the contexts: docker context ls; or name the engine with `--docker-host URL`, or use `--engine local`")
            .not_applied()
    };
    let text = std::fs::read(&path).map_err(|error| broken(format!("`{}`: {error}", path.display())))?;
    let meta: ContextMeta = serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
    Ok(meta.endpoints.docker.host)
}

fn without_tls(address: &str) -> EffectError {
    EffectError::new(ErrorKind::Unsupported, format!("`{address}` requires TLS, which is not supported"))
        .hint("reach the engine over ssh: --docker-host ssh://user@host")
        .not_applied()
}

/// A parsed address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Unix(PathBuf),
    Tcp { host: String, port: u16 },
    Ssh(SshAddress),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SshAddress {
    pub user: Option<String>,
    pub host: String,
    pub port: Option<u16>,
    /// The engine's socket on the remote machine.
    pub socket: String,
}

impl Address {
    pub(super) fn parse(address: &str) -> Result<Self, EffectError> {
        let invalid = || {
            EffectError::new(ErrorKind::Invalid, format!("`{address}` is not a valid docker engine address"))
                .hint(
                    "write it like `unix:///var/run/docker.sock`, `tcp://10.0.0.5:2375` or `ssh://user@example.com:22`",
                )
                .not_applied()
        };
        let (scheme, rest) = match address.split_once("://") {
            Some(parts) => parts,
            None if address.starts_with('/') => ("unix", address),
            None => ("tcp", address),
        };
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Unix(rest.into())),
            "tcp" | "http" => {
                let (host, port) = host_and_port(rest.trim_end_matches('/')).ok_or_else(invalid)?;
                Ok(Self::Tcp { host, port: port.unwrap_or(TCP_PORT) })
            }
            "https" => Err(without_tls(address)),
            "ssh" => {
                let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
                let (user, host_port) =
                    authority.rsplit_once('@').map_or((None, authority), |(user, host_port)| (Some(user), host_port));
                let (host, port) = host_and_port(host_port).ok_or_else(invalid)?;
                // ssh would read a leading dash as an option.
                if host.starts_with('-') || user.is_some_and(|user| user.is_empty() || user.starts_with('-')) {
                    return Err(invalid());
                }
                let socket = if path.trim_matches('/').is_empty() { SOCKET } else { path };
                Ok(Self::Ssh(SshAddress { user: user.map(Into::into), host, port, socket: socket.into() }))
            }
            _ => Err(invalid()),
        }
    }
}

/// Parses `host`, `host:port` or `[::1]:port`.
fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
    } else {
        text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
    };
    let port = port.map(|port| port.parse().ok()).map_or(Some(None), |port| port.map(Some))?;
    let is_host =
        !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':'));
    is_host.then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssh(user: Option<&str>, host: &str, port: Option<u16>, socket: &str) -> Address {
        Address::Ssh(SshAddress { user: user.map(Into::into), host: host.into(), port, socket: socket.into() })
    }

    #[test]
    fn parses_addresses() {
        for (text, address) in [
            ("unix:///run/x.sock", Address::Unix("/run/x.sock".into())),
            ("/run/x.sock", Address::Unix("/run/x.sock".into())),
            ("tcp://10.0.0.5", Address::Tcp { host: "10.0.0.5".into(), port: 2375 }),
            ("http://[::1]:80/", Address::Tcp { host: "::1".into(), port: 80 }),
            ("10.0.0.5:99", Address::Tcp { host: "10.0.0.5".into(), port: 99 }),
            ("ssh://example.com", ssh(None, "example.com", None, SOCKET)),
            ("ssh://me@example.com:2222/", ssh(Some("me"), "example.com", Some(2222), SOCKET)),
            (
                "ssh://me@example.com/run/user/1/docker.sock",
                ssh(Some("me"), "example.com", None, "/run/user/1/docker.sock"),
            ),
        ] {
            assert_eq!(Address::parse(text).unwrap(), address, "{text}");
        }
        for text in
            ["", "unix://", "tcp://", "ftp://x", "ssh://-oProxyCommand=x", "ssh://@h", "tcp://h:port", "tcp://a b"]
        {
            assert_eq!(Address::parse(text).unwrap_err().kind, ErrorKind::Invalid, "{text}");
        }
        assert_eq!(Address::parse("https://h").unwrap_err().kind, ErrorKind::Unsupported);
    }

    fn folder_with_context() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join(".docker");
        let digest = Sha256::digest("far").iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let meta = config.join("contexts/meta").join(digest);
        std::fs::create_dir_all(&meta).unwrap();
        std::fs::write(
            meta.join("meta.json"),
            r#"{"Name":"far","Metadata":{},"Endpoints":{"docker":{"Host":"ssh://far.example","SkipTLSVerify":false}}}"#,
        )
        .unwrap();
        std::fs::write(config.join("config.json"), r#"{"auths":{},"currentContext":"far"}"#).unwrap();
        folder
    }

    fn resolve(host: Option<&str>, set: &[(&str, &str)]) -> Result<(String, ChosenBy), EffectError> {
        let lookup = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        ConnectSpec::resolve(host, &lookup).map(|spec| (spec.address, spec.chosen_by))
    }

    #[test]
    fn the_most_specific_setting_wins() {
        let folder = folder_with_context();
        let home = folder.path().to_str().unwrap();
        let far = || ("ssh://far.example".to_owned(), ChosenBy::Context("far".into()));
        assert_eq!(resolve(None, &[]).unwrap(), (DEFAULT_ADDRESS.into(), ChosenBy::Fallback));
        assert_eq!(resolve(None, &[("HOME", home)]).unwrap(), far());
        assert_eq!(
            resolve(None, &[("HOME", "/nowhere"), ("DOCKER_CONFIG", &format!("{home}/.docker"))]).unwrap(),
            far()
        );
        assert_eq!(
            resolve(None, &[("HOME", home), ("DOCKER_CONTEXT", "default")]).unwrap(),
            (DEFAULT_ADDRESS.into(), ChosenBy::Fallback)
        );
        let set = [("HOME", home), ("DOCKER_HOST", "tcp://h:1"), ("DOCKER_CONTEXT", "far")];
        assert_eq!(resolve(None, &set).unwrap(), ("tcp://h:1".into(), ChosenBy::Environment));
        assert_eq!(resolve(Some("unix:///x"), &set).unwrap(), ("unix:///x".into(), ChosenBy::Option));
        assert_eq!(resolve(None, &[("HOME", home), ("DOCKER_HOST", "")]).unwrap(), far());
    }

    #[test]
    fn a_missing_context_and_tls_are_reported() {
        let folder = folder_with_context();
        let home = folder.path().to_str().unwrap();
        let error = resolve(None, &[("HOME", home), ("DOCKER_CONTEXT", "gone")]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert!(error.message.contains("`gone`"), "{error}");
        let error = resolve(None, &[("DOCKER_HOST", "tcp://h:2376"), ("DOCKER_TLS_VERIFY", "1")]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
    }
}
