"""The words of hostile requests: values of headers, lines, methods, targets, bodies and sizes of chunks.

Owns the lists that `grammar` chooses from. In braces: addresses of this very run, and checksums of the body.
"""

import base64

WRONG = "sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk="  # of no bytes
LONG = "9" * 4000
MISLEADING = base64.b64encode(b"../../x\r\nA: b\0.wav").decode()

INTEGERS = [
    *("0", "1", "5", "6", "9", "999", "1000", "1001", "67108864", "67108865", "007", " 5 ", "\t5"),
    *("-1", "+5", "1_0", "5.0", "0x5", "5,5", "", "abc", "\xb2", "\xd9\xa5", str(2**63 - 1), str(2**63), LONG),
]
RIGHT_PAIRS = [
    "filename d29ybGQ=",
    "name YS53YXY=,x",
    "a",
    "a ,b",
    "a YQ==, b Yg==,, ,c",
    "caf\xe9 YQ==",
    "x /wCAww==",
    "",
]
PAIRS = [
    *RIGHT_PAIRS,
    *("a YQ==,a Yg==", "a b c", "a ***", "a YQ", "a _-__", "a  YQ==", ",,,,", " ", "=", "\xff \xff"),
    *("a YQ==" + "," * 9000, f"filename {MISLEADING}", "big " + base64.b64encode(bytes(8 * 1024)).decode()),
]
CONCATS = [
    *("partial", "final;", "final", "final; ", "Partial", "partial;x", "foo", "", "final;\xff", "final;/files/0"),
    *("final;{a} {b}", "final;{a} {a}", "final;{o}{a} {b}", "final;{a}  {b}", "final;{a},{b}", "final;{fresh}"),
    *("final;{done}", "final;{gone} {a}", "final;http://elsewhere.example{a}", "final;/files/../{a}"),
    *("final;{a}/status", "final;{joined}", "final;" + "{a} " * 300 + "{b}"),
]
CHECKSUMS = [
    *(WRONG, "sha1 AAAA", "sha1", "SHA1 {sha1}", "crc32 AAAA", "sha1  {sha1}", "sha1 {sha1} ", ""),
    *("sha256 {sha1}", "\xff", "md5 {sha1}", LONG),
]
DIGESTS = [
    *("sha-256=:{sha256}:", "sha-256=:AAAA:", "sha-256=x", "md5=:AA==:, sha-256=:{sha256}:", "", "\xff", "=" * 5000),
    *("sha-256=:{sha256}:;a=b", "sha-256=:", "sha-256", "sha-256=:{sha256}:, sha-256=:AAAA:"),
]
TYPES = ["application/json", "", "Application/Offset+Octet-Stream; x=y", "application/offset", "text/html", "\xff"]

