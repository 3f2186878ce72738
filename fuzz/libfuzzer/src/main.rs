//! One target, the one that `WHARF_FUZZ_TARGET` names, under libFuzzer.
#![no_main]

use std::cell::OnceCell;

use fastrand::Rng;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use wharf_fuzz::{Feed, Target, find, mutate, seeds};

type Chosen = (&'static Target, Feed, Vec<Vec<u8>>);

thread_local! {
    /// The target, its function, and what its mutations take parts of. libFuzzer runs everything in one thread.
    static CHOSEN: OnceCell<&'static Chosen> = const { OnceCell::new() };
}

fn with<T>(work: impl FnOnce(&'static Target, &Feed, &[Vec<u8>]) -> T) -> T {
    CHOSEN.with(|chosen| {
        let (target, feed, pool): &Chosen = chosen.get_or_init(|| {
            let name = std::env::var("WHARF_FUZZ_TARGET").unwrap_or_default();
            let target = find(&name).unwrap_or_else(|| panic!("no target {name:?}"));
            // It stays to the end: servers cannot be stopped while the thread is taken down.
            Box::leak(Box::new((target, (target.start)(), seeds(target))))
        });
        work(target, feed, pool)
    })
}

fuzz_target!(|data: &[u8]| with(|_, feed, _| feed(data)));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    with(|target, _, pool| {
        let mut random = Rng::with_seed(u64::from(seed));
        // What libFuzzer does by itself is the better half: it knows what the code compares.
        if random.bool() {
            return fuzzer_mutate(data, size, max_size);
        }
        let mut input = match (random.u8(..16), target.grow) {
            (0, _) => pool[random.usize(..pool.len())].clone(),
            (1..6, Some(grow)) => grow(&mut random),
            _ => data[..size].to_vec(),
        };
        mutate(&mut input, pool, &mut random);
        input.truncate(max_size);
        data[..input.len()].copy_from_slice(&input);
        input.len()
    })
});
