//! Drivers: the program that owns a public address, and how to reach it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// The default control socket of `deployer proxy run`.
pub const PROXY_CONTROL: &str = "/run/deployer/proxy.sock";
/// Caddy's own default.
const CADDY_ADMIN: &str = "http://127.0.0.1:2019";

/// The driver of a route. Its kind alone means the defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Driver {
    /// `deployer proxy run`.
    Proxy(ProxyDriver),
    /// nginx.
    Nginx(NginxDriver),
    /// HAProxy.
    Haproxy(HaproxyDriver),
    /// Caddy.
    Caddy(CaddyDriver),
}

/// `deployer proxy run`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyDriver {
    /// Its control socket. Default `/run/deployer/proxy.sock`.
    #[serde(default = "default_control")]
    pub control: String,
}

/// nginx on this machine, whose `http` block includes a file that deployer writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NginxDriver {
    /// The file to write; no other file is written. Default `/etc/nginx/conf.d/deployer-SERVICE.conf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include: Option<String>,
    /// The command that tests the configuration. Default `nginx -t`.
    #[serde(default = "default_nginx_test")]
    pub test: Vec<String>,
    /// The command that applies it. Default `nginx -s reload`.
    #[serde(default = "default_nginx_reload")]
    pub reload: Vec<String>,
}

/// HAProxy with a runtime socket of level `admin` and a backend whose servers' addresses can be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HaproxyDriver {
    /// The runtime socket. Default `/run/haproxy/admin.sock`.
    #[serde(default = "default_haproxy_socket")]
    pub socket: String,
    /// The backend. Default: the service's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// The file of `server-state-file`, written after each change so that a reload keeps the change. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_file: Option<String>,
}

/// Caddy, through its admin API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaddyDriver {
    /// The address of the admin API. Default `http://127.0.0.1:2019`.
    #[serde(default = "default_caddy_admin")]
    pub admin: String,
}

fn default_control() -> String {
    PROXY_CONTROL.into()
}

fn default_nginx_test() -> Vec<String> {
    ["nginx", "-t"].map(Into::into).into()
}

fn default_nginx_reload() -> Vec<String> {
    ["nginx", "-s", "reload"].map(Into::into).into()
}

fn default_haproxy_socket() -> String {
    "/run/haproxy/admin.sock".into()
}

fn default_caddy_admin() -> String {
    CADDY_ADMIN.into()
}

impl Default for Driver {
    fn default() -> Self {
        Self::Proxy(ProxyDriver { control: default_control() })
    }
}

impl Driver {
    /// Returns its kind, such as `nginx`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Proxy(_) => "proxy",
            Self::Nginx(_) => "nginx",
            Self::Haproxy(_) => "haproxy",
            Self::Caddy(_) => "caddy",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

impl<'de> Deserialize<'de> for Driver {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        enum Known {
            Proxy(ProxyDriver),
            Nginx(NginxDriver),
            Haproxy(HaproxyDriver),
            Caddy(CaddyDriver),
        }
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a driver: its kind, or a map with `kind`")]
        enum Form {
            Kind(String),
            Map(serde_json::Map<String, serde_json::Value>),
        }
        let map = match Form::deserialize(deserializer)? {
            Form::Kind(kind) => serde_json::Map::from_iter([("kind".to_owned(), kind.into())]),
            Form::Map(map) => map,
        };
        if map.get("kind").is_some_and(|kind| kind == "port") {
            return Err(serde::de::Error::custom(
                "`port` is not a driver: the container itself publishes the port; cut over with `std/cutover`",
            ));
        }
        Known::deserialize(serde_json::Value::Object(map)).map_err(serde::de::Error::custom).map(|known| match known {
            Known::Proxy(driver) => Self::Proxy(driver),
            Known::Nginx(driver) => Self::Nginx(driver),
            Known::Haproxy(driver) => Self::Haproxy(driver),
            Known::Caddy(driver) => Self::Caddy(driver),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_kind_alone_means_the_defaults() {
        let proxy: Driver = serde_json::from_value(json!("proxy")).unwrap();
        assert_eq!(proxy, Driver::default());
        let back: Driver = serde_json::from_value(serde_json::to_value(&proxy).unwrap()).unwrap();
        assert_eq!(back, proxy);
        let haproxy: Driver = serde_json::from_value(json!({"kind": "haproxy", "backend": "web"})).unwrap();
        let Driver::Haproxy(haproxy) = haproxy else { panic!("{haproxy:?}") };
        assert_eq!((haproxy.socket.as_str(), haproxy.backend.as_deref()), ("/run/haproxy/admin.sock", Some("web")));
    }

    #[test]
    fn unknown_drivers_are_refused() {
        for wrong in [json!("port"), json!("apache"), json!({"kind": "proxy", "colour": "blue"}), json!(7)] {
            serde_json::from_value::<Driver>(wrong.clone()).expect_err(&wrong.to_string());
        }
    }
}
