//! What callers show of themselves and ask for, and what owners write of them.

use wharf_access::fuzzing;
use wharf_pki::Facts;

use super::target;
use crate::Target;

pub(crate) const HEADER: Target = target!(
    "authorization",
    [
        "Basic YTpzZWNyZXQ=",
        "Bearer eyJhbGciOiJIUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOiJ3aGFyZiJ9.AAAA",
        "Bearer wharf_x",
        "Bearer eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2NpLmV4YW1wbGUifQ.AA",
    ],
    fuzzing::header
);

pub(crate) const SCOPE: Target =
    target!("scope", ["repository:a/b:pull,push repository(plugin):c:*", "registry:catalog:*"], fuzzing::scope);

pub(crate) const PATTERN: Target = target!("pattern", ["yocto/** yocto/a/b", "*/app x/app", "a*b*c abc"], fuzzing::pattern);

pub(crate) const USERS: Target = target!("users", ["# ours\na:$2y$05$x\n\nb:{SHA}x\n"], fuzzing::users);

pub(crate) const KEYS: Target = target!(
    "issuer-keys",
    [
        concat!(
            r#"{"keys":[{"kty":"EC","kid":"1","use":"sig","alg":"ES256","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","#,
            r#""y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#,
            "\neyJhbGciOiJFUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOiJodHRwczovL2NpLmV4YW1wbGUifQ.AAAA"
        ),
        r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"2"},{"kty":"oct","k":"AA"},{"kty":"OKP","crv":"Ed25519","x":"AA"}]}"#,
    ],
    fuzzing::keys
);

/// A certificate that openssl made, for names and addresses.
const PEM: &str = "-----BEGIN CERTIFICATE-----
MIIB8TCCAZegAwIBAgIUJW3PaR7HMWM3cV7xul1m7fhQGIwwCgYIKoZIzj0EAwIw
LTEQMA4GA1UECgwHRXhhbXBsZTEZMBcGA1UEAwwQcmVnaXN0cnkuZXhhbXBsZTAe
Fw0yNjExMjcyMDU3NDNaFw0zNjExMjQyMDU3NDNaMC0xEDAOBgNVBAoMB0V4YW1w
bGUxGTAXBgNVBAMMEHJlZ2lzdHJ5LmV4YW1wbGUwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAThiaBnmeLDpR5uUyLZ9ejduiDtjiSKK3fNXuSuv7IQFKsZQNEVWt2R
0sogUA3peJgzNXWTBSHA5fiIY5QdIUGso4GUMIGRMB0GA1UdDgQWBBRxMbuNRqmM
eFODYcDYthkKjxok5zAfBgNVHSMEGDAWgBRxMbuNRqmMeFODYcDYthkKjxok5zAP
BgNVHRMBAf8EBTADAQH/MD4GA1UdEQQ3MDWCEHJlZ2lzdHJ5LmV4YW1wbGWCCSou
ZXhhbXBsZYcECgAAAYcQAAAAAAAAAAAAAAAAAAAAATAKBggqhkjOPQQDAgNIADBF
AiB1B4TTCdFhMvwZE2L6dO8FffYkbXGxlRCqiKXKj1PVwAIhAIiPY/lG5qwoxMyv
wtOeX58xt8nksROBb7xZv2dOqc9x
-----END CERTIFICATE-----
";

pub(crate) const CERTIFICATE: Target = target!("certificate", [PEM], |data| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(facts) = Facts::of_pem(text) {
        assert_eq!(facts.fingerprint.len(), 64);
        let _ = facts.is_due(facts.not_after);
    }
});
