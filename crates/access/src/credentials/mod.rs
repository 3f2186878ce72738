//! What callers show of themselves, and whether it is right.

mod authenticator;
mod htpasswd;
mod presented;
mod tokens;

pub use authenticator::{Authenticator, Login, Refusal};
pub use htpasswd::{Htpasswd, User, UserError, hash_password};
pub use presented::Presented;
pub use tokens::{StoredToken, Tokens};

/// A text of 43 letters, digits, `-` and `_` that nobody can guess: 256 random bits.
///
/// # Errors
///
/// The system gives no random bytes.
pub fn random_text() -> std::io::Result<String> {
    use base64::Engine;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random()?))
}

/// Random bytes for keys.
pub(crate) fn random() -> std::io::Result<[u8; 32]> {
    use ring::rand::SecureRandom;
    let mut bytes = [0; 32];
    let filled = ring::rand::SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| std::io::Error::other("the system gives no random bytes"))?;
    Ok(bytes)
}
