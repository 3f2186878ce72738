//! Whether what a caller shows is right.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ring::hmac;

use super::htpasswd::Htpasswd;
use super::presented::Presented;
use super::random;
use super::tokens::Tokens;
use crate::attempts::{Attempts, TooMany};
use crate::bearer::{Bearer, Keys};
use crate::caller::{Caller, Identity};
use crate::files::{FileError, Watched};

/// How long a password that was right is remembered, as a keyed hash of it.
const REMEMBERED: Duration = Duration::from_secs(300);
/// How many are remembered at most.
const REMEMBERED_MAX: usize = 1_000;
/// Failures of one address in a minute, after which it waits for the rest of it.
const FAILURES: u32 = 20;
/// Compared with where there are no users at all: the hash of a password that was thrown away.
const NOBODY: &str = "$2y$10$GM2jEaKdZzqvFVwpF0AfZOt3sdYvFYxrKcw1dcm7cfNXPJ4ZQ0wX6";

/// Users, tokens and keys of a registry.
#[derive(Debug)]
pub struct Authenticator {
    users: Option<Watched<Htpasswd>>,
    tokens: Option<Watched<Tokens>>,
    keys: Keys,
    attempts: Attempts,
    remembered: Mutex<HashMap<[u8; 32], Instant>>,
    key: hmac::Key,
}

/// What is known of a caller without waiting.
#[derive(Debug)]
pub enum Login {
    /// Who it is.
    Known(Caller),
    /// It has to be found out, which takes a core for some 50 ms: [`Authenticator::verify`].
    Slow {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// Nobody that is known.
    Refused(Refusal),
}

/// Why a caller is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// What it shows is wrong, or has ended.
    Wrong,
    /// Too much of that was wrong.
    TooMany(TooMany),
}

impl Authenticator {
    /// Users out of a file as `htpasswd -B` writes it, tokens out of one that [`Tokens`] writes; each is read again when it changes.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or holds something else.
    pub fn open(users: Option<&Path>, tokens: Option<&Path>, keys: Keys) -> Result<Self, FileError> {
        let random = random().map_err(|source| keys.failed(source))?;
        Ok(Self {
            users: users.map(|path| Watched::open(path, Htpasswd::parse)).transpose()?,
            tokens: tokens.map(|path| Watched::open(path, Tokens::parse)).transpose()?,
            keys,
            attempts: Attempts::new(FAILURES, Duration::from_secs(60)),
            remembered: Mutex::default(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &random),
        })
    }

    /// Users who cannot log in, for their passwords are hashed in another way than bcrypt's.
    pub fn unusable(&self) -> Vec<String> {
        self.users.as_ref().map(|users| users.get(complain).unusable().to_vec()).unwrap_or_default()
    }

    /// The keys of bearer tokens.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Who shows this, coming from there, at `now` in seconds since 1970.
    pub fn login(&self, presented: Presented, from: IpAddr, now: u64) -> Login {
        let (user, password) = match presented {
            Presented::Nothing => return Login::Known(Caller::anonymous()),
            Presented::Malformed => return Login::Refused(Refusal::Wrong),
            Presented::Bearer(text) if Tokens::is_one(&text) => return self.by_token(None, &text, from, now),
            Presented::Bearer(text) => return self.by_bearer(&text, now),
            Presented::Basic { user, password } if Tokens::is_one(&password) => {
                return self.by_token(Some(&user), &password, from, now);
            }
            Presented::Basic { user, password } => (user, password),
        };
        // Whoever was right a moment ago does not suffer from others at the same address who were not.
        if let Some(hash) = self.hash(&user)
            && self.remembered.lock().get(&self.trace(&user, &password, &hash)).is_some_and(|until| *until > Instant::now())
        {
            return Login::Known(Caller::new(Identity::User(user.into())));
        }
        match self.attempts.check(from, Instant::now()) {
            Ok(()) => Login::Slow { user, password },
            Err(wait) => Login::Refused(Refusal::TooMany(wait)),
        }
    }

    /// Whether a user has this password. Takes some 50 ms of a core, whoever it is.
    ///
    /// # Errors
    ///
    /// They have not.
    pub fn verify(&self, user: &str, password: &str, from: IpAddr) -> Result<Caller, Refusal> {
        // While it waited for its turn, others from there may have used up what is allowed.
        self.attempts.check(from, Instant::now()).map_err(Refusal::TooMany)?;
        // Whoever was added or changed this second is known at once.
        let users = self.users.as_ref().map(|users| users.get_now(complain));
        let hash = users.as_ref().and_then(|users| users.hash(user).map(str::to_owned));
        // Who is not there costs what somebody who is there does: the work is set in each hash.
        let another = users.as_ref().and_then(|users| users.any_hash());
        let right = bcrypt::verify(password, hash.as_deref().or(another).unwrap_or(NOBODY)).unwrap_or(false);
        match hash.filter(|_| right) {
            Some(hash) => {
                self.remember(self.trace(user, password, &hash));
                Ok(Caller::new(Identity::User(user.into())))
            }
            None => {
                self.attempts.failed(from, Instant::now());
                Err(Refusal::Wrong)
            }
        }
    }

