//! A registry that another one pulls from, with a door that counts and can be shut.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::{Asked, Config, Program, Reply, Repo, Scripted, Server, forward};

/// CNCF distribution behind a door.
pub struct Upstream {
    /// The registry itself.
    pub server: Server,
    door: Scripted,
    manner: Arc<Mutex<Manner>>,
}

type Manner = Arc<dyn Fn(&Asked) -> Option<Reply> + Send + Sync>;

impl Upstream {
    /// Starts it, with the door open.
    #[track_caller]
    pub fn start() -> Self {
        let server = Server::launch(Program::Distribution, Config::default());
        let manner: Arc<Mutex<Manner>> = Arc::new(Mutex::new(Arc::new(|_| None)));
        let (address, own) = (server.address(), manner.clone());
        let door = Scripted::start(move |asked| {
            let manner = own.lock().unwrap_or_else(PoisonError::into_inner).clone();
            manner(asked).unwrap_or_else(|| forward(address, asked))
        });
        Self { server, door, manner }
    }

    /// Where the door is.
    pub fn address(&self) -> SocketAddr {
        self.door.address()
    }

    /// From now on the door answers so; what it answers `None` to goes through.
    pub fn answers(&self, manner: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static) {
        *self.manner.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(manner);
    }

    /// The door ends every connection without an answer.
    pub fn shut(&self) {
        self.answers(|_| Some(Reply::close()));
    }

    /// The door lets everything through.
    pub fn open(&self) {
        self.answers(|_| None);
    }

    /// The door lets everything through after a while.
    pub fn slow(&self, pause: Duration) {
        self.answers(move |_| {
            std::thread::sleep(pause);
            None
        });
    }

    /// How many requests had this method and a target that holds `part`.
    pub fn count(&self, method: &str, part: &str) -> usize {
        self.door.count(method, part)
    }

    /// Everything that was asked at the door.
    pub fn asked(&self) -> Vec<Asked> {
        self.door.asked()
    }

    /// A repository of the registry, not through the door.
    pub fn repo(&self, name: &str) -> Repo<'_> {
        self.server.repo(name)
    }

    /// An entry of `wharf.upstreams` for it: `yocto/*` is `library/*` there, and a tag counts for so long.
    pub fn entry(&self, ttl: &str) -> Value {
        json!({"url": format!("http://{}", self.address()), "repositories": {"yocto/*": "library/*"}, "ttl": ttl})
    }

    /// A wharf that pulls from it.
    #[track_caller]
    pub fn puller(&self, ttl: &str) -> Server {
        self.puller_with(ttl, Config::default())
    }

    /// The same with this configuration besides.
    #[track_caller]
    pub fn puller_with(&self, ttl: &str, config: Config) -> Server {
        Server::launch(Program::Wharf, config.set("wharf.upstreams", json!([self.entry(ttl)])))
    }
}
