//! Addresses: where the broker listens and what clients are told.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A host name or an IP address, without brackets.
    pub host: String,
    /// The port; 0 stands for one of the system's choice.
    pub port: u16,
}

impl Endpoint {
    /// The socket addresses of this endpoint. May ask the name service, and so may block.
    ///
    /// # Errors
    ///
    /// The system's error for a name that cannot be resolved.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        Ok((self.host.as_str(), self.port).to_socket_addrs()?.collect())
    }

    /// Whether it stands for every interface of the machine.
    #[must_use]
    pub fn is_unspecified(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// Several addresses or none.
    #[error("must be one address, and {given} are given")]
    NotOne {
        /// How many are given.
        given: usize,
    },
    /// A protocol other than PLAINTEXT.
    #[error("{protocol:?} is not served: the protocol must be PLAINTEXT")]
    Protocol {
        /// The protocol.
        protocol: String,
    },
    /// No port, or not a number.
    #[error("must be PLAINTEXT://HOST:PORT or HOST:PORT with a port in 0..=65535")]
    Port,
    /// A host that cannot be one.
    #[error(
        "{host:?} is not a host: must be a name, an IPv4 address or an IPv6 address in brackets"
    )]
    Host {
        /// The host.
        host: String,
    },
    /// Clients are told an address that they cannot connect to.
    #[error("{host} is every interface, and no address to connect to")]
    Unspecified {
        /// The host.
        host: String,
    },
}

/// Reads `[PLAINTEXT://]HOST:PORT`. An empty host is every IPv4 interface.
pub(super) fn parse_endpoint(text: &str) -> Result<Endpoint, ListenError> {
    let text = text.trim();
    let given = text.split(',').filter(|part| !part.trim().is_empty()).count();
    if given != 1 || text.contains(',') {
        return Err(ListenError::NotOne { given });
    }
    let address = match text.split_once("://") {
        Some(("PLAINTEXT", address)) => address,
        Some((protocol, _)) => {
            return Err(ListenError::Protocol { protocol: protocol.to_owned() });
        }
        None => text,
    };
    let (host, port) = address.rsplit_once(':').ok_or(ListenError::Port)?;
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ListenError::Port);
    }
    let port = port.parse().map_err(|_| ListenError::Port)?;
    Ok(Endpoint { host: parse_host(host)?, port })
}

fn parse_host(host: &str) -> Result<String, ListenError> {
    let wrong = || ListenError::Host { host: host.to_owned() };
    if host.is_empty() {
        return Ok("0.0.0.0".to_owned());
    }
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or_else(wrong)?;
        let address: IpAddr = inner.parse().map_err(|_| wrong())?;
        return if address.is_ipv6() { Ok(address.to_string()) } else { Err(wrong()) };
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    // 255 bytes is the longest name that DNS knows.
    if host.len() <= 255 && host.bytes().all(allowed) { Ok(host.to_owned()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(host: &str, port: u16) -> Endpoint {
        Endpoint { host: host.to_owned(), port }
    }

    #[test]
    fn addresses_are_read_with_and_without_the_protocol() {
        assert_eq!(parse_endpoint("127.0.0.1:9092"), Ok(endpoint("127.0.0.1", 9092)));
        assert_eq!(parse_endpoint("PLAINTEXT://a-b.c:0"), Ok(endpoint("a-b.c", 0)));
        assert_eq!(parse_endpoint("PLAINTEXT://:9092"), Ok(endpoint("0.0.0.0", 9092)));
        assert_eq!(parse_endpoint("[::1]:9"), Ok(endpoint("::1", 9)));
        assert_eq!(endpoint("::1", 9).to_string(), "[::1]:9");
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, expected) in [
            ("", "one address"),
            ("a:1,b:2", "one address"),
            ("a:1,", "one address"),
            ("SSL://a:1", "PLAINTEXT"),
            ("localhost", "HOST:PORT"),
            ("localhost:", "HOST:PORT"),
            ("localhost:65536", "HOST:PORT"),
            ("localhost:+1", "HOST:PORT"),
            ("::1:9092", "not a host"),
            ("[127.0.0.1]:1", "not a host"),
            ("a b:1", "not a host"),
        ] {
            let error = parse_endpoint(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
