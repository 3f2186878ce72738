//! Random changes.

use fastrand::Rng;

/// Bytes that mean something to one grammar or another: most others are refused at once.
const ALPHABET: &[u8] = b"/:@-_.,=*+?&%\"\\{}[]<> \0\t\r\n;019azAZ\x7f\x80\xc3\xa9\xff";

/// Changes an input in one place. `pool` has others to take a part of.
pub fn mutate(input: &mut Vec<u8>, pool: &[Vec<u8>], random: &mut Rng) {
    let byte = ALPHABET[random.usize(..ALPHABET.len())];
    let place = random.usize(..=input.len());
    match random.u8(..9) {
        0 => input.insert(place, byte),
        1 if place < input.len() => input[place] = byte,
        2 if place < input.len() => drop(input.remove(place)),
        3 if place < input.len() => input[place] ^= 1 << random.u8(..8),
        4 if !pool.is_empty() => {
            let other = &pool[random.usize(..pool.len())];
            let cut = random.usize(..=other.len());
            input.truncate(place);
            input.extend_from_slice(&other[cut..]);
        }
        5 if place < input.len() => input[place] = random.u8(..),
        6 => {
            // A number becomes another one.
            let digits = |byte: &u8| byte.is_ascii_digit();
            let start = input[place..].iter().position(digits).map_or(input.len(), |at| place + at);
            let end = input[start..].iter().position(|byte| !digits(byte)).map_or(input.len(), |at| start + at);
            let new = random.choice([
                "0",
                "1",
                "-1",
                "00",
                "255",
                "4096",
                "4294967296",
                "18446744073709551615",
                "18446744073709551616",
            ]);
            input.splice(start..end, new.unwrap_or_default().bytes());
        }
        7 => {
            let end = random.usize(place..=input.len());
            input.drain(place..end);
        }
        _ => {
            let end = random.usize(place..=input.len());
            let copy = input[place..end].repeat(random.usize(1..20));
            input.splice(place..place, copy);
        }
    }
}
