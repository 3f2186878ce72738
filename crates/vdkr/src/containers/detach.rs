//! Keys that are not for the program in the container: they leave it to itself.

use crate::cli::keys::DetachKeys;

/// Finds the keys in what is typed.
pub struct Watch {
    keys: DetachKeys,
    /// How many of them were typed just now, and are held back.
    typed: usize,
}

impl Watch {
    /// For these keys.
    pub fn for_keys(keys: DetachKeys) -> Self {
        Self { keys, typed: 0 }
    }

    /// What of the next bytes is for the program; `None` once all keys were typed, and what comes after them is for nobody.
    pub fn pass(&mut self, typed: &[u8]) -> Option<Vec<u8>> {
        let mut passed = Vec::with_capacity(typed.len());
        for byte in typed {
            let keys = self.keys.bytes();
            if *byte != keys[self.typed] {
                passed.extend_from_slice(&keys[..self.typed]);
                self.typed = 0;
            }
            if *byte == keys[self.typed] {
                self.typed += 1;
                if self.typed == keys.len() {
                    return None;
                }
            } else {
                passed.push(*byte);
            }
        }
        Some(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_sequence_counts() {
        let mut watch = Watch::for_keys(DetachKeys::default());
        assert_eq!(watch.pass(b"ab"), Some(b"ab".to_vec()));
        assert_eq!(watch.pass(&[16]), Some(Vec::new()), "it may be the first of them");
        assert_eq!(watch.pass(b"x"), Some(vec![16, b'x']), "it was not");
        assert_eq!(watch.pass(&[16, 16]), Some(vec![16]));
        assert_eq!(watch.pass(&[17, b'y']), None);
        let mut one = Watch::for_keys("x".parse().expect("a key"));
        assert_eq!(one.pass(b"ab"), Some(b"ab".to_vec()));
        assert_eq!(one.pass(b"abx"), None);
    }
}
