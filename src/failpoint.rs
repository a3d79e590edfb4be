//! Faults on purpose, for tests: where `ORW_TEST_FAILPOINTS` names a directory, a part that finds a file of its own name
//! there fails as the file says, by a `panic` or by a `return`.
//!
//! Guarantee: only a build with debug assertions has this. A release build does not look at the variable, and `cargo test`
//! needs no feature for it.

/// Does `work`, and fails while it does where a test says so; `early` is what it then returns.
#[cfg(debug_assertions)]
pub(crate) async fn guarded<T>(name: &'static str, work: impl Future<Output = T>, early: T) -> T {
    match file(name) {
        None => work.await,
        Some(file) => {
            tokio::select! {
                done = work => done,
                () = tripped(&file, name) => early,
            }
        }
    }
}

#[cfg(not(debug_assertions))]
pub(crate) async fn guarded<T>(_: &'static str, work: impl Future<Output = T>, _: T) -> T {
    work.await
}

/// Panics where a test says so.
#[cfg(debug_assertions)]
pub(crate) fn hit(name: &'static str) {
    if let Some(file) = file(name) {
        let _ = fault(&file, name);
    }
}

#[cfg(not(debug_assertions))]
pub(crate) const fn hit(_: &'static str) {}

#[cfg(debug_assertions)]
fn file(name: &str) -> Option<std::path::PathBuf> {
    static DIRECTORY: std::sync::LazyLock<Option<std::path::PathBuf>> =
        std::sync::LazyLock::new(|| std::env::var_os("ORW_TEST_FAILPOINTS").map(Into::into));
    DIRECTORY.as_ref().map(|directory| directory.join(name))
}

/// Whether it is to return; panics where it is to panic.
#[cfg(debug_assertions)]
fn fault(file: &std::path::Path, name: &str) -> bool {
    let said = std::fs::read_to_string(file).unwrap_or_default();
    if said == "panic" {
        panic!("the failpoint {name}");
    }
    said == "return"
}

#[cfg(debug_assertions)]
async fn tripped(file: &std::path::Path, name: &str) {
    while !fault(file, name) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
