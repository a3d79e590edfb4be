"""Checks a book that mdBook has built, without a network: python3 check_book.py SOURCE BOOK

Every page of the source is in the book, and every link and anchor within it leads somewhere."""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value is not None and tag != "base":
                self.links.append(value)


def main(source, book):
    # print.html has all pages in one; toc.html and 404.html are frames of mdBook.
    files = [f for f in sorted(book.rglob("*.html")) if f.name not in ("print.html", "toc.html", "404.html")]
    pages = {path.resolve(): Page(path) for path in files}
    wrong = []
    for text in sorted(source.rglob("*.md")):
        name = text.relative_to(source)
        made = name.with_name("index.html") if name.name == "README.md" else name.with_suffix(".html")
        if name.name != "SUMMARY.md" and not (book / made).exists():
            wrong.append(f"{text}: is not in {source}/SUMMARY.md")
    count = 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or not link or link.startswith("data:"):
                continue
            count += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            # A folder of schemas has no page of its own: a server or a browser lists it.
            if (target / "index.html").exists():
                target = target / "index.html"
            if not target.exists():
                wrong.append(f"{path.relative_to(book.resolve())}: {link}: there is no such file")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                wrong.append(f"{path.relative_to(book.resolve())}: {link}: there is no such anchor")
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"{len(pages)} pages, {count} links, {len(wrong)} wrong", file=sys.stderr)
    return 1 if wrong or count < 500 else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
