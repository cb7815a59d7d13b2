"""A bucket on loopback that checks every signature (AWS Signature Version 4, in headers and in the query) as S3 does.

Of S3's API just what is used: objects whole and by range, multipart uploads, listing, deleting.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

ACCESS, SECRET, REGION, NAME = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "auto", "films"
UNSIGNED = "UNSIGNED-PAYLOAD"


@dataclass
class Bucket:
    """What is in it. `requests`: method and query of what was asked. `broken`: it answers 503. `refused`: keys there before.

    `full`: nothing is taken whose key begins so; clients try again. Iterate over a copy of `objects` while it is in use.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    broken: bool = False
    full: tuple[str, ...] = ()
    refused: list[str] = field(default_factory=list[str])
    endpoint: str = ""


class Denied(Exception):
    """403."""


def check(method: str, target: str, headers: dict[str, str], body: bytes, now: datetime) -> None:
    """Raises: Denied for what is not signed with the bucket's key, now, and in just this form."""
    url = urlsplit(target)
    pairs = dict(parse_qsl(url.query, keep_blank_values=True))
    if "X-Amz-Signature" in pairs:
        given = pairs.pop("X-Amz-Signature")
        credential, stamp, names = pairs["X-Amz-Credential"], pairs["X-Amz-Date"], pairs["X-Amz-SignedHeaders"]
        begun = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if not begun - timedelta(minutes=15) <= now <= begun + timedelta(seconds=int(pairs["X-Amz-Expires"])):
            raise Denied("Request has expired")
        payload = UNSIGNED
    else:
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=(\S+), ?SignedHeaders=(\S+), ?Signature=([0-9a-f]{64})",
            headers.get("authorization", ""),
        )
        if found is None:
            raise Denied("AccessDenied")
        credential, names, given = found.groups()
        stamp, payload = headers["x-amz-date"], headers["x-amz-content-sha256"]
        if payload != UNSIGNED and payload != hashlib.sha256(body).hexdigest():
            raise Denied("XAmzContentSHA256Mismatch")
    access, day, region, service, ending = credential.split("/")
    if (access, region, service, ending) != (ACCESS, REGION, "s3", "aws4_request") or "host" not in names.split(";"):
        raise Denied("InvalidAccessKeyId")
    asked = "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in sorted(pairs.items()))
    lines = "".join(f"{name}:{headers.get(name, '').strip()}\n" for name in names.split(";"))
    request = "\n".join((method, url.path, asked, lines, names, payload))
    text = "\n".join(
        ("AWS4-HMAC-SHA256", stamp, f"{day}/{region}/s3/aws4_request", hashlib.sha256(request.encode()).hexdigest())
    )
    key = f"AWS4{SECRET}".encode()
    for word in (day, region, "s3", "aws4_request", text):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    if not hmac.compare_digest(key.hex(), given):
        raise Denied("SignatureDoesNotMatch")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: Bucket

    def log_message(self, format: str, *args: object) -> None: ...

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        self.bucket.requests.append(f"{self.command} {'&'.join(sorted(query))}")
        if self.bucket.broken:
            return self._answer(503, b"<Error><Code>SlowDown</Code></Error>")
        try:
            check(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body, datetime.now(UTC))
        except Denied as denied:
            return self._answer(403, f"<Error><Code>{denied}</Code></Error>".encode())
        _, name, *rest = unquote(url.path).split("/")
        if name != NAME:
            return self._answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
        if self.command in ("PUT", "POST") and "/".join(rest).startswith(self.bucket.full):
            return self._answer(503, b"<Error><Code>SlowDown</Code></Error>")
        return getattr(self, f"_{self.command.lower()}")("/".join(rest), query, body)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _handle

    def _put(self, key: str, query: dict[str, str], body: bytes) -> None:
        if "uploadId" in query:
            self.bucket.parts[query["uploadId"]][int(query["partNumber"])] = body
        elif self.headers.get("if-none-match") == "*" and self.bucket.objects.setdefault(key, body) is not body:
            self.bucket.refused.append(key)
            return self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
        else:
            self.bucket.objects[key] = body
        return self._answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')

    def _post(self, key: str, query: dict[str, str], body: bytes) -> None:
        if "uploads" in query:
            upload = uuid.uuid4().hex
            self.bucket.parts[upload] = {}
            text = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            return self._answer(200, text.encode())
        if "delete" in query:
            gone = re.findall(r"<Key>(.*?)</Key>", body.decode())
            for found in gone:
                self.bucket.objects.pop(found, None)
            rows = "".join(f"<Deleted><Key>{found}</Key></Deleted>" for found in gone)
            return self._answer(200, f"<DeleteResult>{rows}</DeleteResult>".encode())
        parts = self.bucket.parts.pop(query["uploadId"])
        self.bucket.objects[key] = b"".join(parts[number] for number in sorted(parts))
        return self._answer(200, b'<CompleteMultipartUploadResult><ETag>"x"</ETag></CompleteMultipartUploadResult>')

    def _delete(self, key: str, query: dict[str, str], body: bytes) -> None:
        self.bucket.objects.pop(key, None)
        self._answer(204)

    def _head(self, key: str, query: dict[str, str], body: bytes) -> None:
        self._get(key, query, body)

    def _get(self, key: str, query: dict[str, str], body: bytes) -> None:
        if query.get("list-type") == "2":
            return self._list(query)
        found = self.bucket.objects.get(key)
        if found is None:
            return self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        facts = {"ETag": '"x"', "Last_Modified": format_datetime(datetime.now(UTC), usegmt=True), "Accept_Ranges": "bytes"}
        if "response-content-disposition" in query:
            facts["Content_Disposition"] = query["response-content-disposition"]
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        if asked is None:
            return self._answer(200, found, Content_Length=str(len(found)), **facts)
        start, end = int(asked[1]), min(int(asked[2] or len(found) - 1), len(found) - 1)
        if start > end:
            return self._answer(416, b"<Error><Code>InvalidRange</Code></Error>")
        return self._answer(206, found[start : end + 1], Content_Range=f"bytes {start}-{end}/{len(found)}", **facts)

    def _list(self, query: dict[str, str]) -> None:
        keys = sorted(key for key in list(self.bucket.objects) if key.startswith(query.get("prefix", "")))
        begin, most = int(query.get("continuation-token", "0")), 2  # few at once: the next page is asked for
        page = keys[begin : begin + most]
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-05-01T12:00:00.000Z</LastModified><ETag>&quot;x&quot;</ETag>"
            f"<Size>{len(self.bucket.objects[key])}</Size></Contents>"
            for key in page
        )
        more = f"<NextContinuationToken>{begin + most}</NextContinuationToken>" if begin + most < len(keys) else ""
        truncated = "true" if more else "false"
        text = f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{more}{rows}</ListBucketResult>"
        self._answer(200, text.encode())


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


@contextmanager
def a_bucket() -> Iterator[Bucket]:
    """A bucket that is served."""
    bucket = Bucket()
    handler = type("Handler", (_Handler,), {"bucket": bucket})
    server = _Server(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    bucket.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield bucket
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
