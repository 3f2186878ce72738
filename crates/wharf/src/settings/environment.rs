//! The environment, taken once.

use super::SettingsError;
use super::variables::Variable;

/// The environment, taken once.
#[derive(Clone, Debug, Default)]
pub struct Environment(Vec<(String, String)>);

impl Environment {
    /// That of this process. Bytes that are not UTF-8 are replaced: such a value is wrong for every variable followed
    /// here and is then named as such.
    pub fn of_process() -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Self(std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect())
    }

    /// The value of a variable; an empty one counts as unset.
    pub fn get(&self, variable: &Variable) -> Option<&str> {
        self.named(variable.name)
    }

    /// A variable that is on or off; `None` when it is unset.
    pub fn switch(&self, variable: &'static Variable) -> Result<Option<bool>, SettingsError> {
        let Some(value) = self.get(variable) else { return Ok(None) };
        match value.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Ok(Some(true)),
            "0" | "false" | "no" | "off" => Ok(Some(false)),
            _ => Err(SettingsError::Flag { name: variable.name, value: value.to_owned() }),
        }
    }

    /// A variable that is off unless it is on.
    pub fn flag(&self, variable: &'static Variable) -> Result<bool, SettingsError> {
        Ok(self.switch(variable)?.unwrap_or(false))
    }

    /// The value of a variable by name; an empty one counts as unset.
    pub fn named(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// All of it, for the overrides of the configuration.
    pub fn all(&self) -> &[(String, String)] {
        &self.0
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }
}
