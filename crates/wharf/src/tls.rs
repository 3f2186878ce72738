//! A server's certificates: made before it serves, renewed and read again while it does.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use time::OffsetDateTime;
use wharf_pki::{AUTHORITY, Issued, Pki, Plan, SERVER, SERVER_KEY, Serving};

use crate::config::Config;
use crate::config::model::{Certificate, Tls};
use crate::ui::Failure;

/// How often files are looked at. A renewed certificate is shown so soon.
const LOOK: Duration = Duration::from_secs(5);
/// Days before the end of an own authority from which on it is told of.
const AUTHORITY_ENDS: time::Duration = time::Duration::days(90);
/// How often an own certificate's time is looked at, in such looks: once an hour.
const RARELY: u32 = 720;

/// What a server shows, with what renews it.
#[derive(Debug)]
pub struct Certificates {
    serving: Arc<Serving>,
    config: Arc<ServerConfig>,
    own: Option<(Pki, Plan)>,
}

/// Makes what is missing and reads what is shown; `None` without TLS.
pub fn prepare(config: &Config) -> Result<Option<Certificates>, Failure> {
    let Some(tls) = &config.http.tls else { return Ok(None) };
    let (certificate, key, own) = match &tls.certificate {
        Certificate::Given { certificate, key } => (certificate.clone(), key.clone(), None),
        Certificate::Own { pki, plan } => {
            issue(pki, plan)?;
            tell_of_end(pki, OffsetDateTime::now_utc());
            (pki.path(SERVER), pki.path(SERVER_KEY), Some((pki.clone(), plan.clone())))
        }
    };
    let serving = Serving::load(&certificate, &key).map_err(|error| Failure::new("cannot serve TLS").because(&error))?;
    let config = server_config(&serving, tls)?;
    Ok(Some(Certificates { serving, config: Arc::new(config), own }))
}

fn server_config(serving: &Arc<Serving>, tls: &Tls) -> Result<ServerConfig, Failure> {
    let config = serving.config(tls.lowest, &tls.clients);
    let mut config = config.map_err(|error| Failure::new("cannot serve TLS").because(&error))?;
    if !tls.http2 {
        config.alpn_protocols.retain(|protocol| protocol != b"h2");
    }
    Ok(config)
}

/// Makes the certificates of an own authority that are missing or due.
pub fn issue(pki: &Pki, plan: &Plan) -> Result<Issued, Failure> {
    let issued = pki.ensure(plan, OffsetDateTime::now_utc());
    let issued = issued.map_err(|error| Failure::new("cannot make the registry's certificates").because(&error))?;
    match issued {
        Issued::Nothing => {}
        Issued::Authority => tracing::info!(file = %pki.path(AUTHORITY).display(), "made a certificate authority"),
        Issued::Server(reason) => tracing::info!(?reason, names = %plan.names, "made a certificate for the server"),
    }
    Ok(issued)
}

impl Certificates {
    /// How TLS is spoken.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// Renews and reads again, for as long as it is polled.
    pub async fn keep(self) {
        let mut looks: u32 = 0;
        loop {
            tokio::time::sleep(LOOK).await;
            looks = looks.wrapping_add(1);
            let renew = self.own.clone().filter(|_| looks.is_multiple_of(RARELY));
            let told = self.own.as_ref().filter(|_| looks.is_multiple_of(24 * RARELY)).map(|(pki, _)| pki.clone());
            let serving = self.serving.clone();
            // Both wait for the disk.
            let _ = tokio::task::spawn_blocking(move || {
                look(&serving, renew);
                if let Some(pki) = told {
                    tell_of_end(&pki, OffsetDateTime::now_utc());
                }
            })
            .await;
        }
    }
}

/// Says in good time that the authority itself ends: every client has to be given another then.
fn tell_of_end(pki: &Pki, now: OffsetDateTime) {
    let Ok(Some(authority)) = pki.authority() else { return };
    if authority.not_after - now < AUTHORITY_ENDS {
        tracing::warn!(
            file = %pki.path(AUTHORITY).display(), until = %authority.not_after.date(),
            "the certificate authority ends soon; `wharf pki renew --authority` makes another, which all clients have to be given"
        );
    }
}

fn look(serving: &Serving, renew: Option<(Pki, Plan)>) {
    if let Some((pki, plan)) = renew
        && let Err(failure) = issue(&pki, &plan)
    {
        tracing::error!(%failure, "the certificate was not renewed");
    }
    match serving.reload() {
        Ok(false) => {}
        Ok(true) => tracing::info!("shows another certificate from now on"),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the certificate's files have changed and cannot be used; the old one is shown"
            );
        }
    }
}
