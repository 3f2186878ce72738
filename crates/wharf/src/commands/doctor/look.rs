//! One look at what answers at a registry's address, and what it is.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use wharf_client::{Answer, ClientError, Presented, Route, probe};

use super::names::HOST_SEEN_FROM_GUEST;
use super::proxies;
use super::report::Check;
use super::target::Target;
use crate::settings;
use crate::ui;

/// A registry in good health answers in a fraction of it, also from far away.
const PATIENCE: Duration = Duration::from_secs(10);
/// Characters of a stranger's word that are repeated.
const REPEATED: usize = 60;

/// What was seen at a registry's address.
#[derive(Debug)]
pub struct Look {
    /// The addresses that its name leads to, or why it leads nowhere.
    pub addresses: Result<Vec<SocketAddr>, String>,
    /// What came back over the scheme that is expected.
    pub expected: Result<Answer, ClientError>,
    /// And over the other one, where that says more.
    pub other: Option<Result<Answer, ClientError>>,
    /// And without the proxy of the environment, where there is one and it did not lead to a registry.
    pub direct: Option<Result<Answer, ClientError>>,
    /// This machine's time when the answer came.
    pub at: SystemTime,
}

/// How a registry is spoken to.
#[derive(Clone, Copy, Debug)]
pub enum Speaks<'a> {
    /// Plain HTTP: it does, or nothing answers and it is meant to.
    Http,
    /// TLS, with this certificate.
    Https(&'a Presented),
    /// It is meant to speak TLS, and nothing was heard.
    Unheard,
}

impl Look {
    /// Looks at it.
    pub async fn at(target: &Target) -> Self {
        let host = match target.address.host() {
            // The name that references have is not the one that answers.
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let addresses = tokio::net::lookup_host((host, target.port())).await;
        let addresses = addresses.map(Iterator::collect).map_err(|error| error.to_string());
        let expected = probe(&target.address, Route::Usual, PATIENCE).await;
        let at = SystemTime::now();
        let mut look = Self { addresses, expected, other: None, direct: None, at };
        if look.registry().is_some() {
            return look;
        }
        if proxies::of_process(&target.settings_environment).takes(&target.address) {
            look.direct = Some(probe(&target.address, Route::Direct, PATIENCE).await);
        }
        // Without a port in its name it has another one over the other scheme.
        if target.url.port.is_none() || !matches!(look.expected, Err(ClientError::Unreachable { .. })) {
            look.other = Some(probe(&target.over(!target.address.https), Route::Usual, PATIENCE).await);
        }
        look
    }

    /// The answer of a registry, if one came at all.
    pub fn registry(&self) -> Option<&Answer> {
        let answers = [Some(&self.expected), self.direct.as_ref(), self.other.as_ref()];
        answers.into_iter().flatten().filter_map(|answer| answer.as_ref().ok()).find(|answer| answer.is_registry())
    }

    /// How it is spoken to.
    pub fn speaks(&self, target: &Target) -> Speaks<'_> {
        let heard = self.registry().or(self.expected.as_ref().ok());
        match heard {
            Some(Answer { presented: Some(presented), .. }) => Speaks::Https(presented),
            Some(_) => Speaks::Http,
            None if target.address.https => Speaks::Unheard,
            None => Speaks::Http,
        }
    }

    /// The certificate as the engines of this machine judge it. 10.0.2.2 is a name like others to them, and 127.0.0.1 to this program.
    pub fn for_engines(&self, target: &Target, presented: &Presented) -> Presented {
        match target.address.host() {
            HOST_SEEN_FROM_GUEST => presented.to_who_asks_for(HOST_SEEN_FROM_GUEST),
            _ => presented.clone(),
        }
    }

