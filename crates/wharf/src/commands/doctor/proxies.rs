//! The variables that send requests through a proxy.

use std::net::IpAddr;

use wharf_client::Address;

use super::look::Look;
use super::report::Check;
use super::target::Target;

const SUBJECT: &str = "proxies";

/// What variables say about proxies, and what is excepted.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    http: Option<(String, String)>,
    https: Option<(String, String)>,
    excepted: String,
    contradictions: Vec<String>,
}

impl Proxies {
    /// Reads them by name. The spelling in small letters comes first, as everywhere in the field.
    pub fn of(get: impl Fn(&str) -> Option<String>) -> Self {
        let mut contradictions = Vec::new();
        let mut either = |small: &str| {
            let (large, value) = (small.to_ascii_uppercase(), get(small));
            let other = get(&large);
            if value.is_some() && other.is_some() && value != other {
                contradictions.push(format!("{small} and {large}"));
            }
            value.map(|value| (small.to_owned(), value)).or(other.map(|value| (large, value)))
        };
        let all = either("all_proxy");
        Self {
            http: either("http_proxy").or(all.clone()),
            https: either("https_proxy").or(all),
            excepted: either("no_proxy").map(|(_, value)| value).unwrap_or_default(),
            contradictions,
        }
    }

    /// The variable that takes requests over this scheme.
    fn variable(&self, https: bool) -> Option<&str> {
        if https { &self.https } else { &self.http }.as_ref().map(|(name, _)| name.as_str())
    }

    /// The variable that sends requests for a host to a proxy, unless the host is excepted.
    pub fn taking(&self, https: bool, host: &str) -> Option<&str> {
        self.variable(https).filter(|_| !self.excepts(host))
    }

    /// Whether our own requests go to a proxy: loopback's never do.
    pub fn takes(&self, address: &Address) -> bool {
        !address.is_loopback() && self.taking(address.https, address.host()).is_some()
    }

    fn excepts(&self, host: &str) -> bool {
        let ip = host.parse::<IpAddr>().ok();
        self.excepted.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
            let entry = entry.to_ascii_lowercase();
            if entry == "*" {
                return true;
            }
            if let (Some(ip), Some((network, bits))) = (ip, entry.split_once('/')) {
                return is_within(ip, network, bits);
            }
            // A port after the name narrows it further; who wrote one meant the registry.
            let name = match entry.rsplit_once(':') {
                Some((name, port)) if !name.contains(':') && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
                _ => entry.as_str(),
            };
            let name = name.trim_start_matches("*.").trim_start_matches('.').trim_matches(['[', ']']);
            host == name || (ip.is_none() && host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')))
        })
    }
}

/// Whether an address lies in a network, as in `10.0.0.0/8`.
pub fn is_within(ip: IpAddr, network: &str, bits: &str) -> bool {
    let number = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()), 32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    };
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    let ((ip, width), (network, other)) = (number(ip), number(network));
    width == other && bits <= width && (bits == 0 || ip >> (width - bits) == network >> (width - bits))
}

/// Those of this process, by its environment.
pub fn of_process(environment: &crate::settings::Environment) -> Proxies {
    Proxies::of(|name| environment.named(name).map(str::to_owned))
}

/// Looks at whether a proxy stands between this machine and the registry.
pub fn checks(target: &Target, look: &Look) -> Vec<Check> {
    let proxies = of_process(&target.settings_environment);
    let host = target.address.host();
    let mut checks: Vec<_> = proxies
        .contradictions
        .iter()
        .map(|pair| {
            let what = format!("{pair} differ, and programs do not agree on which of them counts");
            Check::warning(SUBJECT, what, "set both to the same, or unset one")
        })
        .collect();
    let except =
        |names: &str| format!("export NO_PROXY=\"${{NO_PROXY:+$NO_PROXY,}}{names}\"; the same for no_proxy where that is set");
    checks.push(match proxies.taking(target.address.https, host) {
        None if proxies.http.is_none() && proxies.https.is_none() => Check::ok(SUBJECT, "no proxy is set"),
        None => Check::ok(SUBJECT, format!("none for {host}")),
        Some(variable) if target.address.is_loopback() => Check::warning(
            SUBJECT,
            format!("{variable} sends requests for {host} to a proxy, which has another loopback; wharf and docker know better, curl and others do not"),
            except("localhost,127.0.0.1,::1,10.0.2.2"),
        ),
        Some(variable) => match (&look.expected, &look.direct) {
            (Ok(answer), _) if answer.is_registry() => {
                Check::ok(SUBJECT, format!("{host} is reached through the proxy that {variable} names"))
            }
            (_, Some(Ok(direct))) if direct.is_registry() => Check::problem(
                SUBJECT,
                format!("{variable} sends requests for {host} to a proxy that does not reach it; without the proxy it answers"),
                except(host),
            ),
            _ => Check::warning(
                SUBJECT,
                format!("{variable} sends requests for {host} to a proxy, and no registry answers with or without it"),
                format!("if the registry is in this network: {}", except(host)),
            ),
        },
    });
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_names_domains_addresses_and_networks() {
        let excepts = |list: &str, host: &str| {
            let proxies = Proxies { excepted: list.to_owned(), ..Proxies::default() };
            proxies.excepts(host)
        };
        for (list, host, expected) in [
            ("localhost", "localhost", true),
            ("a, r.example", "r.example", true),
            (".example", "r.example", true),
            ("example", "r.example", true),
            ("*.example", "r.example", true),
            ("ample", "r.example", false),
            ("r.example:5000", "r.example", true),
            ("*", "anything", true),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("::1", "::1", true),
            ("fd00::/8", "fd12::1", true),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("", "localhost", false),
        ] {
            assert_eq!(excepts(list, host), expected, "{list} {host}");
        }
    }
}
