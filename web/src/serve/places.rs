//! How many connections there are at a time, and which one makes way for another.
//!
//! Owns the places, and what each connection is doing as far as that matters: one that asks nothing, or does not take its
//! answer, keeps nobody out for long. It touches no stream. Called by `server` for each connection, by `write_deadline`,
//! which sees when an answer was taken, and by `answers` where untaken answers leave no memory for the next one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::timeout;

/// How long a connection may be silent while others want its place: enough to send a request.
const SILENT_FOR: Duration = Duration::from_millis(100);
/// How long an answer may wait to be taken while others want its client's place, or the memory of its body.
pub(super) const UNREAD_FOR: Duration = Duration::from_secs(1);
/// The time until the next look for a connection that makes way.
const PAUSE: Duration = Duration::from_millis(2);

/// The places of one service.
pub(super) struct Places {
    n_places: u32,
    free: Arc<Semaphore>,
    taken: Mutex<Vec<Arc<Seat>>>,
}

/// One place, given back when dropped.
pub(super) struct Place {
    places: Arc<Places>,
    seat: Arc<Seat>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// What the connection on one place is doing.
#[derive(Debug)]
pub(super) struct Seat {
    doing: Mutex<Doing>,
    evicted: Notify,
    /// Whether it was answered once.
    is_served: AtomicBool,
    is_asked_to_end: AtomicBool,
    enough: Notify,
}

#[derive(Clone, Copy, Debug)]
enum Doing {
    /// Nothing, or it is slow to say what it wants.
    Silent { since: Instant },
    /// It waits for an answer; one before that may not be taken yet.
    Asking { unread_since: Option<Instant> },
    /// It takes an answer.
    Reading { since: Instant },
}

impl Places {
    pub(super) fn new(n_places: u32) -> Self {
        let free = Arc::new(Semaphore::new(n_places as usize));
        Self { n_places, free, taken: Mutex::default() }
    }

    /// Waits for a place; where there is none, the connection that has been of no use for longest gives up its own.
    pub(super) async fn take(self: &Arc<Self>) -> Place {
        let mut permit = Arc::clone(&self.free).try_acquire_owned().ok();
        let mut is_one_asked = false;
        while permit.is_none() {
            // Once for each newcomer; it may be that nobody was answered yet.
            is_one_asked = is_one_asked || self.ask_one_to_end();
            // Never closed, so that only time can be over.
            permit = timeout(PAUSE, Arc::clone(&self.free).acquire_owned()).await.ok().and_then(Result::ok);
            if permit.is_none() {
                // Where this thread did not run for a while, requests have come that nobody has looked at.
                yield_now().await;
                self.evict(Instant::now());
            }
        }
        let seat = Arc::new(Seat::default());
        lock(&self.taken).push(Arc::clone(&seat));
        Place { places: Arc::clone(self), seat, _permit: permit }
    }

    /// Asks the connection to end, after the answer at hand, that was answered already and has its place for longest: a client
    /// that asks all the time is never silent for long, and would keep others out for as long as it lives. Says whether there
    /// is one.
    fn ask_one_to_end(&self) -> bool {
        let taken = lock(&self.taken);
        let mut served = taken.iter().filter(|seat| seat.is_served.load(Ordering::Relaxed));
        // Relaxed: plain flags, which at worst are seen by the next newcomer.
        let found = served.find(|seat| !seat.is_asked_to_end.swap(true, Ordering::Relaxed));
        found.inspect(|seat| seat.enough.notify_one()).is_some()
    }

    /// Waits until nobody has a place.
    pub(super) async fn all_free(&self) {
        let _ = self.free.acquire_many(self.n_places).await;
    }

    /// Ends the connection that has been of no use for longest, if that is long enough.
    pub(super) fn evict(&self, now: Instant) {
        let taken = lock(&self.taken);
        let idle = taken.iter().filter_map(|seat| Some((seat.evictable_from()?, seat)));
        if let Some((from, seat)) = idle.min_by_key(|(from, _)| *from)
            && from <= now
        {
            seat.evicted.notify_one();
        }
    }

    /// Ends all connections that have been of no use for long enough, where each keeps a descriptor from others.
    pub(super) fn evict_all_idle(&self, now: Instant) {
        let is_idle = |seat: &&Arc<Seat>| seat.evictable_from().is_some_and(|from| from <= now);
        lock(&self.taken).iter().filter(is_idle).for_each(|seat| seat.evicted.notify_one());
    }

    /// Ends the connections that have not taken an answer for long, whatever else they are doing.
    pub(super) fn evict_unread(&self, now: Instant) {
        let is_deaf = |seat: &&Arc<Seat>| seat.unread_since().is_some_and(|since| since + UNREAD_FOR <= now);
        lock(&self.taken).iter().filter(is_deaf).for_each(|seat| seat.evicted.notify_one());
    }
}

impl Place {
    pub(super) fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.places.taken).retain(|seat| !Arc::ptr_eq(seat, &self.seat));
    }
}

impl Default for Seat {
    fn default() -> Self {
        Self::doing(Doing::Silent { since: Instant::now() })
    }
}

impl Seat {
    fn doing(doing: Doing) -> Self {
        let (evicted, enough) = (Notify::new(), Notify::new());
        let (is_served, is_asked_to_end) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { doing: Mutex::new(doing), evicted, is_served, is_asked_to_end, enough }
    }

