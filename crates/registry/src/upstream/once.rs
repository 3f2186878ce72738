//! One question for many who ask the same at the same time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Questions at a time; who asks another is to come again.
const QUESTIONS: usize = 1_000;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unasked {
    /// Too much is being asked already.
    Crowded,
    /// The runtime stops.
    Stopped,
}

type Running<K, V> = Arc<Mutex<HashMap<K, watch::Receiver<Option<V>>>>>;

/// Questions that are being asked. Each is asked to its end, whoever of those that wait goes away.
pub(super) struct Once<K, V>(Running<K, V>);

impl<K, V> Default for Once<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Hash + Eq + Clone + Send + 'static, V: Clone + Send + Sync + 'static> Once<K, V> {
    /// The answer to the question that is being asked, or that `ask` asks on this runtime.
    pub(super) async fn ask<F>(&self, runtime: &Handle, key: K, ask: impl FnOnce() -> F) -> Result<V, Unasked>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut answer = self.join(runtime, key, ask)?;
        // An error means that nobody will answer any more.
        let answer = answer.wait_for(Option::is_some).await.map_err(|_| Unasked::Stopped)?;
        answer.clone().ok_or(Unasked::Stopped)
    }

    fn join<F>(&self, runtime: &Handle, key: K, ask: impl FnOnce() -> F) -> Result<watch::Receiver<Option<V>>, Unasked>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut running = self.0.lock();
        if let Some(answer) = running.get(&key) {
            return Ok(answer.clone());
        }
        if running.len() >= QUESTIONS {
            return Err(Unasked::Crowded);
        }
        let (sender, answer) = watch::channel(None);
        running.insert(key.clone(), answer.clone());
        let ended = Ended { running: self.0.clone(), key };
        let question = ask();
        runtime.spawn(async move {
            let _ended = ended;
            sender.send_replace(Some(question.await));
        });
        Ok(answer)
    }
}

/// Takes a question off the table, also when it was cut off.
struct Ended<K: Hash + Eq, V> {
    running: Running<K, V>,
    key: K,
}

impl<K: Hash + Eq, V> Drop for Ended<K, V> {
    fn drop(&mut self) {
        self.running.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn many_askers_are_one_question_and_later_ones_another() {
        let (once, asked) = (Arc::new(Once::<&str, usize>::default()), Arc::new(AtomicUsize::new(0)));
        let ask = || {
            let (once, asked) = (once.clone(), asked.clone());
            async move {
                let question = || async move {
                    let number = asked.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    number
                };
                once.ask(&Handle::current(), "x", question).await
            }
        };
        assert_eq!(tokio::join!(ask(), ask(), ask()), (Ok(0), Ok(0), Ok(0)));
        assert_eq!(ask().await, Ok(1));
        // Who goes away does not take the question along.
        let _ = tokio::time::timeout(Duration::from_millis(1), ask()).await;
        assert_eq!(ask().await, Ok(2));
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }
    #[tokio::test]
    async fn there_are_only_so_many_questions() {
        let once = Once::<usize, ()>::default();
        let runtime = Handle::current();
        let waiting: Vec<_> = (0..QUESTIONS).map(|key| once.join(&runtime, key, std::future::pending)).collect();
        assert!(waiting.iter().all(Result::is_ok));
        assert_eq!(once.ask(&runtime, QUESTIONS, std::future::pending).await, Err(Unasked::Crowded));
        // Who asks what is asked already waits with the others.
        assert!(once.join(&runtime, 0, std::future::pending).is_ok());
    }
}
