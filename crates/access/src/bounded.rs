//! What is remembered of callers, of so many at most: whoever can make up callers must not be able to fill the memory.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};

/// Callers that are remembered at most.
const CALLERS: usize = 10_000;

/// Values by caller. With too many, those that say nothing any more are forgotten, and if there are none, all.
#[derive(Debug)]
pub(crate) struct Bounded<K, V>(HashMap<K, V>);

impl<K, V> Default for Bounded<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq, V> Bounded<K, V> {
    /// What is remembered of a caller.
    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, caller: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(caller)
    }

    /// The same, to be changed; `new` when there is nothing. `is_over` says what may be forgotten.
    pub(crate) fn entry<Q: Hash + Eq + ToOwned<Owned = K> + ?Sized>(
        &mut self,
        caller: &Q,
        new: V,
        is_over: impl Fn(&V) -> bool,
    ) -> &mut V
    where
        K: Borrow<Q>,
    {
        if self.0.len() >= CALLERS && !self.0.contains_key(caller) {
            self.0.retain(|_, value| !is_over(value));
            if self.0.len() >= CALLERS {
                self.0.clear();
            }
        }
        // Names are copied only for those who are new.
        if !self.0.contains_key(caller) {
            self.0.insert(caller.to_owned(), new);
        }
        self.0.get_mut(caller).unwrap_or_else(|| unreachable!("it was put there"))
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// What counts as one place: an IPv4 address, or the network of an IPv6 one, for who has one of these has 2^64 of them.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_what_counts_still_is_kept_while_there_is_room() {
        let mut bounded = Bounded::<usize, bool>::default();
        for number in 0..CALLERS {
            *bounded.entry(&number, false, |kept| !kept) = number % 2 == 0;
        }
        bounded.entry(&CALLERS, true, |kept| !kept);
        assert_eq!(bounded.len(), CALLERS / 2 + 1);
        assert_eq!((bounded.get(&0), bounded.get(&1)), (Some(&true), None));
        for number in 0..3 * CALLERS {
            bounded.entry(&number, true, |kept| !kept);
        }
        assert!(bounded.len() <= CALLERS);
    }

    #[test]
    fn a_network_is_one_place() {
        let place = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(place("2001:db8::1:2"), "2001:db8::");
        assert_eq!(place("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
