use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use prometheus_client::registry::Registry;
use tokio::sync::Notify;

use super::*;

/// Only a hang takes so long.
const PATIENCE: Duration = Duration::from_secs(60);
const QUICK: Policy = Policy {
    restarts: 3,
    within: Duration::from_secs(3600),
    pause: Duration::from_millis(1),
};

fn supervisor() -> (Supervisor, Board, CancellationToken) {
    let (board, shutdown) = (Board::default(), CancellationToken::new());
    (
        Supervisor::new(board.clone(), QUICK, shutdown.clone()),
        board,
        shutdown,
    )
}

fn metrics(board: &Board) -> String {
    let mut registry = Registry::default();
    board.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it hangs")
}

#[tokio::test]
async fn a_part_that_fails_is_down_until_it_runs_again() {
    let (mut supervisor, board, shutdown) = supervisor();
    let (fail, started) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let starts = Arc::new(AtomicU32::new(0));
    let (asked, known, counted) = (Arc::clone(&fail), Arc::clone(&started), Arc::clone(&starts));
    supervisor.start("part", move |part| {
        let start = counted.fetch_add(1, Ordering::Relaxed);
        let (asked, known) = (Arc::clone(&asked), Arc::clone(&known));
        async move {
            known.notify_one();
            tokio::select! {
                () = asked.notified() => match start {
                    0 => panic!("out of luck"),
                    1 => Ok(()),
                    _ => Err(part.report(PartFailure::ended("task of it"))),
                },
                () = part.shutdown().cancelled() => Ok(()),
            }
        }
    });
    let running = tokio::spawn(supervisor.run(PATIENCE));
    for _ in 0..3 {
        within(started.notified()).await;
        assert_eq!(board.down_now(), None);
        fail.notify_one();
    }
    within(started.notified()).await;
    shutdown.cancel();
    within(running).await.unwrap().unwrap();
    assert_eq!(starts.load(Ordering::Relaxed), 4);
    let text = metrics(&board);
    assert!(text.contains("part_failures_total{part=\"part\"} 2\n"), "{text}");
    assert!(
        text.contains("part_failures_total{part=\"task of it\"} 1\n"),
        "{text}"
    );
}

#[tokio::test]
async fn whoever_asks_is_told_at_once_what_failed_and_how() {
    let (mut supervisor, board, shutdown) = supervisor();
    let slow = Policy {
        pause: Duration::from_secs(3600),
        ..QUICK
    };
    supervisor.policy = slow;
    supervisor.start_simple("part", |_| async { panic!("out of luck") });
    supervisor.start_simple("other", |stop| async move { stop.cancelled().await });
    let running = tokio::spawn(supervisor.run(PATIENCE));
    let told = async {
        loop {
            if let Some(down) = board.down_now() {
                return down;
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(within(told).await, "part is down: part panicked");
    let text = metrics(&board);
    assert!(text.contains("part_up{part=\"part\"} 0\n"), "{text}");
    assert!(text.contains("part_up{part=\"other\"} 1\n"), "{text}");
    // It ends while a part waits for its restart.
    shutdown.cancel();
    within(running).await.unwrap().unwrap();
}

#[tokio::test]
async fn one_that_keeps_failing_ends_all_of_them_in_order() {
    let (mut supervisor, board, _) = supervisor();
    let ended = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&ended);
    supervisor.start_simple("good", move |stop| {
        let count = Arc::clone(&count);
        async move {
            stop.cancelled().await;
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    supervisor.start_simple("bad", |_| async {});
    let failed = within(supervisor.run(PATIENCE)).await.unwrap_err();
    assert_eq!(
        failed.to_string(),
        "bad ended without having been asked to; it has been started again 3 times within 3600 s, so the process ends"
    );
    assert_eq!(ended.load(Ordering::Relaxed), 1);
    assert!(metrics(&board).contains("part_failures_total{part=\"bad\"} 4\n"));
}

#[tokio::test]
async fn what_does_not_end_in_time_is_cut_off() {
    let (mut supervisor, board, shutdown) = supervisor();
    supervisor.start_simple("deaf", |_| std::future::pending());
    shutdown.cancel();
    within(supervisor.run(Duration::from_millis(1))).await.unwrap();
    assert_eq!(board.running(), ["deaf"]);
}

#[tokio::test]
async fn a_crew_names_the_task_that_ended() {
    let mut crew = Crew::default();
    let stop = CancellationToken::new();
    let asked = stop.clone();
    crew.spawn("good", async move { asked.cancelled().await });
    crew.spawn("bad", async { panic!("out of luck") });
    assert_eq!(
        within(crew.failure()).await.to_string(),
        "bad panicked: out of luck"
    );
    crew.spawn("early", async {});
    assert_eq!(within(crew.failure()).await, PartFailure::ended("early"));
    stop.cancel();
    within(crew.ended("good", PATIENCE)).await;
    within(crew.all_ended(PATIENCE)).await;
}
