use super::{FIRST, Idle, Key, PATIENCE, Taken};
use std::time::Duration;
use tokio::time::{Instant, sleep};

fn key(tls: bool) -> Key {
    Key {
        tls,
        host: "receiver.example".into(),
        port: 443,
        identity: None,
    }
}

#[tokio::test(start_paused = true)]
async fn if_the_first_connection_fails_the_next_makes_it_and_nobody_waits_for_longer() {
    let (idle, key) = (Idle::new(8), key(true));
    let _busy: Vec<_> = (0..3).map(|_| idle.busy(key.clone())).collect();
    let begun = Instant::now();
    let Taken::New(Some(first)) = idle.take(&key).await else {
        panic!("nobody makes the first connection");
    };
    let fails = async {
        sleep(Duration::from_millis(100)).await;
        drop(first);
    };
    let waits = || async {
        let taken = idle.take(&key).await;
        let waited = begun.elapsed();
        // Nobody makes it within the time that the other one waits.
        sleep(2 * FIRST).await;
        (waited, matches!(taken, Taken::New(Some(_))))
    };
    let ((), one, other) = tokio::join!(fails, waits(), waits());
    let ((next, makes_it), (last, makes_it_too)) = (one.min(other), one.max(other));
    assert!(makes_it && !makes_it_too);
    let within = |waited: Duration, time: Duration| waited >= time && waited < time + PATIENCE;
    assert!(within(next, Duration::from_millis(100)), "{next:?}");
    assert!(within(last, FIRST), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn without_tls_nobody_waits_for_the_first_connection() {
    let (idle, key) = (Idle::new(8), key(false));
    let _busy: Vec<_> = (0..2).map(|_| idle.busy(key.clone())).collect();
    let begun = Instant::now();
    for _ in 0..2 {
        assert!(matches!(idle.take(&key).await, Taken::New(None)));
    }
    assert!(begun.elapsed() < 3 * PATIENCE);
}