DECISIVE: dict[str, list[str]] = {
    "Tus-Resumable": ["1.0.0", "0.2.2", "1.0.0, 1.0.0", "", LONG, "\xff"],
    "Upload-Length": INTEGERS,
    "Upload-Offset": INTEGERS,
    "Upload-Defer-Length": ["1", "0", "2", "true", "", "1, 1", "01", "\xff"],
    "Upload-Metadata": PAIRS,
    "Upload-Concat": CONCATS,
    "Upload-Checksum": CHECKSUMS,
    "Repr-Digest": DIGESTS,
    "X-HTTP-Method-Override": ["PATCH", "patch", "DELETE", "HEAD", "OPTIONS", "GET", "POST", "PUT", "FOO", "\xff", ""],
    "Content-Type": TYPES,
}
HEADERS = DECISIVE | {
    "Upload-Expires": ["Wed, 25 Jun 2014 16:00:00 GMT", "x"],
    "Content-Digest": ["sha-256=:{sha256}:", "sha-256=::"],
    "Want-Repr-Digest": ["sha-256=1", "sha-256=x"],
    "Upload-Complete": ["?0", "?1", "1"],
    "Upload-Draft-Interop-Version": ["6", "8", "x"],
    "Expect": ["100-continue", "cake"],
    "Connection": ["close", "keep-alive", "upgrade", "Upload-Offset", "\xff"],
    "Upgrade": ["websocket", "h2c"],
    "Range": ["bytes=0-2", "bytes=-1", "bytes=9-", "bytes=2-1", "bytes=0-0,2-2", "x=1", f"bytes={LONG}-"],
    "If-None-Match": ["*", '"x"', "W/", "\xff"],
    "If-Match": ["*", '"x"'],
    "If-Range": ["x", '"x"', "Wed, 25 Jun 2014 16:00:00 GMT"],
    "Origin": ["https://a", "null", "*", "\xff"],
    "Access-Control-Request-Method": ["PATCH", "\xff"],
    "Authorization": ["Bearer", "Bearer x", "Basic \xff"],
    "Host": ["[", "a:99999", "a b", "evil/..", "\xff", ""],
    "Forwarded": ["for=1.2.3.4;host=evil.example;proto=https", "for=\xff", ";;,,=", f'host="{LONG}'],
    "X-Forwarded-For": ["1.2.3.4", "\xff"],
    "X-Forwarded-Host": ["evil.example", "\xff"],
    "X-Forwarded-Proto": ["https", "javascript"],
    "Idempotency-Key": ["x", "\xff"],
    "Content-Encoding": ["gzip", "identity"],
    "Content-Length": ["5", "900", "-1", "+5", "", str(2**63), "9" * 70, "5, 5", "0" * 4000 + "5"],
    "Transfer-Encoding": ["chunked", "gzip", "gzip, chunked", "xchunked", "chunked, chunked", "identity", ""],
    "Trailer": ["Upload-Checksum", "Upload-Checksum, X", "Content-Length", "\xff"],
    "Cookie": [";=;\xff"],
    "Accept": ["\xff", "text/html"],
    "X-Long": ["x" * 60_000, "x" * 70_000],
}
LINES = [
    ": x",
    " folded",
    "No colon",
    "Bad name: x",
    "A: \0",
    "A: \x7f",
    "A\0: b",
    "",
    "a:b",
    "A: b\rC: d",
    "A: b\nC: d",
]
METHODS = [
    *("POST", "PATCH", "HEAD", "GET", "DELETE", "OPTIONS", "PUT", "TRACE", "CONNECT", "PRI", "PROPFIND", "LINK", "get"),
    *("", "P\0ST", "PATCH PATCH", "X" * 3000),
]
TARGETS = [
    *(
        "{u}",
        "{u}/",
        "{u}/status",
        "{u}/status/",
        "{u}/x",
        "{u}?x=y",
        "{u}#x",
        "{u}%20",
        "//files//{u}",
        "http://a:99999{u}",
    ),
    *(
        "/files/..%2f",
        "/files/../metrics",
        "/files/%00",
        "/files/\xff",
        "/f%69les",
        "///files///",
        "/files;x",
        "/files/%zz",
    ),
    *(
        "*",
        "/",
        "",
        "?",
        "#",
        "files",
        "http://a/files",
        "\\files",
        "/files/%2e%2e/%2e%2e/etc/passwd",
        "/files/{upload_id}",
    ),
    *("/files/" + "a" * 60_000, "/files/" + "%30" * 32, "/files//" * 2000),
    *("/health/live", "/health/ready", "/metrics"),
]
VERSIONS = ["HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "HTTP/9", "", "HTTP/1.1 x", "http/1.1", "HTTP/1.10"]
BODIES = [
    *(b"", b"x", b"hello", b"\0" * 900, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    *(bytes(1000), bytes(1001), b"x" * 70_000, b"y" * 300_000),
]
SIZES = [
    *(b"zz", b"-1", b"+5", b"0x5", b"", b" 5", b"5 ", b"5_0", b"ffff"),
    *(b"f" * 16, b"f" * 17, b"7fffffffffffffff", b"0" * 300 + b"5"),
]
EXTENSIONS = [b"", b"", b";a=b", b';a="b;c"', b";" + b"x" * 300, b" ; a", b";\xff"]
TRAILERS = ["X: y", "Tus-Resumable: 1.0.0", "Content-Length: 3", "", "no colon", "A: \0", "a:b" * 100]
