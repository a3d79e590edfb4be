//! How long the end of the process may take, and how that is shared out.
//!
//! A part that ends in steps takes the time of each, one after the other; all of them together leave [`SLACK`]. The README says
//! [`WHOLE`] to whoever sets a container's grace period.

use std::time::Duration;

/// From the signal to the end of the process.
pub(crate) const WHOLE: Duration = Duration::from_secs(25);

/// Requests under way, of clients and to receivers, and the batch that is being captured may end by themselves.
pub(crate) const REQUESTS: Duration = fifths(2);
/// Then what became of deliveries is written.
pub(crate) const OUTCOMES: Duration = fifths(1);
/// Then other processes are told that this one is gone.
pub(crate) const GOODBYE: Duration = fifths(1);
/// Nobody's: for a machine that is slow to notice that a time is over.
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
        let manual = include_str!("../../README.md");
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
