//! A published port as in a compose file: `[ADDRESS:][HOST:]CONTAINER[/PROTOCOL]`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortMapping {
    /// The address on the host. Default: every address.
    pub address: Option<IpAddr>,
    /// The port of the host; 0 lets the engine choose a free one.
    pub host_port: u16,
    /// The port inside the container.
    pub container_port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// The protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl FromStr for PortMapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not a port mapping: write it like `8081:5000`, `127.0.0.1:8081:5000` or `5000`");
        let port = |part: &str| part.parse::<u16>().map_err(|_| wrong());
        let (ports, protocol) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.split('/').next().unwrap_or(text), Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some(_) => return Err(wrong()),
        };
        let (front, container) =
            ports.rsplit_once(':').map_or((None, ports), |(front, container)| (Some(front), container));
        let container_port = port(container)?;
        if container_port == 0 {
            return Err(wrong());
        }
        let (address, host_port) = match front {
            None => (None, 0),
            Some(front) => match front.rsplit_once(':') {
                None => (None, port(front)?),
                Some((address, host)) => {
                    let bare = address.trim_start_matches('[').trim_end_matches(']');
                    let host_port = if host.is_empty() { 0 } else { port(host)? };
                    (Some(bare.parse().map_err(|_| wrong())?), host_port)
                }
            },
        };
        Ok(Self { address, host_port, container_port, protocol })
    }
}

impl fmt::Display for PortMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:{}:", self.host_port)?,
            Some(address) => write!(f, "{address}:{}:", self.host_port)?,
            None if self.host_port != 0 => write!(f, "{}:", self.host_port)?,
            None => {}
        }
        write!(f, "{}", self.container_port)?;
        if self.protocol == Protocol::Udp { f.write_str("/udp") } else { Ok(()) }
    }
}

impl Serialize for PortMapping {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PortMapping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PortMappingVisitor;
        impl de::Visitor<'_> for PortMappingVisitor {
            type Value = PortMapping;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port mapping like \"8081:5000\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PortMapping, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, port: u64) -> Result<PortMapping, E> {
                port.to_string().parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, port: i64) -> Result<PortMapping, E> {
                port.to_string().parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(PortMappingVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_compose_ports() {
        for text in ["8081:5000", "127.0.0.1:8081:5000", "5000", "53:53/udp", "[::1]:80:80", "127.0.0.1:0:5000"] {
            assert_eq!(text.parse::<PortMapping>().unwrap().to_string(), text);
        }
        assert_eq!("127.0.0.1::5000".parse::<PortMapping>().unwrap().host_port, 0);
    }

    #[test]
    fn refuses_other_texts() {
        for text in ["", ":", "80:", "70000", "a:b", "80:80/sctp", "host:80:80", "8080:0", "1:2:3:4"] {
            assert!(text.parse::<PortMapping>().is_err(), "{text}");
        }
    }
}
