//! Work on many items by all processors.

use std::num::NonZero;
use std::thread::available_parallelism;

/// Does the same with each of the items, and gives what came of it in their order. Another processor takes part only where it
/// has `least` items to work on.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], least: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let processors = available_parallelism().map_or(1, NonZero::get);
    let threads = (items.len() / least.max(1)).clamp(1, processors);
    if threads == 1 {
        return items.iter().map(work).collect();
    }
    let work = &work;
    std::thread::scope(|scope| {
        let shares = items.chunks(items.len().div_ceil(threads));
        let begun: Vec<_> =
            shares.map(|share| scope.spawn(move || share.iter().map(work).collect::<Vec<_>>())).collect();
        let done =
            begun.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        done.flatten().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::map;

    #[test]
    fn what_comes_of_items_is_in_their_order() {
        for (items, least) in [(0, 1), (1, 1), (7, 1), (1000, 1), (1000, 64), (1000, 0), (1000, 5000)] {
            let items: Vec<usize> = (0..items).collect();
            assert_eq!(map(&items, least, |item| item * 2), items.iter().map(|item| item * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    #[should_panic(expected = "item 999")]
    fn what_panics_panics_here() {
        let items: Vec<usize> = (0..1000).collect();
        map(&items, 1, |item| assert_ne!(*item, 999, "item 999"));
    }
}
