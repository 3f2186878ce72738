//! The folder with the authority's and the server's key and certificate.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rcgen::{Issuer, KeyPair, PublicKeyData};
use rustix::fs::FlockOperation;
use time::OffsetDateTime;

use crate::authority::{self, Made};
use crate::facts::{Facts, FactsError};
use crate::{Names, identity};

/// The authority's certificate, which clients believe.
pub const AUTHORITY: &str = "ca.crt";
/// The authority's key, which never leaves the folder.
pub const AUTHORITY_KEY: &str = "ca.key";
/// The server's certificate.
pub const SERVER: &str = "server.crt";
/// The server's key.
pub const SERVER_KEY: &str = "server.key";

/// What certificates are to be like.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What clients may call the server.
    pub names: Names,
    /// Days that the server's certificate counts.
    pub days: u32,
    /// Days that the authority's counts.
    pub authority_days: u32,
}

/// What was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issued {
    /// Nothing: what is there will do.
    Nothing,
    /// A certificate for the server.
    Server(Reason),
    /// An authority, and a certificate for the server.
    Authority,
}

/// Why the server got another certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There was none, or its key was another's.
    Missing,
    /// Two thirds of its time are over.
    Due,
    /// It lacks names that are wanted.
    Names,
    /// Another authority had signed it.
    Foreign,
    /// Somebody asked for it.
    Asked,
}

/// Why certificates could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file.
    #[error("cannot use {}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A certificate that is none.
    #[error("cannot use {}", .path.display())]
    Certificate {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: FactsError,
    },
    /// A key that is none, or of a kind that cannot be used.
    #[error("cannot use {}", .path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// One of the authority's files without the other.
    #[error("{} is missing beside {}; bring it back, or remove both for a new authority, which all clients have to be given", .missing.display(), .there.display())]
    Half {
        /// Which is not there.
        missing: PathBuf,
        /// Which is.
        there: PathBuf,
    },
    /// The authority's key was put away, and a certificate is needed.
    #[error("the server needs another certificate, and {} is not there to sign it", .0.display())]
    NoKey(PathBuf),
    /// The authority's certificate is another key's.
    #[error("{} does not belong to {}", .certificate.display(), .key.display())]
    Mismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The authority's time is over.
    #[error("{} expired on {until}; `wharf pki renew --authority` makes a new one, which all clients have to be given", .path.display())]
    Expired {
        /// The certificate.
        path: PathBuf,
        /// When.
        until: time::Date,
    },
    /// Making one failed.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Pki {
    folder: PathBuf,
}

/// The authority as it lies in the folder.
struct Authority {
    facts: Facts,
    pem: String,
    key: Option<KeyPair>,
}

impl Pki {
    /// The folder, which is made when something is put into it.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file of it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What the authority's certificate says; `None` when there is none yet.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or is no certificate.
    pub fn authority(&self) -> Result<Option<Facts>, PkiError> {
        self.facts(AUTHORITY)
    }

    /// What the server's certificate says; `None` when there is none yet.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or is no certificate.
    pub fn server(&self) -> Result<Option<Facts>, PkiError> {
        self.facts(SERVER)
    }

    /// Makes what is missing or does not suffice any more at `now`. Several processes may do so at once; one of them makes it.
    ///
    /// # Errors
    ///
    /// What is there cannot be used, and is left as it is.
    pub fn ensure(&self, plan: &Plan, now: OffsetDateTime) -> Result<Issued, PkiError> {
        let _lock = self.lock()?;
        let begun = self.begun()?;
        let authority = if begun.is_some() { None } else { self.read_authority()? };
        let Some(authority) = authority else {
            let made = authority::authority(begun, plan.authority_days, now)?;
            self.write(AUTHORITY_KEY, &made.key, 0o600)?;
            self.write(AUTHORITY, &made.certificate, 0o644)?;
            self.sign(plan, now)?;
            return Ok(Issued::Authority);
        };
        let Some(reason) = self.reason(&authority, plan, now)? else {
            self.tighten()?;
            return Ok(Issued::Nothing);
        };
        self.sign(plan, now)?;
        Ok(Issued::Server(reason))
    }

    /// Gives the server another certificate, whatever the one that it has is like.
    ///
    /// # Errors
    ///
    /// What is there cannot be used, and is left as it is.
    pub fn renew(&self, plan: &Plan, now: OffsetDateTime) -> Result<Issued, PkiError> {
        if self.ensure(plan, now)? == Issued::Authority {
            return Ok(Issued::Authority);
        }
        let _lock = self.lock()?;
        self.sign(plan, now)?;
        Ok(Issued::Server(Reason::Asked))
    }

