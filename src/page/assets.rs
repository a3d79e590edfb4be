//! The files of the page: embedded in the program, named by their hash, so browsers keep them.

use std::io::Write as _;
use std::sync::LazyLock;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

/// The folder of these files, below the page.
pub(crate) const FOLDER: &str = "assets";

/// One file.
#[derive(Debug)]
pub(crate) struct Asset {
    name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) plain: Bytes,
    /// The same, compressed with gzip.
    pub(crate) compressed: Bytes,
    hash: String,
}

static ASSETS: LazyLock<[Asset; 4]> = LazyLock::new(|| {
    let script = "text/javascript; charset=utf-8";
    [
        Asset::new(
            "page.css",
            "text/css; charset=utf-8",
            include_bytes!("assets/page.css"),
        ),
        Asset::new("htmx.min.js", script, include_bytes!("assets/htmx.min.js")),
        Asset::new("page.js", script, include_bytes!("assets/page.js")),
        Asset::new("icon.svg", "image/svg+xml", include_bytes!("assets/icon.svg")),
    ]
});

impl Asset {
    fn new(name: &'static str, kind: &'static str, plain: &'static [u8]) -> Self {
        Self {
            name,
            kind,
            plain: Bytes::from_static(plain),
            compressed: compress(plain).into(),
            hash: HEXLOWER.encode(&Sha256::digest(plain)[..8]),
        }
    }

    /// The file with this name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        ASSETS.iter().find(|asset| asset.name == name)
    }

    /// What names this very version of the file.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }
}

/// Compressed with gzip; empty if that fails, which it cannot in memory.
fn compress(plain: &[u8]) -> Vec<u8> {
    let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    to.write_all(plain).and_then(|()| to.finish()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most that a browser loads once, besides a view itself.
    const LARGEST: usize = 60_000;

    #[test]
    fn everything_is_small() {
        let all: usize = ASSETS.iter().map(|asset| asset.compressed.len()).sum();
        assert!(ASSETS.iter().all(|asset| !asset.compressed.is_empty()));
        assert!(all < LARGEST, "{all} bytes");
    }

    /// `docs/licenses.md` names the checksum of what is not our own.
    #[test]
    fn the_file_of_others_is_the_one_that_was_looked_at() {
        let htmx = Asset::find("htmx.min.js").unwrap();
        let hash = HEXLOWER.encode(&Sha256::digest(&htmx.plain));
        let told = include_str!("assets/htmx.txt");
        assert!(told.contains(&hash), "sha256 of htmx.min.js: {hash}");
    }
}
