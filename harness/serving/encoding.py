"""Content-Encoding: bodies compressed as gzip or deflate (RFC 9110 section 8.4.1). Pure."""

from __future__ import annotations

import zlib

from harness.serving.tensors import ProtocolError, shown

_WINDOW_BITS = {b"gzip": 16 + zlib.MAX_WBITS, b"x-gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}
_LEVEL = 1  # float tensors hardly shrink at any level; a reply should not wait for more
WORTHWHILE_BYTES = 1024
"""A smaller reply is not worth compressing."""


def decoder(content_encoding: bytes | None) -> int | None:
    """zlib's window bits for a request's Content-Encoding, None when it is not compressed. Raises ProtocolError (415)."""
    if content_encoding is None:
        return None
    name = content_encoding.strip().lower()
    if name in (b"", b"identity"):
        return None
    if name not in _WINDOW_BITS:
        what = shown(content_encoding.decode("latin-1"))
        raise ProtocolError(f"Content-Encoding {what} is not supported; use gzip, deflate or none", status=415)
    return _WINDOW_BITS[name]


def decompress(body: memoryview, window_bits: int, limit_bytes: int) -> bytes:
    """Raises ProtocolError when the data are damaged or cut short, or give more than `limit_bytes` (413)."""
    stream = zlib.decompressobj(window_bits)
    try:
        data = stream.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise ProtocolError(f"the compressed body is damaged: {error}") from error
    if len(data) > limit_bytes:
        raise ProtocolError(f"the body is larger than {limit_bytes} bytes when decompressed", status=413)
    if not stream.eof or stream.unused_data:
        raise ProtocolError("the compressed body is cut short or followed by other data")
    return data


def choose(accept_encoding: bytes | None) -> bytes | None:
    """The coding for a reply, None for none: only what the client lists."""
    if accept_encoding is None:
        return None
    for item in accept_encoding.lower().split(b","):
        name, _, weight = item.partition(b";")
        name = name.strip()
        if name in (b"gzip", b"deflate") and weight.replace(b" ", b"").rstrip(b"0.") != b"q=":
            return name
    return None


def compress(body: bytes, name: bytes) -> bytes:
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS[name])
    return stream.compress(body) + stream.flush()