    /// Gives the authority another certificate for the key that it has, and the server one signed by it. Clients that have the old one believe the server until
    /// that expires.
    ///
    /// # Errors
    ///
    /// What is there cannot be used, and is left as it is.
    pub fn renew_authority(&self, plan: &Plan, now: OffsetDateTime) -> Result<Issued, PkiError> {
        let _lock = self.lock()?;
        let key = match self.read_authority()? {
            None => None,
            Some(Authority { key: Some(key), .. }) => Some(key),
            Some(Authority { key: None, .. }) => return Err(PkiError::NoKey(self.path(AUTHORITY_KEY))),
        };
        let made = authority::authority(key, plan.authority_days, now)?;
        self.write(AUTHORITY_KEY, &made.key, 0o600)?;
        self.write(AUTHORITY, &made.certificate, 0o644)?;
        self.sign(plan, now)?;
        Ok(Issued::Authority)
    }

    /// The authority's key where the first start ended between the two files: nothing was ever signed by it.
    fn begun(&self) -> Result<Option<KeyPair>, PkiError> {
        let Some(key) = self.read(AUTHORITY_KEY)? else { return Ok(None) };
        if self.read(AUTHORITY)?.is_some() || self.read(SERVER)?.is_some() {
            return Ok(None);
        }
        let key = KeyPair::from_pem(&key).map_err(|source| PkiError::Key { path: self.path(AUTHORITY_KEY), source })?;
        Ok(Some(key))
    }

    /// Why the server's certificate does not suffice.
    fn reason(&self, authority: &Authority, plan: &Plan, now: OffsetDateTime) -> Result<Option<Reason>, PkiError> {
        let Some(server) = self.server()? else { return Ok(Some(Reason::Missing)) };
        let (certificate, key) = (self.path(SERVER), self.path(SERVER_KEY));
        // A crash may have come between the two files.
        if identity::load(&certificate, &key).is_err() {
            return Ok(Some(Reason::Missing));
        }
        let certificate = self.read(SERVER)?.unwrap_or_default();
        Ok(if !identity::is_signed_by(&certificate, &authority.pem) {
            Some(Reason::Foreign)
        } else if server.is_due(now) && server.not_after < authority.facts.not_after {
            Some(Reason::Due)
        } else if !server.names.contain(&plan.names) {
            Some(Reason::Names)
        } else {
            None
        })
    }

    /// Signs a certificate for the server. The lock is held.
    fn sign(&self, plan: &Plan, now: OffsetDateTime) -> Result<(), PkiError> {
        let path = self.path(AUTHORITY);
        let authority = self.read_authority()?.ok_or_else(|| PkiError::NoKey(self.path(AUTHORITY_KEY)))?;
        let key = authority.key.ok_or_else(|| PkiError::NoKey(self.path(AUTHORITY_KEY)))?;
        let until = authority.facts.not_after;
        if until <= now {
            return Err(PkiError::Expired { path, until: until.date() });
        }
        let issuer = Issuer::from_ca_cert_pem(&authority.pem, key).map_err(|source| PkiError::Key { path, source })?;
        let Made { key, certificate } = authority::server(&issuer, &plan.names, plan.days, until, now)?;
        // Who reads in between finds a key that does not fit, and reads again.
        self.write(SERVER_KEY, &key, 0o600)?;
        self.write(SERVER, &certificate, 0o644)
    }

    fn read_authority(&self) -> Result<Option<Authority>, PkiError> {
        let (pem, key) = (self.read(AUTHORITY)?, self.read(AUTHORITY_KEY)?);
        let (certificate_path, key_path) = (self.path(AUTHORITY), self.path(AUTHORITY_KEY));
        let pem = match (pem, &key) {
            (None, None) => return Ok(None),
            (None, Some(_)) => return Err(PkiError::Half { missing: certificate_path, there: key_path }),
            (Some(pem), _) => pem,
        };
        let facts = Facts::of_pem(&pem).map_err(|source| PkiError::Certificate { path: certificate_path.clone(), source })?;
        let key = key.map(|key| KeyPair::from_pem(&key)).transpose();
        let key = key.map_err(|source| PkiError::Key { path: key_path.clone(), source })?;
        if key.as_ref().is_some_and(|key| key.subject_public_key_info() != facts.public_key) {
            return Err(PkiError::Mismatch { certificate: certificate_path, key: key_path });
        }
        Ok(Some(Authority { facts, pem, key }))
    }

