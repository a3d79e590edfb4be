//! Failures on purpose, for tests. `ORW_TEST_FAILPOINTS` names a directory. If it holds a file with the name of a part, that part fails
//! in the way that the file says: `panic` or `return`.
//!
//! Guarantee: only a build with debug assertions has failpoints. A release build does not look at the variable, and `cargo test`
//! needs no feature for them.

/// Does `work`. If a test asks for a failure meanwhile, it panics or returns `early`.
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

/// Panics if a test asks for it.
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

/// Panics if the file says so; whether the file says to return.
#[cfg(debug_assertions)]
fn fault(file: &std::path::Path, name: &str) -> bool {
    let action = std::fs::read_to_string(file).unwrap_or_default();
    if action == "panic" {
        panic!("the failpoint {name}");
    }
    action == "return"
}

#[cfg(debug_assertions)]
async fn tripped(file: &std::path::Path, name: &str) {
    while !fault(file, name) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
