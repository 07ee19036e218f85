"""Compressed bodies."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.serving.encoding import choose, compress, decoder, decompress
from harness.serving.tensors import ProtocolError

GZIP, DEFLATE = decoder(b"gzip"), decoder(b"deflate")


@given(st.binary(max_size=5000), st.sampled_from([b"gzip", b"deflate"]))
def test_round_trip(body: bytes, name: bytes) -> None:
    bits = decoder(name)
    assert bits is not None
    assert decompress(memoryview(compress(body, name)), bits, 5000) == body


def test_reads_what_the_standard_library_writes() -> None:
    assert GZIP is not None
    assert DEFLATE is not None
    assert decompress(memoryview(gzip.compress(b"tensor")), GZIP, 6) == b"tensor"
    assert decompress(memoryview(zlib.compress(b"tensor")), DEFLATE, 6) == b"tensor"
    assert gzip.decompress(compress(b"tensor", b"gzip")) == b"tensor"
    assert zlib.decompress(compress(b"tensor", b"deflate")) == b"tensor"


def test_a_bomb_is_stopped_at_the_limit() -> None:
    assert GZIP is not None
    with pytest.raises(ProtocolError) as caught:
        decompress(memoryview(gzip.compress(bytes(10_000_000))), GZIP, 1000)
    assert caught.value.status == 413


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b"x" + data, lambda data: b""]
)
def test_damaged_bodies_are_refused(damage) -> None:  # type: ignore[no-untyped-def]
    assert GZIP is not None
    with pytest.raises(ProtocolError) as caught:
        decompress(memoryview(damage(gzip.compress(b"tensor" * 100))), GZIP, 1000)
    assert caught.value.status == 400


def test_content_encodings() -> None:
    assert decoder(None) is None
    assert decoder(b" Identity") is None
    with pytest.raises(ProtocolError) as caught:
        decoder(b"br")
    assert caught.value.status == 415


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, None),
        (b"", None),
        (b"br", None),
        (b"identity", None),
        (b"gzip", b"gzip"),
        (b"DEFLATE", b"deflate"),
        (b"br, gzip;q=0.5", b"gzip"),
        (b"gzip;q=0, deflate", b"deflate"),
        (b"gzip; q=0.000", None),
    ],
)
def test_only_what_the_client_lists(accept: bytes | None, chosen: bytes | None) -> None:
    assert choose(accept) == chosen
