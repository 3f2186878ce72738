//! The token service: who says who they are gets a signed statement of what they may do, for some minutes.
//!
//! It is asked as the Docker token protocol has it: with GET, the credentials in the `Authorization` header, or with a form as in OAuth 2 (RFC 6749, sections
//! 4.3 and 6), in which a personal access token is a refresh token.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use wharf_access::{Bearer, Grant, Presented, now, random_text};

use super::{Answer, Context};
use crate::connection::Peer;
use crate::endpoint::TokenRequest;
use crate::error::ApiError;
use crate::incoming::RequestBody;
use crate::respond;

/// Why there is no token.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Bytes of a form at most.
const FORM: usize = 64 << 10;

#[derive(Serialize)]
struct Issued<'a> {
    token: &'a str,
    access_token: &'a str,
    expires_in: u64,
    issued_at: String,
}

pub(super) async fn issue(
    context: &Context,
    request: TokenRequest,
    headers: &HeaderMap,
    peer: &Peer,
    body: &mut RequestBody,
) -> Answer {
    let guard = context.guard.as_deref().ok_or(ApiError::NotFound)?;
    let (text, caller) = match request {
        TokenRequest::Query(query) => (query, guard.identify(headers, peer).await?),
        TokenRequest::Form => {
            let form = read_form(body).await?;
            let presented = of_form(&Fields(&form))?;
            (form, guard.login(presented, peer).await?)
        }
    };
    // A token does not give out others: it would never end.
    if caller.granted.is_some() {
        return Err(ApiError::WrongCredentials);
    }
    let scopes = Fields(&text).all("scope");
    let access = Grant::parse(scopes.iter().map(String::as_str)).within(&guard.rules, &caller);
    let token = caller.token.as_ref().map(|token| token.id().to_owned());
    let (now, life) = (now(), guard.token_life);
    let authenticator = guard.authenticator.clone();
    // Once a day a new key is written, and others may hold the file.
    let signing = tokio::task::spawn_blocking(move || -> Result<String, Cause> {
        let bearer = Bearer::new(caller.identity, token, access, now, life, random_text()?);
        Ok(bearer.sign(authenticator.keys(), now)?)
    });
    let signed = signing.await.unwrap_or_else(|stopped| Err(stopped.into()));
    let signed = signed.map_err(|error| {
        tracing::error!(%error, "no token could be made");
        ApiError::NoToken
    })?;
    let issued_at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let issued = Issued { token: &signed, access_token: &signed, expires_in: life, issued_at };
    let mut response = respond::json(StatusCode::OK, serde_json::to_vec(&issued).unwrap_or_default());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn read_form(body: &mut RequestBody) -> Result<String, ApiError> {
    let bytes = body.whole(FORM).await.map_err(|_| ApiError::Unsupported("a form of at most 64 KiB was expected"))?;
    String::from_utf8(bytes.into()).map_err(|_| ApiError::Unsupported("the form is not in UTF-8"))
}

/// What a query or a form holds, encoded as forms are.
struct Fields<'a>(&'a str);

impl Fields<'_> {
    fn all(&self, name: &str) -> Vec<String> {
        let fields = form_urlencoded::parse(self.0.as_bytes());
        fields.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect()
    }

    fn first(&self, name: &str) -> String {
        self.all(name).into_iter().next().unwrap_or_default()
    }
}

fn of_form(form: &Fields<'_>) -> Result<Presented, ApiError> {
    match form.first("grant_type").as_str() {
        "password" => Ok(Presented::Basic { user: form.first("username"), password: form.first("password") }),
        "refresh_token" => Ok(Presented::Bearer(form.first("refresh_token"))),
        _ => Err(ApiError::Unsupported("grant_type is password or refresh_token")),
    }
}