    fn by_token(&self, user: Option<&str>, text: &str, from: IpAddr, now: u64) -> Login {
        // One that is not known may have been made this second.
        let find = |tokens: &Watched<Tokens>| tokens.get(complain).find(text).or_else(|| tokens.get_now(complain).find(text));
        let found = self.tokens.as_ref().and_then(find);
        let found = found.filter(|token| !token.is_over(now) && user.is_none_or(|user| user == token.user));
        match found.filter(|token| self.hash(&token.user).is_some()) {
            Some(token) => Login::Known(Caller::new(Identity::User(token.user.as_str().into())).with_token(token)),
            // Nobody guesses 256 bits; but who tries is slowed down, and whoever has one that counts is not.
            None => match self.attempts.check(from, Instant::now()) {
                Ok(()) => {
                    self.attempts.failed(from, Instant::now());
                    Login::Refused(Refusal::Wrong)
                }
                Err(wait) => Login::Refused(Refusal::TooMany(wait)),
            },
        }
    }

    /// A bearer token ends with the user or the token for which it was given out.
    fn by_bearer(&self, text: &str, now: u64) -> Login {
        let Some(bearer) = Bearer::verify(text, &self.keys, now) else { return Login::Refused(Refusal::Wrong) };
        if let Identity::User(name) = &bearer.who
            && self.hash(name).is_none()
        {
            return Login::Refused(Refusal::Wrong);
        }
        let caller = Caller::new(bearer.who).with_grants(bearer.access);
        let Some(id) = bearer.token else { return Login::Known(caller) };
        let token = self.tokens.as_ref().and_then(|tokens| tokens.get(complain).by_id(&id));
        match token.filter(|token| !token.is_over(now)) {
            Some(token) => Login::Known(caller.with_token(token)),
            None => Login::Refused(Refusal::Wrong),
        }
    }

    fn hash(&self, user: &str) -> Option<String> {
        self.users.as_ref()?.get(complain).hash(user).map(str::to_owned)
    }

    /// What is remembered of a password: nothing that it could be found from.
    fn trace(&self, user: &str, password: &str, hash: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [user, password, hash] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        let mut trace = [0; 32];
        trace.copy_from_slice(context.sign().as_ref());
        trace
    }

    fn remember(&self, trace: [u8; 32]) {
        let now = Instant::now();
        let mut remembered = self.remembered.lock();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.retain(|_, until| *until > now);
        }
        if remembered.len() < REMEMBERED_MAX {
            remembered.insert(trace, now + REMEMBERED);
        }
    }
}

