//! Where a gateway lives, and whether the monitor may go there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use web_sys::Url;

use crate::monitor::ConfigFault;

/// Everything but RFC 3986's unreserved characters.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Which addresses may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Public ones only: on a hosted project, tenants choose the URLs.
    Public,
    /// Any: a project of one's own, where the gateway may well be next door.
    Any,
}

/// The base URL of a gateway: checked, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// Checks a base URL.
    ///
    /// # Errors
    /// [`ConfigFault::BadUrl`] for what is no plain `http` or `https` URL,
    /// [`ConfigFault::PrivateAddress`] for what is out of `reach`. Only the address itself is
    /// looked at: a public name that resolves to a private address passes.
    pub fn parse(base_url: &str, reach: Reach) -> Result<Self, ConfigFault> {
        let url = receiver(base_url, reach)?;
        // Not by `search` and `hash`, which are empty for a bare `?` or `#`.
        if url.contains(['?', '#']) {
            return Err(ConfigFault::BadUrl);
        }
        Ok(Self(url.trim_end_matches('/').to_owned()))
    }

    /// The URL of the base itself.
    pub fn root(&self) -> String {
        format!("{}/", self.0)
    }

    /// The URL of a route below the base; every segment is percent-encoded. `None` where a segment
    /// would not survive as one (`.` and `..` are resolved away even when encoded).
    pub fn route<const N: usize>(&self, segments: [&str; N]) -> Option<String> {
        let mut url = self.0.clone();
        for segment in segments {
            if matches!(segment, "" | "." | "..") {
                return None;
            }
            url.push('/');
            url.extend(utf8_percent_encode(segment, SEGMENT));
        }
        Some(url)
    }
}

/// Checks a URL that is used as it is, with whatever path and query it has.
///
/// # Errors
/// As [`Address::parse`].
pub fn receiver(url: &str, reach: Reach) -> Result<String, ConfigFault> {
    let url = Url::new(url).map_err(|_| ConfigFault::BadUrl)?;
    let plain = matches!(url.protocol().as_str(), "http:" | "https:")
        && url.username().is_empty()
        && url.password().is_empty();
    if !plain {
        return Err(ConfigFault::BadUrl);
    }
    if reach == Reach::Public && !is_public_host(&url.hostname()) {
        return Err(ConfigFault::PrivateAddress);
    }
    Ok(url.href())
}

/// A value for the query of a URL, percent-encoded.
pub fn query_value(value: &str) -> String {
    utf8_percent_encode(value, SEGMENT).to_string()
}

/// Whether a host, spelled as the URL standard normalizes it, is on the public internet.
pub fn is_public_host(host: &str) -> bool {
    let unbracketed = host.trim_start_matches('[').trim_end_matches(']');
    match unbracketed.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => is_public_v4(ip),
        Ok(IpAddr::V6(ip)) => is_public_v6(ip),
        Err(_) => is_public_name(host),
    }
}

/// Names without a dot, and those reserved for local use (RFC 6761, RFC 6762, RFC 9476).
fn is_public_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let local = ["localhost", "local", "internal", "home.arpa", "lan"];
    name.contains('.')
        && !local.iter().any(|suffix| {
            name.strip_suffix(suffix)
                .is_some_and(|rest| rest.ends_with('.'))
        })
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let protocol_assignments = a == 192 && b == 0 && c == 0;
    let benchmarking = a == 198 && (18..20).contains(&b);
    !(a == 0
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || shared
        || protocol_assignments
        || benchmarking
        || a >= 224)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(v4) = embedded_v4(ip) {
        return is_public_v4(v4);
    }
    let [first, second, ..] = ip.segments();
    let global_unicast = first & 0xe000 == 0x2000;
    // Teredo among them, which stands for an IPv4 address too.
    let protocol_assignments = first == 0x2001 && second < 0x0200;
    let documentation =
        (first == 0x2001 && second == 0x0db8) || (first == 0x3fff && second < 0x1000);
    global_unicast && !protocol_assignments && !documentation
}

/// The IPv4 address that an IPv6 one stands for: mapped, NAT64, or 6to4.
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = ip.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match s {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => ip.to_ipv4_mapped(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_hosts_are_told_from_public_ones() {
        for host in [
            "api.exemplo.com.br",
            "evolution.example.org",
            "1.1.1.1",
            "100.128.0.1",
            "172.32.0.1",
            "[2606:4700::1111]",
            "[2001:200::1]",
            "mylocal.com",
            "exemplo.com.",
        ] {
            assert!(is_public_host(host), "{host}");
        }
        for host in [
            "localhost",
            "app.localhost",
            "kong",
            "evolution",
            "printer.local",
            "metadata.google.internal",
            "nas.lan",
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[fc00::1]",
            "[fe80::1]",
            "[::ffff:10.0.0.1]",
            "[64:ff9b::a00:1]",
            "[2002:7f00:1::]",
            "[2001::7f00:1]",
            "[2001:db8::1]",
            "[3fff::1]",
        ] {
            assert!(!is_public_host(host), "{host}");
        }
    }

    #[test]
    fn names_stay_one_segment() {
        let address = Address("https://gw.example".to_owned());
        assert_eq!(
            address
                .route(["instance", "Pousada São João / recepção"])
                .as_deref(),
            Some(
                "https://gw.example/instance/Pousada%20S%C3%A3o%20Jo%C3%A3o%20%2F%20recep%C3%A7%C3%A3o"
            )
        );
        for bad in ["", ".", ".."] {
            assert_eq!(address.route(["instance", bad]), None, "{bad:?}");
        }
    }
}
