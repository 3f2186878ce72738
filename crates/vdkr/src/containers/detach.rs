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

    /// What of the next bytes is for the program, and whether all keys were typed: what comes after them is for nobody.
    pub fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
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
                    return (passed, true);
                }
            } else {
                passed.push(*byte);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_sequence_counts() {
        let mut watch = Watch::for_keys(DetachKeys::default());
        assert_eq!(watch.pass(b"ab"), (b"ab".to_vec(), false));
        assert_eq!(watch.pass(&[16]), (Vec::new(), false), "it may be the first of them");
        assert_eq!(watch.pass(b"x"), (vec![16, b'x'], false), "it was not");
        assert_eq!(watch.pass(&[16, 16]), (vec![16], false));
        assert_eq!(watch.pass(&[17, b'y']), (Vec::new(), true));
        let mut one = Watch::for_keys("x".parse().expect("a key"));
        assert_eq!(one.pass(b"ab"), (b"ab".to_vec(), false));
        assert_eq!(one.pass(b"abxc"), (b"ab".to_vec(), true));
    }
}