    /// Whether every address that its name leads to is this machine's loopback.
    pub fn is_loopback(&self) -> bool {
        let is_loopback = |address: &SocketAddr| match address.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_loopback(),
        };
        self.addresses.as_ref().is_ok_and(|addresses| !addresses.is_empty() && addresses.iter().all(is_loopback))
    }

    /// What answers there.
    pub fn checks(&self, target: &Target) -> Vec<Check> {
        let mut checks = Vec::new();
        if let Some((message, hint)) = &target.refused {
            checks.push(Check::problem(SUBJECT, message.clone(), hint.clone().unwrap_or_default()));
        }
        checks.push(match &self.expected {
            Ok(answer) if answer.is_registry() => Check::ok(SUBJECT, format!("a registry answers{}", kind(answer))),
            expected => match &self.other {
                Some(Ok(other)) if other.is_registry() => wrong_scheme(target),
                _ => self.no_registry(target, expected),
            },
        });
        checks
    }

    fn no_registry(&self, target: &Target, expected: &Result<Answer, ClientError>) -> Check {
        let origin = target.origin();
        match expected {
            Ok(answer) => stranger(target, answer),
            Err(ClientError::Unreachable { .. }) if self.addresses.is_err() => {
                Check::none(SUBJECT, "without an address there is nobody to ask")
            }
            Err(error @ ClientError::Unreachable { .. }) => {
                let why = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
                let mend = if target.url.is_local() && target.is_configured {
                    format!("`{} start` starts it", ui::program())
                } else if target.is_configured {
                    format!("start it there; if it runs, look for a firewall, and at {}, which names it", settings::URL.name)
                } else {
                    "start it there; if it runs, look for a firewall on the way".to_owned()
                };
                Check::problem(SUBJECT, format!("nobody answers at {origin}{why}"), mend)
            }
            Err(ClientError::Stalled { after, .. }) => Check::problem(
                SUBJECT,
                format!("something takes connections at {origin}, and does not answer within {} s", after.as_secs()),
                who_has_the_port(target),
            ),
            Err(_) => Check::problem(
                SUBJECT,
                format!("what answers at {origin} speaks neither HTTP nor HTTPS"),
                who_has_the_port(target),
            ),
        }
    }
}

const SUBJECT: &str = "answer";

fn kind(answer: &Answer) -> String {
    match (answer.header("wharf-features"), server(answer)) {
        (Some(_), _) => ", wharf".to_owned(),
        (None, Some(server)) => format!(", of {server}"),
        (None, None) => String::new(),
    }
}

fn server(answer: &Answer) -> Option<String> {
    answer.header("server").map(|name| name.chars().take(REPEATED).collect())
}

fn wrong_scheme(target: &Target) -> Check {
    let origin = target.over(!target.address.https).origin();
    let (insecure, secure) = (settings::INSECURE.name, settings::SECURE.name);
    if target.address.https {
        let mend = match (target.is_configured, target.url.https, target.url.is_local()) {
            (false, Some(true), _) => format!("name it {origin}"),
            (true, Some(true), true) => format!("set {} to {origin}", settings::URL.name),
            (_, _, true) => format!("unset {secure}, or have the server speak TLS"),
            _ => format!("have the server speak TLS; or set {insecure}=1, and everything goes in clear text"),
        };
        Check::problem(SUBJECT, "it speaks plain HTTP where HTTPS is expected", mend)
    } else {
        let mend = match (target.is_configured, target.url.https, target.url.is_local()) {
            (false, Some(false), _) => format!("name it {origin}"),
            (_, Some(false), _) => format!("set {} to {origin}", settings::URL.name),
            (_, None, true) => format!("set {secure}=1, or write the address as {origin}"),
            (..) => format!("unset {insecure}"),
        };
        Check::problem(SUBJECT, "it speaks HTTPS where plain HTTP is expected", mend)
    }
}

/// Something answers that is no registry.
fn stranger(target: &Target, answer: &Answer) -> Check {
    let by = server(answer).map(|server| format!(" of {server}")).unwrap_or_default();
    let status = answer.status;
    let is_page = answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) || answer.text.starts_with('<');
    match status {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => Check::problem(
            SUBJECT,
            format!("a proxy{by} on the way wants to know who asks"),
            "give user and password in the proxy variables, or name the registry in NO_PROXY",
        ),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Check::problem(
            SUBJECT,
            format!("a proxy{by} answers {status}: it does not reach a registry"),
            "start the registry behind it, or correct the address that the proxy passes requests on to",
        ),
        status if status.is_redirection() => {
            let place: String = answer.header("location").unwrap_or("nowhere").chars().take(REPEATED).collect();
            Check::problem(
                SUBJECT,
                format!("a server{by} sends on to {place}"),
                match target.is_configured {
                    true => format!("set {} to the address where the registry really is", settings::URL.name),
                    false => "name the address where the registry really is".to_owned(),
                },
            )
        }
        status if is_page => Check::problem(
            SUBJECT,
            format!("a web page{by} answers ({status}), not a registry"),
            format!("if it is a proxy's, look at the variables for proxies; else {}", who_has_the_port(target)),
        ),
        status => {
            Check::problem(SUBJECT, format!("another service{by} answers ({status}), not a registry"), who_has_the_port(target))
        }
    }
}

fn who_has_the_port(target: &Target) -> String {
    let port = target.port();
    let look = match target.url.is_local() {
        true => format!("`ss -ltnp 'sport = :{port}'` says who has the port"),
        false => format!("look there who has port {port}"),
    };
    match target.is_configured {
        true => format!("{look}; {} names another one", settings::URL.name),
        false => look,
    }
}
