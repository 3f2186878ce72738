//! Where the registry's name leads.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::look::Look;
use super::report::Check;
use super::target::Target;
use crate::settings;

const SUBJECT: &str = "names";
/// How long one of several addresses may take to be connected to.
const WAIT: Duration = Duration::from_secs(2);
/// How a guest of QEMU's user network names its host.
pub const HOST_SEEN_FROM_GUEST: &str = "10.0.2.2";

/// Looks at where its name leads.
pub async fn checks(target: &Target, look: &Look) -> Vec<Check> {
    let host = target.address.host();
    if host == HOST_SEEN_FROM_GUEST {
        let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
        return vec![seen_from_guest(target, is_guest(&routes))];
    }
    let addresses = match &look.addresses {
        Err(why) => return vec![nowhere(target, host, why)],
        Ok(addresses) => addresses,
    };
    if host.parse::<IpAddr>().is_ok() {
        return vec![Check::none(SUBJECT, "it is given by its address")];
    }
    let mut tried = Vec::new();
    for address in addresses {
        let connected = tokio::time::timeout(WAIT, tokio::net::TcpStream::connect(address)).await;
        tried.push((*address, matches!(connected, Ok(Ok(_)))));
    }
    vec![judge(host, &tried)]
}

fn nowhere(target: &Target, host: &str, why: &str) -> Check {
    let mend = match target.is_configured {
        true => format!("correct {}, or give {host} an address in /etc/hosts or in the network's DNS", settings::URL.name),
        false => format!("correct the name, or give {host} an address in /etc/hosts or in the network's DNS"),
    };
    Check::problem(SUBJECT, format!("{host} leads nowhere: {why}"), mend)
}

/// What the addresses of a name are worth, each with whether somebody takes connections there.
fn judge(host: &str, tried: &[(SocketAddr, bool)]) -> Check {
    let shown: Vec<_> = tried.iter().map(|(address, _)| address.ip().to_string()).collect();
    let shown = shown.join(", ");
    let has_v4 = tried.iter().any(|(address, _)| address.is_ipv4());
    if host == "localhost" && !has_v4 {
        return Check::warning(
            SUBJECT,
            format!("localhost leads only to {shown}: who looks for it on 127.0.0.1 does not find it"),
            "add the line `127.0.0.1 localhost` to /etc/hosts",
        );
    }
    match tried {
        [(first, false), rest @ ..] if rest.iter().any(|(_, answers)| *answers) => Check::warning(
            SUBJECT,
            format!(
                "{host} leads to {shown}, and nobody answers at {}, which comes first: some programs try no other",
                first.ip()
            ),
            match host {
                "localhost" => {
                    "have the server listen on both, as http.addr `localhost:PORT` does; or name it 127.0.0.1".to_owned()
                }
                _ => format!("take {} out of what {host} leads to, or name the address that answers", first.ip()),
            },
        ),
        _ => Check::ok(SUBJECT, format!("{host} leads to {shown}")),
    }
}

/// Whether the way out of this machine is QEMU's user network: its gateway in `/proc/net/route`, in the byte order of the network.
fn is_guest(routes: &str) -> bool {
    routes.lines().any(|line| line.split_whitespace().nth(2) == Some("0202000A"))
}

fn seen_from_guest(target: &Target, is_guest: bool) -> Check {
    let here = target.address.authority.replacen(HOST_SEEN_FROM_GUEST, "localhost", 1);
    if is_guest {
        Check::warning(
            SUBJECT,
            "in this guest of QEMU 10.0.2.2 is the host, and docker and podman reach it; wharf looks on the guest's own loopback",
            "run wharf on the host, or name the host by another of its addresses",
        )
    } else {
        Check::warning(
            SUBJECT,
            "10.0.2.2 is this machine as guests of QEMU see it; wharf takes it for 127.0.0.1, docker and podman do not",
            format!("name it {here} here; guests keep 10.0.2.2"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::*;

    fn judged(host: &str, tried: &[(&str, bool)]) -> Check {
        let tried: Vec<_> = tried.iter().map(|(address, answers)| (address.parse().unwrap(), *answers)).collect();
        judge(host, &tried)
    }

    #[test]
    fn localhost_without_127_0_0_1_is_told() {
        let check = judged("localhost", &[("[::1]:5000", true)]);
        assert_eq!(check.verdict, Verdict::Warning);
        assert!(check.mend.unwrap().contains("127.0.0.1 localhost"));
        assert_eq!(judged("localhost", &[("[::1]:5000", true), ("127.0.0.1:5000", true)]).verdict, Verdict::Ok);
    }

    #[test]
    fn a_first_address_without_an_answer_is_told_when_another_has_one() {
        let check = judged("r.example", &[("[2001:db8::1]:5000", false), ("192.0.2.1:5000", true)]);
        assert_eq!(check.verdict, Verdict::Warning);
        assert!(check.what.contains("2001:db8::1, which comes first"), "{}", check.what);
        // With nobody anywhere, the name is not to blame.
        assert_eq!(judged("r.example", &[("[2001:db8::1]:5000", false), ("192.0.2.1:5000", false)]).verdict, Verdict::Ok);
        assert_eq!(judged("r.example", &[("192.0.2.1:5000", true), ("[2001:db8::1]:5000", false)]).verdict, Verdict::Ok);
    }

    #[test]
    fn a_guest_is_known_by_its_gateway() {
        let head = "Iface\tDestination\tGateway \tFlags\n";
        assert!(is_guest(&format!("{head}eth0\t00000000\t0202000A\t0003\n")));
        assert!(!is_guest(&format!("{head}eth0\t00000000\t0101A8C0\t0003\n")));
    }
}
