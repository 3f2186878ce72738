//! QEMU's monitor, in its machine protocol (QMP, "QEMU Machine Protocol Specification"): JSON, a line each.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::MachineError;

/// A monitor that takes commands.
pub struct Monitor {
    socket: BufReader<UnixStream>,
    is_greeted: bool,
}

impl Monitor {
    /// Over the socket that QEMU has the other end of.
    pub fn over(socket: UnixStream) -> Self {
        Self { socket: BufReader::new(socket), is_greeted: false }
    }

    /// Run a command: what it returns.
    ///
    /// # Errors
    /// [`MachineError::Refused`] with QEMU's words.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value, MachineError> {
        if !self.is_greeted {
            self.is_greeted = true;
            self.line()?;
            self.execute("qmp_capabilities", &json!({}))?;
        }
        let line = format!("{}\n", json!({"execute": command, "arguments": arguments}));
        self.socket.get_mut().write_all(line.as_bytes()).map_err(MachineError::io(format!("cannot ask QEMU to {command}")))?;
        loop {
            let mut answer = self.line()?;
            if let Some(error) = answer.get("error") {
                let message = error["desc"].as_str().unwrap_or("no reason given").to_owned();
                return Err(MachineError::Refused { command: command.to_owned(), message });
            }
            if let Some(found) = answer.get_mut("return") {
                return Ok(found.take());
            }
        }
    }

    /// Wait for something that happens without being asked for.
    ///
    /// # Errors
    /// When QEMU has ended.
    pub fn event(&mut self) -> Result<Value, MachineError> {
        self.line()
    }

    /// Another hand on the same monitor. What one of them waits for, the other must not read.
    ///
    /// # Errors
    /// What the system says.
    pub fn another(&self) -> Result<Self, MachineError> {
        let socket = self.socket.get_ref().try_clone().map_err(MachineError::io("cannot make another hand on QEMU's monitor"))?;
        Ok(Self { socket: BufReader::new(socket), is_greeted: self.is_greeted })
    }

    fn line(&mut self) -> Result<Value, MachineError> {
        let mut line = String::new();
        let read = self.socket.read_line(&mut line).map_err(MachineError::io("cannot read from QEMU's monitor"))?;
        if read == 0 {
            return Err(MachineError::Ended("its monitor is closed".to_owned()));
        }
        serde_json::from_str(&line).map_err(|error| MachineError::Ended(format!("its monitor speaks no JSON: {error}")))
    }
}