    /// A request has come.
    pub(super) fn asks(&self) {
        let mut doing = lock(&self.doing);
        *doing = Doing::Asking { unread_since: doing.unread_since() };
    }

    /// Its answer is ready to be written.
    pub(super) fn is_answered(&self) {
        self.is_served.store(true, Ordering::Relaxed);
        let mut doing = lock(&self.doing);
        *doing = Doing::Reading { since: doing.unread_since().unwrap_or_else(Instant::now) };
    }

    /// All that was to be written is.
    pub(super) fn has_taken_all(&self) {
        let mut doing = lock(&self.doing);
        match *doing {
            Doing::Reading { .. } => *doing = Doing::Silent { since: Instant::now() },
            Doing::Asking { .. } => *doing = Doing::Asking { unread_since: None },
            Doing::Silent { .. } => {}
        }
    }

    /// Waits until another connection needs the place.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Waits until it is asked to end once it has its answer.
    pub(super) async fn is_enough(&self) {
        self.enough.notified().await;
    }

    fn evictable_from(&self) -> Option<Instant> {
        match *lock(&self.doing) {
            Doing::Silent { since } => Some(since + SILENT_FOR),
            Doing::Reading { since } => Some(since + UNREAD_FOR),
            Doing::Asking { .. } => None,
        }
    }

    fn unread_since(&self) -> Option<Instant> {
        lock(&self.doing).unread_since()
    }
}

impl Doing {
    /// Since when there is an answer that is not taken.
    const fn unread_since(self) -> Option<Instant> {
        match self {
            Self::Silent { .. } => None,
            Self::Asking { unread_since } => unread_since,
            Self::Reading { since } => Some(since),
        }
    }
}

/// Nothing is left half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_evicted(seat: &Seat) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { timeout(Duration::ZERO, seat.evicted()).await.is_ok() })
    }

    #[test]
    fn the_longest_silent_makes_way_and_who_asks_never_does() {
        let places = Places::new(3);
        let start = Instant::now();
        let seat = |doing| Arc::new(Seat::doing(doing));
        let asking = seat(Doing::Asking { unread_since: None });
        let silent = seat(Doing::Silent { since: start });
        let reading = seat(Doing::Reading { since: start });
        lock(&places.taken).extend([&asking, &silent, &reading].map(Arc::clone));
        places.evict(start + SILENT_FOR / 2);
        assert!(!is_evicted(&silent), "it may be about to ask");
        places.evict(start + UNREAD_FOR);
        assert!(is_evicted(&silent) && !is_evicted(&reading));
        silent.asks();
        places.evict(start + UNREAD_FOR / 2);
        assert!(!is_evicted(&reading), "it may be about to take its answer");
        places.evict(start + UNREAD_FOR);
        assert!(is_evicted(&reading) && !is_evicted(&silent) && !is_evicted(&asking));
    }

    #[test]
    fn whoever_has_not_taken_an_answer_for_long_makes_way_for_others_answers() {
        let places = Places::new(4);
        let start = Instant::now();
        let seat = |doing| Arc::new(Seat::doing(doing));
        let silent = seat(Doing::Silent { since: start });
        let asking = seat(Doing::Asking { unread_since: None });
        let reading = seat(Doing::Reading { since: start });
        let asking_for_more = seat(Doing::Reading { since: start });
        asking_for_more.asks();
        lock(&places.taken).extend([&silent, &asking, &reading, &asking_for_more].map(Arc::clone));
        places.evict_unread(start + UNREAD_FOR / 2);
        assert!(!is_evicted(&reading) && !is_evicted(&asking_for_more));
        places.evict_unread(start + UNREAD_FOR);
        assert!(is_evicted(&reading) && is_evicted(&asking_for_more));
        assert!(!is_evicted(&silent) && !is_evicted(&asking));
    }

    // 1. All places are taken by clients that were not answered yet. 2. A newcomer finds nobody to ask for a place. 3. One is
    // answered, and asks again at once, for ever.
    #[test]
    fn whoever_is_answered_after_a_newcomer_came_is_asked_to_end() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let places = Arc::new(Places::new(1));
            let first = places.take().await;
            first.seat().asks();
            let mut newcomer = tokio::spawn(async move { places.take().await });
            assert!(timeout(2 * PAUSE, &mut newcomer).await.is_err());
            first.seat().is_served.store(true, Ordering::Relaxed);
            timeout(Duration::from_secs(10), first.seat().enough.notified()).await.unwrap();
            drop(first);
            timeout(Duration::from_secs(10), newcomer).await.unwrap().unwrap();
        });
    }

    #[test]
    fn a_place_is_free_again_once_its_connection_ends() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let places = Arc::new(Places::new(1));
        runtime.block_on(async {
            let place = places.take().await;
            place.seat().asks();
            assert!(timeout(2 * PAUSE, places.take()).await.is_err());
            place.seat().has_taken_all();
            assert!(place.seat().evictable_from().is_none(), "what was written before is no answer to it");
            drop(place);
            drop(places.take().await);
            places.all_free().await;
        });
        assert!(lock(&places.taken).is_empty());
    }
}
