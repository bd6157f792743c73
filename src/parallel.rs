//! Work that threads share.

use std::sync::{Mutex, PoisonError};

/// Does `work` on every item, on so many threads of which the caller's is one, and gives the results in the order of
/// the items. A thread takes the next item when it is done with the last.
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
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mut done = run();
        for other in others {
            done.append(&mut joined(other.join()));
        }
        done
    });
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
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
    fn threads_work_at_the_same_time() {
        let all = Barrier::new(3);
        // Ends only if three items are being worked on at once.
        let leaders = super::map(0..3, 3, |_| all.wait().is_leader());
        assert_eq!(leaders.into_iter().filter(|is_leader| *is_leader).count(), 1);
    }
}
