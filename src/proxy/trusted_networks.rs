//! The networks of the proxies in front, whose forwarded headers are kept. Pure.

use std::net::IpAddr;
use std::str::FromStr;

/// Networks by their address and the length of their prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedNetworks(Vec<(IpAddr, u8)>);

impl TrustedNetworks {
    /// Loopback and private networks.
    #[must_use]
    pub fn private() -> Self {
        "127.0.0.0/8,::1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7".parse().unwrap_or_default()
    }

    /// Returns whether the address is in one of the networks.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|(network, length)| network_of(address, *length) == network_of(*network, *length))
    }
}

/// Returns the first bits of an address and their version of IP.
fn network_of(address: IpAddr, length: u8) -> (bool, u128) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            (true, u32::from(address).checked_shr(32 - u32::from(length.min(32))).unwrap_or_default().into())
        }
        IpAddr::V6(address) => {
            (false, u128::from(address).checked_shr(128 - u32::from(length.min(128))).unwrap_or_default())
        }
    }
}

impl FromStr for TrustedNetworks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = |part: &str| {
            let (address, length) =
                part.split_once('/').map_or((part, None), |(address, length)| (address, Some(length)));
            let address: IpAddr = address.parse().ok()?;
            let longest = if address.is_ipv4() { 32 } else { 128 };
            let length = length.map_or(Some(longest), |length| length.parse().ok())?;
            (length <= longest).then_some((address, length))
        };
        let parts = text.split(',').map(str::trim);
        let parsed = parts.map(|part| {
            network(part)
                .ok_or_else(|| format!("`{part}` is not a network such as `10.0.0.0/8` or an address such as `::1`"))
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(networks: &str, address: &str) -> bool {
        networks.parse::<TrustedNetworks>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn an_address_belongs_to_its_network_only() {
        assert!(contains("10.0.0.0/8,::1", "10.1.2.3") && contains("10.0.0.0/8, ::1", "::1"));
        assert!(contains("10.0.0.0/8", "::ffff:10.1.2.3") && contains("fd00::/8", "fd12::1"));
        assert!(contains("0.0.0.0/0", "9.9.9.9") && !contains("0.0.0.0/0", "::2"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1") && !contains("10.0.0.1", "10.0.0.2"));
        assert!(!TrustedNetworks::default().contains("127.0.0.1".parse().unwrap()));
        let private = TrustedNetworks::private();
        assert!(private.contains("172.31.0.1".parse().unwrap()) && !private.contains("172.32.0.1".parse().unwrap()));
    }

    #[test]
    fn what_is_not_a_network_is_refused() {
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "localhost", "10.0.0.1,", "10.0.0.0/"] {
            assert!(wrong.parse::<TrustedNetworks>().is_err(), "{wrong}");
        }
    }
}
