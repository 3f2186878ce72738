//! A bounded random run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::{Target, mutate, seeds};

/// Inputs that are tried at least, however little time there is.
const LEAST: u64 = 300;
/// Inputs that later ones are made of.
const POOL: usize = 512;

/// Feeds a target its seeds and corpus, and then, for this long, what its grammar makes and mutations of all that; answers how many inputs it was.
///
/// # Panics
/// When an input breaks something; with the input itself, as text that Rust reads as bytes, and the seed of the choices.
pub fn run(target: &Target, duration: Duration, seed: u64) -> u64 {
    let feed = (target.start)();
    let mut random = Rng::with_seed(seed);
    let mut pool = seeds(target);
    let kept = pool.len();
    assert!(kept > 0, "{} has nothing to begin with", target.name);
    let given = |input: &[u8]| {
        let outcome = catch_unwind(AssertUnwindSafe(|| feed(input)));
        assert!(outcome.is_ok(), "{} is broken by b\"{}\" (seed {seed})", target.name, input.escape_ascii());
    };
    pool.iter().for_each(|input| given(input));
    let end = Instant::now() + duration;
    let mut count = 0;
    while count < LEAST || Instant::now() < end {
        let mut input = match target.grow {
            Some(grow) if random.u8(..4) != 0 => grow(&mut random),
            _ => pool[random.usize(..pool.len())].clone(),
        };
        let changes = if target.grow.is_some() { random.usize(..4) } else { random.usize(1..5) };
        for _ in 0..changes {
            mutate(&mut input, &pool, &mut random);
        }
        input.truncate(target.longest);
        given(&input);
        // What it began with stays; the rest of the pool drifts, so that mutations add up.
        if pool.len() < POOL + kept {
            pool.push(input);
        } else if random.u8(..) < 8 {
            let place = random.usize(kept..pool.len());
            pool[place] = input;
        }
        count += 1;
    }
    count + kept as u64
}
