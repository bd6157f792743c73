//! Work that threads share.
//!
//! Owns that a thread that is refused (a limit of processes, a seccomp filter) costs time and nothing else: the caller's
//! own thread does the work then.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

/// How much stack a thread has, in bytes: Rust's own default, whatever the caller's environment says.
const STACK: usize = 2 << 20;

/// Does `work` on every item, on so many threads of which the caller's is one, and gives the results in the order of
/// the items. A thread takes the next item when it is done with the last. Where threads are refused there are fewer.
pub fn map<I, T: Send>(
    items: impl Iterator<Item = I> + Send,
    threads: usize,
    work: impl Fn(I) -> T + Sync,
) -> Vec<T> {
    let items = Mutex::new(items.enumerate());
    let take = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        let mut done = Vec::new();
        while let Some((number, item)) = take() {
            done.push((number, work(item)));
        }
        done
    };
    let mut done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map_while(|_| spawn_scoped(scope, (), |()| run()).ok()).collect();
        let mut done = run();
        for other in others {
            done.append(&mut joined(other.join()));
        }
        done
    });
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Does `work` with `means` in a thread of its own.
///
/// # Errors
/// The thread is refused; `means`, for the caller's own thread.
pub fn spawn<C: Send + 'static, T: Send + 'static>(
    means: C,
    work: impl FnOnce(C) -> T + Send + 'static,
) -> Result<JoinHandle<T>, C> {
    let builder = Builder::new().stack_size(STACK);
    or_give_back(means, work, |run| builder.spawn(run))
}

/// As [`spawn`], for a thread that borrows.
///
/// # Errors
/// As [`spawn`].
pub fn spawn_scoped<'scope, C: Send + 'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    means: C,
    work: impl FnOnce(C) -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, C> {
    let builder = Builder::new().stack_size(STACK);
    or_give_back(means, work, |run| builder.spawn_scoped(scope, run))
}

/// Has `start` begin the work. A thread that is refused drops the closure that it was given, but not what is shared.
fn or_give_back<'a, C: Send + 'a, T, H>(
    means: C,
    work: impl FnOnce(C) -> T + Send + 'a,
    start: impl FnOnce(Box<dyn FnOnce() -> T + Send + 'a>) -> io::Result<H>,
) -> Result<H, C> {
    let ours = Arc::new(Mutex::new(Some(means)));
    let theirs = Arc::clone(&ours);
    let take = |means: &Mutex<Option<C>>| means.lock().unwrap_or_else(PoisonError::into_inner).take();
    let run = move || match take(&theirs) {
        Some(means) => work(means),
        None => unreachable!("they are given back only where there is no thread"),
    };
    start(Box::new(run)).map_err(|_| match take(&ours) {
        Some(means) => means,
        None => unreachable!("there is no thread that has taken them"),
    })
}

/// The result of a thread that was joined; its panic is ours.
pub fn joined<T>(ended: std::thread::Result<T>) -> T {
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    #[test]
    fn results_come_in_the_order_of_the_items_whoever_was_first() {
        for threads in [0, 1, 2, 5] {
            assert_eq!(
                super::map(0..100, threads, |number| number * 2),
                (0..200).step_by(2).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn a_thread_that_is_refused_gives_back_what_it_was_to_have() {
        let refuse = |_| Err::<(), _>(std::io::Error::other("refused"));
        assert_eq!(super::or_give_back(7, |means| means + 1, refuse), Err(7));
        assert_eq!(super::spawn(7, |means| means + 1).map(|thread| super::joined(thread.join())).unwrap(), 8);
    }

    #[test]
    fn threads_work_at_the_same_time() {
        let all = Barrier::new(3);
        // Ends only if three items are being worked on at once.
        let leaders = super::map(0..3, 3, |_| all.wait().is_leader());
        assert_eq!(leaders.into_iter().filter(|is_leader| *is_leader).count(), 1);
    }
}
