//! Whose requests are answered.
//!
//! Owns the check of the `Host` header. A page of a foreign site can make a browser on this host ask us under the
//! site's own name, which it let lead to loopback (DNS rebinding); the name gives it away. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::header::{HOST, HeaderMap};
use hyper::http::uri::Authority;
use hyper::{Uri, Version};

/// Why a request is not answered.
#[derive(Debug, Eq, PartialEq)]
#[non_exhaustive]
pub(super) enum HostError {
    /// HTTP/1.1 asks for a `Host`.
    Missing,
    /// More than one, or none that is a host.
    Malformed,
    /// A name that is not ours.
    Foreign {
        /// The host that was asked for.
        found: String,
    },
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the request has no \"Host\" header: HTTP/1.1 asks for one"),
            Self::Malformed => {
                f.write_str("the request's \"Host\" header is not one host with or without a port: send one")
            }
            Self::Foreign { found } => write!(
                f,
                "the request is for host {found:?}, expected localhost or a loopback address: ask for one of them, \
                 or serve on another address with --ip"
            ),
        }
    }
}

impl core::error::Error for HostError {}

/// Checks that a request names one host, and that this is loopback where we serve on loopback alone.
pub(super) fn check_host(
    served_on: IpAddr,
    version: Version,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), HostError> {
    let mut named = headers.get_all(HOST).iter();
    let host = match (named.next(), named.next()) {
        (Some(host), None) => host.to_str().map_err(|_| HostError::Malformed)?,
        (Some(_), Some(_)) => return Err(HostError::Malformed),
        (None, _) if version < Version::HTTP_11 => return Ok(()),
        (None, _) => return Err(HostError::Missing),
    };
    let named = host.parse::<Authority>().map_err(|_| HostError::Malformed)?;
    // What stands before an `@` is no part of a host, and a port is a number, or nothing.
    let port = named.as_str().strip_prefix(named.host()).ok_or(HostError::Malformed)?;
    if !matches!(port, "" | ":") && named.port_u16().is_none() {
        return Err(HostError::Malformed);
    }
    // A request line with a host of its own (`GET http://host/path`) counts as well.
    for host in [named.host()].into_iter().chain(uri.host()) {
        if served_on.to_canonical().is_loopback() && !is_loopback(host) {
            return Err(HostError::Foreign { found: host.to_owned() });
        }
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || v6.is_some_and(|host| host.parse::<Ipv6Addr>().is_ok_and(|ip| ip.to_canonical().is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

    fn check(served_on: IpAddr, hosts: &[&str]) -> Result<(), HostError> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_str(host).unwrap());
        }
        check_host(served_on, Version::HTTP_11, &Uri::from_static("/stats"), &headers)
    }

    #[test]
    fn loopback_by_any_name_is_ours() {
        for host in [
            "localhost",
            "LocalHost:7828",
            "localhost:",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]",
            "[::1]:80",
            "[::ffff:127.0.0.1]",
        ] {
            assert_eq!(check(LOOPBACK, &[host]), Ok(()), "{host}");
        }
    }

    #[test]
    fn other_names_are_foreign_on_loopback_and_fine_elsewhere() {
        for host in
            ["evil.example", "localhost.evil.example:80", "10.0.0.1", "[::2]", "127.0.0.1.example", "0"]
        {
            assert!(matches!(check(LOOPBACK, &[host]), Err(HostError::Foreign { .. })), "{host}");
            assert_eq!(check(ANY, &[host]), Ok(()), "{host}");
        }
    }

    #[test]
    fn loopback_written_as_ipv6_is_loopback() {
        let mapped = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
        assert!(matches!(check(mapped, &["evil.example"]), Err(HostError::Foreign { .. })));
        assert_eq!(check(mapped, &["127.0.0.1"]), Ok(()));
    }

    #[test]
    fn none_several_and_nonsense_are_refused_everywhere() {
        assert_eq!(check(ANY, &[]), Err(HostError::Missing));
        assert_eq!(check(ANY, &["localhost", "localhost"]), Err(HostError::Malformed));
        for host in [
            "",
            "/stats",
            "a b",
            "localhost:99999",
            "127.0.0.1:none",
            "http://localhost/",
            "evil@localhost",
            "[::1",
        ] {
            assert_eq!(check(LOOPBACK, &[host]), Err(HostError::Malformed), "{host}");
        }
    }

    #[test]
    fn a_host_in_the_request_line_is_checked_as_well() {
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost"))]);
        let uri = Uri::from_static("http://evil.example/stats");
        let found = check_host(LOOPBACK, Version::HTTP_11, &uri, &headers);
        assert_eq!(found, Err(HostError::Foreign { found: "evil.example".to_owned() }));
    }

    #[test]
    fn old_clients_need_not_name_a_host() {
        let found = check_host(LOOPBACK, Version::HTTP_10, &Uri::from_static("/"), &HeaderMap::new());
        assert_eq!(found, Ok(()));
    }

    #[test]
    fn messages_say_what_was_found_and_what_to_do() {
        assert_eq!(
            HostError::Foreign { found: "evil.example".to_owned() }.to_string(),
            "the request is for host \"evil.example\", expected localhost or a loopback address: ask for one of \
             them, or serve on another address with --ip"
        );
        assert_eq!(
            HostError::Missing.to_string(),
            "the request has no \"Host\" header: HTTP/1.1 asks for one"
        );
        assert_eq!(
            HostError::Malformed.to_string(),
            "the request's \"Host\" header is not one host with or without a port: send one"
        );
    }
}
