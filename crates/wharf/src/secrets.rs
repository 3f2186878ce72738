//! Secrets on the command line, where every process of the machine could read them.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

/// The options whose values are secrets.
const OPTIONS: [&str; 4] = ["--creds", "--token", "--src-creds", "--src-token"];
/// What stands in the place of a secret.
const COVER: u8 = b'x';
/// The field of /proc/self/stat that holds the address of the first argument (proc(5), `arg_start`), counted from after the name.
const ARG_START: usize = 45;

/// The arguments of this process. In /proc/PID/cmdline the secrets among them are covered from now on; they could be read there for the
/// milliseconds since the program was started.
pub fn taken_off_the_command_line() -> Vec<OsString> {
    let arguments: Vec<_> = std::env::args_os().collect();
    let secrets = places(&arguments);
    if !secrets.is_empty()
        && let Err(error) = cover(&secrets)
    {
        crate::ui::warn(&format!(
            "the credentials on the command line can be read by every process of this machine ({error}); a file or a variable keeps them"
        ));
    }
    arguments
}

/// Where the secrets stand in the arguments as they lie in memory, one after the other, each with a zero byte: offset and length.
fn places(arguments: &[OsString]) -> Vec<(u64, usize)> {
    let mut found = Vec::new();
    let mut offset = 0;
    let mut expected = false;
    for argument in arguments {
        let bytes = argument.as_bytes();
        let inside = OPTIONS.iter().find_map(|option| bytes.strip_prefix(option.as_bytes())?.strip_prefix(b"="));
        if expected {
            found.push((offset, bytes.len()));
        } else if let Some(value) = inside {
            found.push((offset + (bytes.len() - value.len()) as u64, value.len()));
        }
        expected = !expected && OPTIONS.iter().any(|option| OsStr::new(option) == argument);
        offset += bytes.len() as u64 + 1;
    }
    found
}

fn cover(secrets: &[(u64, usize)]) -> std::io::Result<()> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The program's name stands in parentheses and may hold anything.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let start = after.split_ascii_whitespace().nth(ARG_START).and_then(|field| field.parse::<u64>().ok());
    let start = start.filter(|start| *start != 0).ok_or_else(|| std::io::Error::other("/proc does not tell where they are"))?;
    let memory = OpenOptions::new().write(true).open("/proc/self/mem")?;
    secrets.iter().try_for_each(|(offset, length)| memory.write_all_at(&vec![COVER; *length], start + offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_in_both_forms() {
        let found = |arguments: &[&str]| places(&arguments.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(found(&["wharf", "push", "--creds", "a:b", "--token=t", "x"]), [(19, 3), (31, 1)]);
        assert_eq!(found(&["wharf", "--src-creds", "--token", "y"]), [(18, 7)]);
        assert_eq!(found(&["wharf", "push", "--credsfile", "f", "--creds"]), []);
    }
}
