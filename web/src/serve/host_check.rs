//! Check of the `Host` header against DNS rebinding.
//!
//! A foreign web site can point its own name at loopback (DNS rebinding). A browser on this host then sends the site's
//! requests to this service, with the name of the site in `Host`. Such requests are refused. Pure: no I/O, no clock.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::header::{HOST, HeaderMap};
use hyper::http::uri::Authority;
use hyper::{Uri, Version};

use super::error::HostError;

/// Checks that a request names exactly one host, and a loopback host if `served_on` is a loopback address.
pub(super) fn check_host(
    served_on: IpAddr,
    version: Version,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), HostError> {
    let mut values = headers.get_all(HOST).iter();
    let host = match (values.next(), values.next()) {
        (Some(host), None) => host.to_str().map_err(|_| HostError::Malformed)?,
        (Some(_), Some(_)) => return Err(HostError::Malformed),
        (None, _) if version < Version::HTTP_11 => return Ok(()),
        (None, _) => return Err(HostError::Missing),
    };
    let authority = host.parse::<Authority>().map_err(|_| HostError::Malformed)?;
    // A host has no user name before an `@`. A port is a number or empty.
    let port = authority.as_str().strip_prefix(authority.host()).ok_or(HostError::Malformed)?;
    if !matches!(port, "" | ":") && authority.port_u16().is_none() {
        return Err(HostError::Malformed);
    }
    // The request line may name a host as well: `GET http://host/path`.
    for host in [authority.host()].into_iter().chain(uri.host()) {
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
    fn loopback_hosts_are_accepted() {
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
    fn other_hosts_are_refused_on_loopback_and_accepted_elsewhere() {
        for host in
            ["evil.example", "localhost.evil.example:80", "10.0.0.1", "[::2]", "127.0.0.1.example", "0"]
        {
            assert!(matches!(check(LOOPBACK, &[host]), Err(HostError::Foreign { .. })), "{host}");
            assert_eq!(check(ANY, &[host]), Ok(()), "{host}");
        }
    }

    #[test]
    fn an_ipv4_mapped_loopback_address_is_loopback() {
        let mapped = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
        assert!(matches!(check(mapped, &["evil.example"]), Err(HostError::Foreign { .. })));
        assert_eq!(check(mapped, &["127.0.0.1"]), Ok(()));
    }

    #[test]
    fn missing_repeated_and_malformed_hosts_are_refused_everywhere() {
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
    fn a_host_in_the_request_line_is_checked_too() {
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost"))]);
        let uri = Uri::from_static("http://evil.example/stats");
        let found = check_host(LOOPBACK, Version::HTTP_11, &uri, &headers);
        assert_eq!(found, Err(HostError::Foreign { found: "evil.example".to_owned() }));
    }

    #[test]
    fn http_1_0_clients_need_no_host() {
        let found = check_host(LOOPBACK, Version::HTTP_10, &Uri::from_static("/"), &HeaderMap::new());
        assert_eq!(found, Ok(()));
    }
}
