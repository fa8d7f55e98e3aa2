"""A bucket: a folder behind as much of the protocol of S3 as Snakemake's plugin speaks."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import re
import threading
import uuid
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "your-bucket"


class Handler(http.server.BaseHTTPRequestHandler):
    """Objects of one bucket as files of a folder; large ones come in parts."""

    protocol_version = "HTTP/1.1"
    # Head and body are sent one after the other, and the second would wait for an answer to the first.
    disable_nagle_algorithm = True

    def __init__(self, folder: Path, *arguments):
        self.folder = folder
        super().__init__(*arguments)

    def parse_request(self) -> bool:
        understood = super().parse_request()
        if understood:
            address = urlsplit(self.path)
            self.query = {key: words[0] for key, words in parse_qs(address.query, True).items()}
            self.key = unquote(address.path).removeprefix(f"/{BUCKET}").strip("/")
            self.file = self.folder / self.key
        return understood

    def answer(self, code: int, body: bytes | str = b"", **headers: str) -> None:
        """Send one answer; `body` stays here where only the head was asked for."""
        body = body.encode() if isinstance(body, str) else body
        self.send_response(code)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def store(self, content: bytes) -> None:
        """Whole or not at all."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        new = self.file.with_name(f"{self.file.name}.{uuid.uuid4().hex}")
        new.write_bytes(content)
        new.replace(self.file)

    def do_HEAD(self) -> None:
        if not self.key:
            self.answer(200)
        elif not self.file.is_file():
            self.answer(404)
        else:
            status = self.file.stat()
            time = formatdate(status.st_mtime, usegmt=True)
            self.answer(200, Content_Length=str(status.st_size), Last_Modified=time, ETag='"0"')

    def do_GET(self) -> None:
        if not self.key:
            self.answer(200, self.listing(self.query.get("prefix", "")), Content_Type="application/xml")
        elif not self.file.is_file():
            self.answer(404)
        else:
            content = self.file.read_bytes()
            if part := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                last = int(part[2]) if part[2] else len(content) - 1
                place = f"bytes {part[1]}-{last}/{len(content)}"
                self.answer(206, content[int(part[1]) : last + 1], Content_Range=place, ETag='"0"')
            else:
                self.answer(200, content, ETag='"0"')

    def listing(self, prefix: str) -> str:
        """Every object whose key begins with the prefix."""
        objects = []
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            key = path.relative_to(self.folder).as_posix()
            # Another job may have taken it away.
            with contextlib.suppress(FileNotFoundError):
                if key.startswith(prefix):
                    size, time = path.stat().st_size, formatdate(path.stat().st_mtime, usegmt=True)
                    about = f"<Size>{size}</Size><LastModified>{time}</LastModified>"
                    objects.append(f"<Contents><Key>{escape(key)}</Key>{about}</Contents>")
        return _xml("ListBucketResult", f"<IsTruncated>false</IsTruncated>{''.join(objects)}")

    def do_PUT(self) -> None:
        if self.key and "uploadId" in self.query:
            self.file = self.part(int(self.query["partNumber"]))
        content = self.body()
        if self.key:
            self.store(content)
        self.answer(200, ETag='"0"')

    def part(self, number: int) -> Path:
        """Where a part waits for the others: beside the bucket."""
        return self.folder.with_name("parts") / self.query["uploadId"] / f"{number:06}"

    def do_POST(self) -> None:
        self.body()
        if "uploads" in self.query:
            self.answer(200, _xml("Started", f"<UploadId>{uuid.uuid4().hex}</UploadId>"))
        else:
            parts = sorted(self.part(0).parent.iterdir())
            self.store(b"".join(part.read_bytes() for part in parts))
            self.answer(200, _xml("Completed", '<ETag>"0"</ETag>'))

    def do_DELETE(self) -> None:
        self.file.unlink(missing_ok=True) if self.key else None
        self.answer(204)

    def log_message(self, *arguments) -> None:
        """Say nothing."""


def _xml(name: str, body: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?><{name}>{body}</{name}>'


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which s3://your-bucket is this folder, served on the loopback interface."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    keys = {f"SNAKEMAKE_STORAGE_S3_{name}_KEY": "none" for name in ("ACCESS", "SECRET")}
    address = {"SNAKEMAKE_STORAGE_S3_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"}
    proxies = {name: f"127.0.0.1,{os.environ.get(name, '')}" for name in ("no_proxy", "NO_PROXY")}
    try:
        yield {**keys, **address, **proxies}
    finally:
        server.shutdown()
        server.server_close()
