//! A registry that asks who its callers are, and lets each do what rules say.

use std::fs;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tempfile::TempDir;

use crate::{Config, Request, Response, Server};

/// `secret` in bcrypt, with little work.
pub const SECRET: &str = "$2b$04$.3BSjQ/WTbWogFjFRPLvdOfLsB36AC.FwYM9FoGpGxon6Bt/mssVm";

/// The registry, with the folder of its users. Everybody's password is `secret`.
pub struct Guarded {
    /// The registry.
    pub server: Server,
    folder: TempDir,
    rules: Value,
}

impl Guarded {
    /// Starts it with these users and rules; `fill` puts content into it before anybody is asked who they are.
    #[track_caller]
    pub fn start(users: &[&str], rules: Value, fill: impl FnOnce(&Server)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = Server::start();
        fill(&server);
        let lines: String = users.iter().map(|user| format!("{user}:{SECRET}\n")).collect();
        fs::write(folder.path().join("htpasswd"), lines).expect("write the users");
        let guarded = Self::configured(&folder, &rules);
        server.restart_with(guarded);
        Self { server, folder, rules }
    }

    fn configured(folder: &TempDir, rules: &Value) -> Config {
        let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
        let config = Config::default().set("wharf.access.folder", path("")).set("wharf.audit.file", path("audit.log"));
        if rules.is_null() { config } else { config.set("wharf.access.rules", rules.clone()) }
    }

    /// Starts it again with another setting, too.
    #[track_caller]
    pub fn restart_with(&mut self, key: &str, value: impl Into<Value>) {
        let config = Self::configured(&self.folder, &self.rules).set(key, value);
        self.server.restart_with(config);
    }

    /// A file beside the users.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A configuration file for the commands that change users and tokens.
    pub fn config_file(&self) -> PathBuf {
        let root = self.server.root();
        let config = Self::configured(&self.folder, &self.rules);
        let config = config.set("storage.filesystem.rootdirectory", root.to_str().expect("UTF-8"));
        let file = self.path("config.yml");
        fs::write(&file, config.to_yaml()).expect("write the configuration");
        file
    }

    /// Every line of the audit log.
    pub fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("audit.log")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    /// A token of the token service for this user and scope.
    #[track_caller]
    pub fn token(&self, user: &str, scope: &str) -> String {
        let request = self.server.get(&format!("/token?service=wharf&scope={scope}"));
        let request = if user.is_empty() { request } else { request.header("Authorization", basic(user, "secret")) };
        request.send().expect(200).json()["token"].as_str().expect("a token").to_owned()
    }

    /// Sends a request as a user; with an empty name, as nobody.
    pub fn send_as(&self, user: &str, request: &Request<'_>) -> Response {
        if user.is_empty() { request.send() } else { request.clone().header("Authorization", basic(user, "secret")).send() }
    }
}

/// An `Authorization` header.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// An `Authorization` header.
pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}