    fn facts(&self, name: &str) -> Result<Option<Facts>, PkiError> {
        let read = |pem: String| Facts::of_pem(&pem).map_err(|source| PkiError::Certificate { path: self.path(name), source });
        self.read(name)?.map(read).transpose()
    }

    fn read(&self, name: &str) -> Result<Option<String>, PkiError> {
        match fs::read_to_string(self.path(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(PkiError::File { path: self.path(name), source }),
        }
    }

    /// One process at a time makes certificates.
    fn lock(&self) -> Result<File, PkiError> {
        let locked = fs::create_dir_all(&self.folder).and_then(|()| {
            let folder = File::open(&self.folder)?;
            rustix::fs::flock(&folder, FlockOperation::LockExclusive)?;
            Ok(folder)
        });
        locked.map_err(|source| PkiError::File { path: self.folder.clone(), source })
    }

    /// Takes from others the right to read the keys: a copy or a backup may have given it to them.
    fn tighten(&self) -> Result<(), PkiError> {
        for name in [AUTHORITY_KEY, SERVER_KEY] {
            let path = self.path(name);
            let failed = |source| PkiError::File { path: path.clone(), source };
            match fs::metadata(&path) {
                Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
                    fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(failed)?;
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Replaces a file as a whole.
    fn write(&self, name: &str, text: &str, mode: u32) -> Result<(), PkiError> {
        write(&self.folder, name, text, mode).map_err(|source| PkiError::File { path: self.path(name), source })
    }
}

fn write(folder: &Path, name: &str, text: &str, mode: u32) -> io::Result<()> {
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(mode)).tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    // Root may renew what a server that is not root shows.
    let (own, like) = (file.as_file().metadata()?, fs::metadata(folder)?);
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        std::os::unix::fs::fchown(file.as_file(), Some(like.uid()), Some(like.gid()))?;
    }
    file.as_file().sync_all()?;
    file.persist(folder.join(name))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    fn plan() -> Plan {
        Plan { names: Names::of_this_machine(), days: 365, authority_days: 3650 }
    }

    fn begun() -> (tempfile::TempDir, Pki, OffsetDateTime) {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::new(folder.path().join("pki"));
        let now = OffsetDateTime::now_utc();
        assert_eq!(pki.ensure(&plan(), now).unwrap(), Issued::Authority);
        (folder, pki, now)
    }

    #[test]
    fn what_is_there_is_kept_while_it_will_do() {
        let (_folder, pki, now) = begun();
        let before = pki.server().unwrap().unwrap();
        assert!(before.names.contain(&plan().names));
        assert_eq!(pki.ensure(&plan(), now + Duration::days(200)).unwrap(), Issued::Nothing);
        assert_eq!(pki.server().unwrap().unwrap().fingerprint, before.fingerprint);
        for (name, mode) in [(AUTHORITY_KEY, 0o600), (SERVER_KEY, 0o600), (AUTHORITY, 0o644), (SERVER, 0o644)] {
            assert_eq!(fs::metadata(pki.path(name)).unwrap().permissions().mode() & 0o777, mode, "{name}");
        }
        fs::set_permissions(pki.path(SERVER_KEY), Permissions::from_mode(0o644)).unwrap();
        pki.ensure(&plan(), now).unwrap();
        assert_eq!(fs::metadata(pki.path(SERVER_KEY)).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_server_gets_another_for_each_reason() {
        let (_folder, pki, now) = begun();
        let issued = |plan: &Plan, now| pki.ensure(plan, now).unwrap();
        let late = now + Duration::days(300);
        assert_eq!(issued(&plan(), late), Issued::Server(Reason::Due));
        assert_eq!(pki.server().unwrap().unwrap().not_after.date(), (late + Duration::days(365)).date());
        let mut more = plan();
        more.names.add("registry.example").unwrap();
        assert_eq!(issued(&more, late), Issued::Server(Reason::Names));
        assert_eq!(issued(&more, late), Issued::Nothing);
        // Fewer names are no reason.
        assert_eq!(issued(&plan(), late), Issued::Nothing);
        fs::remove_file(pki.path(SERVER_KEY)).unwrap();
        assert_eq!(issued(&plan(), late), Issued::Server(Reason::Missing));
        let (_other, foreign, _) = begun();
        fs::copy(foreign.path(SERVER_KEY), pki.path(SERVER_KEY)).unwrap();
        assert_eq!(issued(&plan(), late), Issued::Server(Reason::Missing));
        fs::copy(foreign.path(SERVER_KEY), pki.path(SERVER_KEY)).unwrap();
        fs::copy(foreign.path(SERVER), pki.path(SERVER)).unwrap();
        assert_eq!(issued(&plan(), late), Issued::Server(Reason::Foreign));
        let before = pki.server().unwrap().unwrap().fingerprint;
        assert_eq!(pki.renew(&plan(), late).unwrap(), Issued::Server(Reason::Asked));
        assert_ne!(pki.server().unwrap().unwrap().fingerprint, before);
    }

    /// The first start makes the key, the certificate and then the server's; it may end after any of them.
    #[test]
    fn a_first_start_that_was_cut_off_is_gone_on_with() {
        let (_folder, pki, now) = begun();
        let key = fs::read(pki.path(AUTHORITY_KEY)).unwrap();
        for name in [AUTHORITY, SERVER, SERVER_KEY] {
            fs::remove_file(pki.path(name)).unwrap();
        }
        assert_eq!(pki.ensure(&plan(), now).unwrap(), Issued::Authority);
        assert_eq!(fs::read(pki.path(AUTHORITY_KEY)).unwrap(), key);
        for name in [SERVER, SERVER_KEY] {
            fs::remove_file(pki.path(name)).unwrap();
        }
        let authority = pki.authority().unwrap().unwrap();
        assert_eq!(pki.ensure(&plan(), now).unwrap(), Issued::Server(Reason::Missing));
        assert_eq!(pki.authority().unwrap().unwrap().fingerprint, authority.fingerprint);
    }

    #[test]
    fn an_authority_is_never_replaced_unasked() {
        let (_folder, pki, now) = begun();
        let authority = pki.authority().unwrap().unwrap();
        let certificate = fs::read(pki.path(AUTHORITY)).unwrap();
        fs::remove_file(pki.path(AUTHORITY)).unwrap();
        assert!(matches!(pki.ensure(&plan(), now), Err(PkiError::Half { .. })));
        let (_other, foreign, _) = begun();
        fs::copy(foreign.path(AUTHORITY), pki.path(AUTHORITY)).unwrap();
        assert!(matches!(pki.ensure(&plan(), now), Err(PkiError::Mismatch { .. })));
        fs::write(pki.path(AUTHORITY), certificate).unwrap();
        assert_eq!(pki.ensure(&plan(), now).unwrap(), Issued::Nothing);
        assert!(matches!(pki.renew(&plan(), now + Duration::days(4000)), Err(PkiError::Expired { .. })));
        // Its key may be kept elsewhere as long as nothing is to be signed.
        let key = fs::read(pki.path(AUTHORITY_KEY)).unwrap();
        fs::remove_file(pki.path(AUTHORITY_KEY)).unwrap();
        assert_eq!(pki.ensure(&plan(), now).unwrap(), Issued::Nothing);
        assert!(matches!(pki.renew(&plan(), now), Err(PkiError::NoKey(_))));
        fs::write(pki.path(AUTHORITY_KEY), key).unwrap();
        let old = fs::read_to_string(pki.path(AUTHORITY)).unwrap();
        assert_eq!(pki.renew_authority(&plan(), now + Duration::days(4000)).unwrap(), Issued::Authority);
        let renewed = pki.authority().unwrap().unwrap();
        assert!(renewed.fingerprint != authority.fingerprint && renewed.public_key == authority.public_key);
        // Who has only the old one believes the new server's certificate.
        assert!(identity::is_signed_by(&fs::read_to_string(pki.path(SERVER)).unwrap(), &old));
    }

    #[test]
    fn an_authority_of_little_time_is_not_asked_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::new(folder.path());
        let now = OffsetDateTime::now_utc();
        let short = Plan { days: 365, authority_days: 10, ..plan() };
        pki.ensure(&short, now).unwrap();
        assert_eq!(pki.server().unwrap().unwrap().not_after, pki.authority().unwrap().unwrap().not_after);
        assert_eq!(pki.ensure(&short, now + Duration::days(9)).unwrap(), Issued::Nothing);
    }

    #[test]
    fn several_at_once_make_one_authority() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::new(folder.path());
        let now = OffsetDateTime::now_utc();
        let made: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| pki.ensure(&plan(), now).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(made.iter().filter(|issued| **issued == Issued::Authority).count(), 1);
        assert_eq!(made.iter().filter(|issued| **issued == Issued::Nothing).count(), 7);
    }
}
