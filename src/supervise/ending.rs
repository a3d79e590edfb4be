//! Manner long the end of the process may take, and how that time is divided.
//!
//! A part that ends in several steps takes the time of each step, one after the other; the sum leaves [`SLACK`]. Whoever sets a
//! container's grace period finds [`WHOLE`] in the README.

use std::time::Duration;

/// From the signal to the end of the process.
pub(crate) const WHOLE: Duration = Duration::from_secs(25);

/// First: how long requests of clients, requests to receivers and the batch that is being captured may go on until they end.
pub(crate) const REQUESTS: Duration = fifths(2);
/// Second: how long writing the outcomes of deliveries may take.
pub(crate) const OUTCOMES: Duration = fifths(1);
/// Third: how long it may take to say in the database that this process has ended.
pub(crate) const GOODBYE: Duration = fifths(1);
/// A reserve for a slow machine, which notices late that a time is over.
const SLACK: Duration = fifths(1);

const fn fifths(count: u64) -> Duration {
    Duration::from_millis(WHOLE.as_millis() as u64 / 5 * count)
}

const _: () = assert!(
    REQUESTS.as_millis() + OUTCOMES.as_millis() + GOODBYE.as_millis() + SLACK.as_millis()
        <= WHOLE.as_millis()
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_gives_containers_longer_than_the_end_may_take() {
        let manual = include_str!("../../docs/how-to/stop.md");
        assert!(manual.contains(&format!("That takes {} s at most", WHOLE.as_secs())));
        let period = "stop_grace_period: ";
        let given = manual
            .split(period)
            .nth(1)
            .and_then(|rest| rest.split('s').next());
        let given: u64 = given.unwrap().parse().unwrap();
        assert!(Duration::from_secs(given) > WHOLE, "{given}");
    }
}