fn complain(error: &FileError) {
    let reason = &error.source;
    tracing::error!(file = %error.path.display(), %reason, "cannot be read any more; what it held before counts");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::Right;
    use crate::credentials::{StoredToken, User, hash_password};

    const NOW: u64 = 1_800_000_000;

    struct Scene {
        _folder: tempfile::TempDir,
        users: std::path::PathBuf,
        tokens: std::path::PathBuf,
        authenticator: Authenticator,
    }

    fn scene() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let (users, tokens) = (folder.path().join("htpasswd"), folder.path().join("tokens.json"));
        Htpasswd::add(&users, &alice(), &hash_password("right").unwrap()).unwrap();
        let authenticator = Authenticator::open(Some(&users), Some(&tokens), Keys::in_memory().unwrap()).unwrap();
        Scene { _folder: folder, users, tokens, authenticator }
    }

    fn alice() -> User {
        "alice".parse().unwrap()
    }

    fn here() -> IpAddr {
        "192.0.2.1".parse().unwrap()
    }

    fn basic(user: &str, password: &str) -> Presented {
        Presented::Basic { user: user.into(), password: password.into() }
    }

    fn name(login: &Login) -> Option<&str> {
        match login {
            Login::Known(caller) => Some(caller.name()),
            _ => None,
        }
    }

    #[test]
    fn a_password_is_checked_slowly_once_and_remembered_until_it_changes() {
        let scene = scene();
        let login = || scene.authenticator.login(basic("alice", "right"), here(), NOW);
        assert!(matches!(login(), Login::Slow { .. }));
        assert!(scene.authenticator.verify("alice", "right", here()).is_ok());
        assert_eq!(name(&login()), Some("alice"));
        assert!(matches!(scene.authenticator.login(basic("alice", "wrong"), here(), NOW), Login::Slow { .. }));
        for (user, password) in [("alice", "wrong"), ("bob", "right"), ("alice", "")] {
            assert_eq!(scene.authenticator.verify(user, password, here()).unwrap_err(), Refusal::Wrong);
        }
        Htpasswd::set(&scene.users, &alice(), &hash_password("other").unwrap()).unwrap();
        std::thread::sleep(Duration::from_millis(1_100));
        assert!(matches!(login(), Login::Slow { .. }));
        assert!(scene.authenticator.verify("alice", "right", here()).is_err());
        assert!(scene.authenticator.verify("alice", "other", here()).is_ok());
    }

    #[test]
    fn an_unknown_user_takes_as_long_as_a_wrong_password() {
        assert!(!bcrypt::verify("", NOBODY).expect("a hash"));
        let scene = scene();
        let took = |user: &str| {
            let times = (0..5).map(|_| {
                let begun = Instant::now();
                scene.authenticator.verify(user, "wrong", here()).unwrap_err();
                begun.elapsed()
            });
            times.min().unwrap_or_default().as_secs_f64()
        };
        let ratio = took("alice") / took("bob");
        assert!((0.5..2.0).contains(&ratio), "{ratio}");
    }

    #[test]
    fn who_guesses_too_often_waits_and_who_was_right_does_not() {
        let scene = scene();
        scene.authenticator.verify("alice", "right", here()).unwrap();
        for _ in 0..FAILURES {
            scene.authenticator.attempts.failed(here(), Instant::now());
        }
        assert!(matches!(scene.authenticator.verify("alice", "right", here()), Err(Refusal::TooMany(_))));
        let login = |user, password| scene.authenticator.login(basic(user, password), here(), NOW);
        assert!(matches!(login("alice", "guess"), Login::Refused(Refusal::TooMany(_))));
        assert!(matches!(login("alice", "wharf_guess"), Login::Refused(Refusal::TooMany(_))));
        assert_eq!(name(&login("alice", "right")), Some("alice"));
    }

    #[test]
    fn tokens_count_for_their_user_while_both_are_there() {
        let scene = scene();
        let token = StoredToken::new(&alice(), "ci", vec![Right::Pull], vec![], NOW, Some(NOW + 10));
        let text = Tokens::add(&scene.tokens, token).unwrap().unwrap();
        std::thread::sleep(Duration::from_millis(1_100));
        let login = |presented, now| scene.authenticator.login(presented, here(), now);
        assert_eq!(name(&login(basic("alice", &text), NOW)), Some("alice"));
        assert_eq!(name(&login(Presented::Bearer(text.clone()), NOW)), Some("alice"));
        assert_eq!(name(&login(basic("bob", &text), NOW)), None);
        assert_eq!(name(&login(basic("alice", &text), NOW + 10)), None);
        // A bearer token that was fetched with it ends with it, too.
        let Login::Known(caller) = login(basic("alice", &text), NOW) else { panic!() };
        let id = caller.token.as_ref().map(|token| token.id().to_owned());
        let bearer = Bearer::new(caller.identity, id, [].into(), NOW, 300, "1".into());
        let bearer = bearer.sign(scene.authenticator.keys(), NOW).unwrap();
        assert_eq!(name(&login(Presented::Bearer(bearer.clone()), NOW)), Some("alice"));
        assert_eq!(name(&login(Presented::Bearer(bearer.clone()), NOW + 10)), None);
        Tokens::remove(&scene.tokens, &alice(), Some("ci")).unwrap();
        std::thread::sleep(Duration::from_millis(1_100));
        assert_eq!(name(&login(basic("alice", &text), NOW)), None);
        assert_eq!(name(&login(Presented::Bearer(bearer), NOW)), None);
        let own = Bearer::new(Identity::User("alice".into()), None, [].into(), NOW, 300, "2".into());
        let own = own.sign(scene.authenticator.keys(), NOW).unwrap();
        assert_eq!(name(&login(Presented::Bearer(own.clone()), NOW)), Some("alice"));
        Htpasswd::remove(&scene.users, &alice()).unwrap();
        std::thread::sleep(Duration::from_millis(1_100));
        assert_eq!(name(&login(Presented::Bearer(own), NOW)), None);
    }

    #[test]
    fn who_shows_nothing_is_nobody_and_who_shows_nonsense_is_refused() {
        let scene = scene();
        assert_eq!(name(&scene.authenticator.login(Presented::Nothing, here(), NOW)), Some("anonymous"));
        let refused = scene.authenticator.login(Presented::Malformed, here(), NOW);
        assert!(matches!(refused, Login::Refused(Refusal::Wrong)));
    }
}
