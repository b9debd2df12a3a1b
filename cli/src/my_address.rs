//! The operator's own address, from `--my-address`.

use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::Ipv4Net;

/// The value of `--my-address`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MyAddress {
    /// The address by which the caller is seen.
    Seen,
    /// A given address or block.
    Given(Ipv4Net),
}

impl FromStr for MyAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::Seen);
        }
        let net = match text.parse::<Ipv4Addr>() {
            Ok(address) => Ipv4Net::from(address),
            Err(_) => text.parse::<Ipv4Net>().map_err(|_| {
                format!("`{text}` is neither an IPv4 address nor a block such as 198.51.100.0/28")
            })?,
        };
        if net.prefix_len() == 0 {
            return Err(format!("`{text}` opens the bastion to the whole internet"));
        }
        Ok(Self::Given(net.trunc()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_or_a_block_but_not_the_whole_internet() {
        let given = |text: &str| text.parse::<MyAddress>();
        let net = |text: &str| MyAddress::Given(text.parse().unwrap());
        assert_eq!(given(""), Ok(MyAddress::Seen));
        assert_eq!(given("203.0.113.7"), Ok(net("203.0.113.7/32")));
        assert_eq!(given("198.51.100.9/28"), Ok(net("198.51.100.0/28")));
        assert!(given("0.0.0.0/0").unwrap_err().contains("whole internet"));
        assert!(given("home").unwrap_err().contains("`home`"));
        assert!(given("2001:db8::1").is_err());
    }
}
